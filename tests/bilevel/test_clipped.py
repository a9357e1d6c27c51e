"""Training by gradients that are clipped row by row, and noised."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from jaxtyping import ArrayLike

from bilevel import Data, argmin
from bilevel.derivatives import Unroll
from bilevel.learners import Network
from bilevel.networks import MLP
from bilevel.problems import Smooth, Stochastic
from bilevel.solvers import Clipped, Descent

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=12)
ORDER = jnp.asarray(np.stack([RNG.permutation(12)[:4] for _ in range(6)]))
KEY = jax.random.key(0)


def loss(w, args, key):
    (x, y), rows = args
    return jnp.mean((x[rows] @ w - y[rows]) ** 2)


def problem(x) -> Stochastic:
    return Stochastic(loss, jnp.ones(3), (jnp.asarray(x), jnp.asarray(Y)), KEY, ORDER)


def end(solver, x: ArrayLike = X):
    return argmin(problem(x), solver=solver, derivative=Unroll()).value


def test_without_a_clip_that_binds_it_is_descent() -> None:
    sgd = optax.sgd(0.05, momentum=0.9)
    np.testing.assert_allclose(end(Clipped(sgd, 6, 1e6)), end(Descent(sgd, 6)), rtol=1e-12)


def test_a_step_is_the_mean_of_clipped_gradients_of_rows() -> None:
    rows = np.asarray(ORDER[0])
    each = 2 * (X[rows] @ np.ones(3) - Y[rows])[:, None] * X[rows]
    sizes = np.linalg.norm(each, axis=1)
    clip = float(np.median(sizes))
    clipped = each * np.minimum(1, clip / sizes)[:, None]
    moved = end(Clipped(optax.sgd(0.1), 1, clip))
    np.testing.assert_allclose(moved, 1 - 0.1 * clipped.mean(axis=0), rtol=1e-12)


def test_noise_has_the_size_that_is_asked_and_the_draws_of_the_key() -> None:
    def moved(key, noise):
        of = Stochastic(loss, jnp.ones(3), (jnp.asarray(X), jnp.asarray(Y)), key, ORDER)
        solver = Clipped(optax.sgd(1.0), 1, 0.5, noise)
        return argmin(of, solver=solver, derivative=Unroll()).value

    keys = jax.random.split(KEY, 2000)
    noisy, still = jax.vmap(lambda k: moved(k, 3.0))(keys), moved(KEY, 0.0)
    apart = np.asarray(noisy) - np.asarray(still)
    np.testing.assert_allclose(apart.std(), 3.0 * 0.5 / 4, rtol=0.05)
    assert abs(apart.mean()) < 0.02
    np.testing.assert_array_equal(moved(KEY, 3.0), moved(KEY, 3.0))
    assert len(np.unique(apart[0].round(12))) == 3  # each weight has its own draw


def test_every_row_has_draws_of_its_own() -> None:
    """As rows of a mini-batch have: dropout masks, augmentations."""

    def drawn(w, args, key):
        x, rows = args
        return jnp.mean(jax.random.normal(key, rows.shape) * (x[rows] @ w))

    of = Stochastic(drawn, jnp.zeros(4), jnp.eye(4), KEY, jnp.arange(4)[None])
    moved = argmin(of, solver=Clipped(optax.sgd(1.0), 1, 1e6), derivative=Unroll()).value
    assert len(np.unique(np.asarray(moved).round(12))) == 4


def test_it_is_differentiated_along_its_path() -> None:
    @jax.jit
    @jax.value_and_grad
    def both(t):
        moved = jnp.asarray(X).at[2, 1].add(t)
        return jnp.sum(end(Clipped(optax.sgd(0.05), 6, 1.5, 0.3), moved) ** 2)

    numeric = (both(1e-5)[0] - both(-1e-5)[0]) / 2e-5
    np.testing.assert_allclose(both(0.0)[1], numeric, rtol=1e-6)


def test_a_network_is_trained_by_it_and_one_row_can_do_little() -> None:
    data = Data(X, np.arange(12) % 2)
    wild = Data(np.where(np.arange(12)[:, None] == 3, 1e3 * X, X), data.y)

    def moved(solver, rows):
        net = Network(MLP((4,), 2), batch=4, solver=solver)
        return ravel_pytree(net.fit(rows, key=KEY).model.parameters)[0]

    steps, rate, clip = 3, 0.1, 0.05
    clipped, plain = Clipped(optax.sgd(rate), steps, clip), Descent(optax.sgd(rate), steps)
    start = moved(Clipped(optax.sgd(0.0), 1, clip), data)
    assert np.linalg.norm(moved(clipped, wild) - start) <= steps * rate * clip * (1 + 1e-9)
    assert np.linalg.norm(moved(plain, wild) - start) > 5 * steps * rate * clip


def test_what_it_cannot_work_on_is_said() -> None:
    sgd = optax.sgd(0.1)
    for make, message in (
        (lambda: Clipped(sgd, 0), "steps: got 0"),
        (lambda: Clipped(sgd, 3, 0.0), "clip: got 0.0, expected a number > 0"),
        (lambda: Clipped(sgd, 3, 1.0, -1.0), "noise: got -1.0, expected a number >= 0"),
        (
            lambda: argmin(
                Smooth(lambda w, args: jnp.sum(w**2), jnp.ones(2), ()), solver=Clipped(sgd, 3),
                derivative=Unroll(),
            ),
            "Clipped needs a problem whose series are the rows",
        ),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            make()


def test_what_is_traced_hides_nothing_that_is_known() -> None:
    sgd = optax.sgd(0.1)

    def made(clip, noise):
        return jax.eval_shape(lambda c: Clipped(sgd, 3, c, noise) and c, clip)

    made(jnp.ones(()), 0.5)
    for noise in (-1.0, np.nan, np.inf, np.ones(2)):
        with pytest.raises(ValueError, match=r"noise: got .*, expected a number >= 0"):
            made(jnp.ones(()), noise)
    for clip in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match=r"clip: got .*, expected a number > 0"):
            jax.eval_shape(lambda n, c=clip: Clipped(sgd, 3, c, n) and n, jnp.ones(()))
