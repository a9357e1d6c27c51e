"""What a certificate says beside its bound, against plain NumPy on small problems."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, Int

from bilevel import AbstractBilevel, AbstractSolver, Data, Outcome, Posed, argmin, certify
from bilevel._rounding import Noise
from bilevel.derivatives import AbstractDerivative, Implicit
from bilevel.problems import FixedPoint, Smooth
from bilevel.results import CONVERGED, MAX_STEPS
from bilevel.solvers import Anderson, Newton

EPS = np.finfo(float).eps
ROWS, FEATURES, VALIDATION = 9, 3, 7


def squares(w, args):
    x, y, log_l2 = args
    return 0.5 * jnp.sum((x @ w - y) ** 2) + 0.5 * jnp.exp(log_l2) * jnp.sum(w * w)


class Tuned(AbstractBilevel):
    """log_l2 -> half the squared distance of ridge weights to `target`, and the mean hinge."""

    x: Float[Array, "n d"]
    y: Float[Array, " n"]
    x_val: Float[Array, "m d"]
    y_val: Float[Array, " m"]
    target: Float[Array, " d"]
    before: Int[Array, ""] = eqx.field(default_factory=lambda: jnp.int32(CONVERGED))
    after: Int[Array, ""] = eqx.field(default_factory=lambda: jnp.int32(CONVERGED))
    solver: AbstractSolver = Newton()
    derivative: AbstractDerivative = Implicit()

    def pose(self, z):
        def outcome(w):
            margins = 1 - self.y_val * (self.x_val @ w)
            far = 0.5 * jnp.sum((w - self.target) ** 2)
            score = far + jnp.mean(jnp.maximum(margins, 0))
            return Outcome(score, self.after, kinks=lambda: margins)

        return Posed(
            Smooth(squares, jnp.zeros(FEATURES), (self.x, self.y, z)), outcome, self.before
        )

    def using(self, solver, derivative):
        raise NotImplementedError


def solution(x, y, log_l2):
    """(The weights, the Hessian) in the precision of the arrays, by Cramer's rule."""
    hessian = x.T @ x + np.exp(log_l2) * np.eye(FEATURES, dtype=x.dtype)
    return solve(hessian, x.T @ y), hessian


def solve(a, b):
    def det(m):
        return m[0] @ np.array([
            m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1],
            m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2],
            m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0],
        ])  # fmt: skip

    columns = range(FEATURES)
    return np.array([det(np.where(np.arange(3) == j, b[:, None], a)) for j in columns]) / det(a)


def gradient(arrays, log_l2):
    """dF/d log_l2 of the implicit function theorem."""
    x, y, x_val, y_val, target = arrays
    w, hessian = solution(x, y, log_l2)
    slope = w - target - x_val.T @ (y_val * (y_val * (x_val @ w) < 1)) / VALIDATION
    return -np.exp(log_l2) * solve(hessian, slope) @ w


def case(seed, values=(10.0, 3.0, 1.0)):
    """Rows of these singular values."""
    rng = np.random.default_rng(seed)
    u, _, v = np.linalg.svd(rng.normal(size=(ROWS, FEATURES)), full_matrices=False)
    x = u * np.array(values) @ v
    sides = np.where(np.arange(VALIDATION) % 2, 1.0, -1.0)
    return [x, rng.normal(size=ROWS), 5 * rng.normal(size=(VALIDATION, FEATURES)), sides,
            rng.normal(size=FEATURES)]  # fmt: skip


def certified(arrays, log_l2, **codes):
    leaves: Any = [jnp.asarray(a) for a in arrays]
    traced: Any = {name: jnp.int32(code) for name, code in codes.items()}
    objective = Tuned(*leaves, **traced)
    return certify(objective, jnp.asarray(log_l2))


@pytest.mark.parametrize("log_l2", [-2.0, 1.0])
def test_condition_and_distance_to_the_next_kink(log_l2):
    arrays = case(0)
    found = certified(arrays, log_l2)
    w, hessian = solution(arrays[0], arrays[1], log_l2)
    np.testing.assert_allclose(found.condition, np.linalg.cond(hessian), rtol=1e-3)
    margins = 1 - arrays[3] * (arrays[2] @ w)
    np.testing.assert_allclose(found.kink_margin, np.min(np.abs(margins)), rtol=1e-9)
    assert np.min(margins) < 0 < np.max(margins)
    speeds = arrays[2] @ (np.exp(log_l2) * solve(hessian, w))
    np.testing.assert_allclose(found.reach, np.min(np.abs(margins / speeds)), rtol=1e-5)
    np.testing.assert_allclose(found.gradient, gradient(arrays, log_l2), rtol=1e-10)


@pytest.mark.parametrize("least", [1.0, 1e-3])
def test_rounding_is_that_of_the_last_digit_of_every_array(least):
    """In extended precision, with random relative changes of eps; far more than eps of the gradient
    where the system is ill-conditioned.
    """
    rng, log_l2 = np.random.default_rng(1), np.log(least**2)
    arrays = [np.asarray(a, np.longdouble) for a in (*case(3, (10.0, 3.0, least)), log_l2)]
    true = gradient(arrays[:-1], arrays[-1])
    moved = []
    for _ in range(30):
        *there, at = (a * (1 + EPS * rng.choice([-1, 1], np.shape(a))) for a in arrays)
        moved.append(gradient(there, at) - true)
    found = certified([np.asarray(a, float) for a in arrays[:-1]], log_l2)
    typical = float(np.sqrt(np.mean(np.square(moved))))
    assert typical < float(found.rounding_error) < 10 * typical
    assert (typical > 1e3 * EPS * abs(true)) == (least < 1)
    assert float(found.error_bound) >= float(found.rounding_error)


class Nested(Tuned):
    """Targets of a solve of its own, which ends elsewhere within 1e-10 when anything moves."""

    def pose(self, z):
        ends = 1 + 1e-10 * jnp.sin(1e17 * self.x[0, 0])
        return Tuned(self.x, ends * self.y, self.x_val, self.y_val, self.target).pose(z)


def test_the_tolerance_of_a_solve_inside_the_objective_counts_whole():
    arrays = [jnp.asarray(a) for a in case(0)]
    exact, loose = (
        certify(kind(*arrays, before=jnp.int32(CONVERGED)), jnp.asarray(-1.0))
        for kind in (Tuned, Nested)
    )
    apart = abs(float(loose.gradient - exact.gradient))
    assert apart > 1e3 * float(exact.error_bound)
    assert float(loose.error_bound) > 0.5 * apart


class Cancelling(Tuned):
    """z moves a fixed point s of its own, and the weights end at 1e8 s; the score depends on them
    by what is left of w - 1e8 s, which is zero, and on s."""

    def pose(self, z):
        turn = 0.5 * jnp.sin(jnp.arange(1600.0) ** 2).reshape(40, 40) / 40**0.5
        turns = FixedPoint(lambda s, z: jnp.cos(turn @ s + z), jnp.zeros(40), z)
        s = argmin(turns, solver=Anderson())
        far = 1e8 * s.value

        def outcome(w):
            return Outcome(jnp.sum(w - far) + jnp.sum(s.value))

        return Posed(Smooth(lambda w, to: 0.5 * jnp.sum((w - to) ** 2), far, far), outcome)


def test_halves_of_a_gradient_that_cancel_pass_a_nested_solve_together():
    x, y, x_val, y_val, target = map(jnp.asarray, case(0))
    objective = Cancelling(x, y, x_val, y_val, target)
    z = jnp.asarray(0.3)
    found, both, h = certify(objective, z), jax.jit(jax.value_and_grad(objective)), 1e-5
    (above, _), (below, _), (_, plain) = (both(at) for at in (z + h, z - h, z))
    np.testing.assert_allclose(plain, (above - below) / (2 * h), rtol=1e-7)
    np.testing.assert_allclose(found.gradient, plain, rtol=1e-11)


def test_zero_is_a_gradient_within_its_own_error_of_a_solved_problem():
    arrays = case(0)
    w, _ = solution(arrays[0], arrays[1], -1.0)
    arrays[2] = 2 * np.outer(arrays[3], w) / (w @ w)  # beyond every kink
    for off, zero in ((0.0, True), (1e-12, False), (1e-3, False)):
        found = certified([*arrays[:4], w + off * w], -1.0)
        size = abs(float(found.gradient))
        assert bool(found.zero) == (size <= float(found.error_bound)) == zero
        assert size > 0
    for part in ("before", "after"):
        unsolved = certified([*arrays[:4], w], -1.0, **{part: MAX_STEPS})
        assert int(unsolved.result) == MAX_STEPS
        assert not bool(unsolved.zero)
        assert float(unsolved.error_bound) == np.inf


def test_zero_and_rounding_of_a_function():
    """The gradient of (z - c)^2 is as uncertain as the last digit of z."""
    centre = np.array([0.3, -7.0])

    def function(z):
        return jnp.sum((z - jnp.asarray(centre)) ** 2)

    for at, zero in (
        (centre, True), (np.nextafter(centre, np.inf), True), (centre + 1e-6, False)
    ):  # fmt: skip
        found = certify(function, jnp.asarray(at))
        assert bool(found.zero) == zero
        assert np.any(found.gradient) == np.any(at != centre)
        rounding = 2 * EPS * np.linalg.norm(centre)
        np.testing.assert_allclose(found.rounding_error, rounding, rtol=0.5)


def test_class_labels_are_not_perturbed_and_targets_are():
    """Defenses compare labels: attacks around them had no certificate."""
    rows, noise = np.ones((4, 2)), Noise(jnp.uint32(1), jnp.asarray(EPS))
    for labels, same in ((np.resize([1.0, -1.0], 4), True), (np.arange(4) + 0.5, False)):
        moved = noise.arrays({"train": Data(rows, labels)})["train"]
        assert bool(jnp.all(moved.y == labels)) is same
        assert bool(jnp.all(moved.x != 1))
        assert bool(jnp.all(moved.weight != 1))
