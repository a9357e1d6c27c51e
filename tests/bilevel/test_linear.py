"""Linear solvers of the adjoint system, against NumPy; wrong answers must leave as NaN."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from bilevel import Bilevel, argmin, certify
from bilevel.derivatives import Implicit
from bilevel.linear import CG, Damped, Dense, Factor
from bilevel.linear.gmres import GMRES
from bilevel.linear.neumann import Neumann
from bilevel.linear.nystrom import Nystrom
from bilevel.problems import Smooth
from bilevel.solvers import Newton

N = 24
RNG = np.random.default_rng(11)
BASIS = np.linalg.qr(RNG.normal(size=(N, N)))[0]
RHS = RNG.normal(size=N)
SIGNS = np.where(np.arange(N) % 3 == 0, -1.0, 1.0)
SYSTEMS = {
    "definite": BASIS * np.logspace(-3, 1, N) @ BASIS.T,
    "indefinite": BASIS * (SIGNS * np.linspace(0.5, 3, N)) @ BASIS.T,
    "nonsymmetric": np.eye(N) + 0.7 * RNG.normal(size=(N, N)) / np.sqrt(N),
    "rotation": np.linalg.qr(RNG.normal(size=(N, N)))[0],
    "permutation": np.roll(np.eye(N), 1, axis=0),
}
SYMMETRIC = ("definite", "indefinite")
SOLVERS = {
    "gmres": GMRES(),
    "gmres_plain": GMRES(precondition=False),
    "gmres_restarted": GMRES(precondition=False, restart=12, max_steps=5000),
    "cg": CG(),
    "dense": Dense(),
    "factor": Factor(),
}
GENERAL = ("gmres", "gmres_plain", "dense", "factor")
SUITED = [
    *(("definite", name) for name in SOLVERS if name != "gmres_restarted"),
    *(("indefinite", name) for name in (*GENERAL, "gmres_restarted")),
    *(("nonsymmetric", name) for name in (*GENERAL, "gmres_restarted")),
    *(("rotation", name) for name in GENERAL),
    *(("permutation", name) for name in GENERAL),
]


def split(v):
    """The unknowns as a pytree."""
    return {"w": v[: N - 4].reshape(4, 5), "b": v[N - 4 :]}


def joined(tree):
    return jnp.concatenate([tree["w"].ravel(), tree["b"]])


@eqx.filter_jit
def answer(solver, matrix, inverse, rhs):
    """v of A v = r on pytrees, with `inverse` for the inner solver's factorisation."""
    return joined(
        solver.solve(
            lambda v: split(matrix @ joined(v)), lambda v: split(inverse @ joined(v)), split(rhs)
        )
    )


def stale(matrix):
    """An inverse that is a little wrong."""
    return np.linalg.inv(matrix + 1e-4 * np.diag(np.cos(np.arange(N))))


@pytest.mark.parametrize(("system", "solver"), SUITED)
def test_answers_are_numpys(system, solver):
    matrix = SYSTEMS[system]
    wanted = np.linalg.solve(matrix, RHS)
    condition = np.linalg.cond(matrix)
    for inverse in (np.linalg.inv(matrix), stale(matrix)):
        found = answer(SOLVERS[solver], matrix, inverse, RHS)
        error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        assert error < 4e-12 * condition


def test_cg_and_factor_do_not_answer_what_they_cannot():
    """An indefinite system for conjugate gradients; a useless factor for `Factor`."""
    wanted = np.linalg.solve(SYSTEMS["indefinite"], RHS)
    found = answer(CG(precondition=False), SYSTEMS["indefinite"], np.eye(N), RHS)
    assert np.all(np.isnan(found)) or np.allclose(found, wanted, rtol=1e-6)
    assert np.all(np.isnan(answer(Factor(), SYSTEMS["definite"], np.eye(N), RHS)))


@pytest.mark.parametrize("rest", [0.3, 0.6, 0.8])
def test_a_stale_factor_is_refined_as_long_as_that_helps(rest: float) -> None:
    """Each refinement leaves `rest` of the error along one direction."""
    matrix = SYSTEMS["definite"]
    left = BASIS * np.append(rest, np.zeros(N - 1)) @ BASIS.T
    inverse = (np.eye(N) - left) @ np.linalg.inv(matrix)
    found = answer(Factor(), matrix, inverse, BASIS[:, 0])
    np.testing.assert_allclose(matrix @ found, BASIS[:, 0], atol=1e-7)
    few = GMRES(precondition=False, max_steps=20, restart=5)  # products, not restarts
    for name in ("definite", "nonsymmetric"):
        assert np.all(np.isnan(answer(few, SYSTEMS[name], np.eye(N), RHS)))


def test_residuals_that_grow_before_they_fall_are_no_failure():
    """The error halves in the factor's own norm; the residual grows by up to the root of the
    condition first. So it is where a run ends with a factor of its start, on an ill-conditioned
    problem: a one-hot table's, whose gradient was NaN after some steps.
    """
    root = BASIS * np.logspace(-3, 0, N) @ BASIS.T
    left = 0.5 * BASIS @ np.eye(N)[::-1] @ BASIS.T
    matrix = root @ (np.eye(N) - left) @ root
    inverse = np.linalg.inv(root @ root)
    rhs = BASIS[:, -1]
    assert np.linalg.norm(rhs - matrix @ inverse @ rhs) < 1e-3  # in this direction it falls
    rhs = BASIS[:, 0]
    assert np.linalg.norm(rhs - matrix @ inverse @ rhs) > 400
    found = answer(Factor(), matrix, inverse, rhs)
    np.testing.assert_allclose(matrix @ found, rhs, atol=3e-8)


def test_a_restart_that_stagnates_says_so():
    """GMRES(k) makes no progress at all on a cyclic shift until k is its size."""
    unit = np.eye(N)[0]
    short = GMRES(precondition=False, restart=N - 1)
    assert np.all(np.isnan(answer(short, SYSTEMS["permutation"], np.eye(N), unit)))
    found = answer(GMRES(precondition=False, restart=N), SYSTEMS["permutation"], np.eye(N), unit)
    np.testing.assert_allclose(found, SYSTEMS["permutation"].T @ unit, atol=1e-13)


@pytest.mark.parametrize("solver", SOLVERS)
def test_nothing_for_nothing(solver):
    matrix = SYSTEMS["definite"]
    found = answer(SOLVERS[solver], matrix, np.linalg.inv(matrix), np.zeros(N))
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("size", [1e-280, 1e-140, 1e140, 1e280])
def test_gmres_is_indifferent_to_scale(size):
    wanted = np.linalg.solve(SYSTEMS["nonsymmetric"], RHS)
    found = answer(SOLVERS["gmres_plain"], SYSTEMS["nonsymmetric"], np.eye(N), size * RHS) / size
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("solver", ["gmres", "gmres_plain", "cg", "factor", "dense"])
def test_a_singular_system_is_no_number(solver):
    matrix = BASIS * np.r_[np.zeros(2), np.linspace(1, 2, N - 2)] @ BASIS.T
    assert np.all(np.isnan(answer(SOLVERS[solver], matrix, np.linalg.pinv(matrix), RHS)))


@pytest.mark.parametrize("solver", ["gmres", "gmres_plain", "dense", "cg", "factor"])
def test_nan_stays_nan(solver):
    matrix, spoiled = SYSTEMS["definite"], RHS.copy()
    spoiled[3] = np.nan
    inverse = np.linalg.inv(matrix)
    assert np.all(np.isnan(answer(SOLVERS[solver], matrix, inverse, spoiled)))
    assert np.all(np.isnan(answer(SOLVERS[solver], np.nan * matrix, inverse, RHS)))


def test_gmres_of_a_low_rank_change_ends_early():
    """Flexible and lucky: the identity plus rank 2 is solved in 3 steps."""
    matrix = np.eye(N) + BASIS[:, :2] @ RNG.normal(size=(2, N))
    three = GMRES(precondition=False, max_steps=3, restart=3)
    np.testing.assert_allclose(
        answer(three, matrix, np.eye(N), RHS), np.linalg.solve(matrix, RHS), rtol=1e-9
    )


def test_gmres_under_vmap():
    matrices = np.stack([SYSTEMS["nonsymmetric"], SYSTEMS["rotation"], np.zeros((N, N))])
    batched = jax.vmap(lambda m: answer(SOLVERS["gmres_plain"], m, jnp.eye(N), jnp.asarray(RHS)))
    found = batched(jnp.asarray(matrices))
    np.testing.assert_allclose(found[0], np.linalg.solve(matrices[0], RHS), rtol=1e-9)
    np.testing.assert_allclose(found[1], matrices[1].T @ RHS, rtol=1e-9, atol=1e-12)
    assert np.all(np.isnan(found[2]))


@pytest.mark.parametrize("terms", [1, 2, 7, 60])
@pytest.mark.parametrize("rate", [0.05, 0.15])
def test_neumann_is_its_partial_sum(terms, rate):
    """residual = (I - rate A)^terms r, exactly."""
    matrix = SYSTEMS["definite"]
    found = np.asarray(answer(Neumann(terms, rate), matrix, np.eye(N), RHS))
    wanted = np.linalg.matrix_power(np.eye(N) - rate * matrix, terms) @ RHS
    np.testing.assert_allclose(RHS - matrix @ found, wanted, rtol=1e-11, atol=1e-12)


def test_neumann_finds_its_rate():
    """Any A with a least eigenvalue of a tenth of the largest: 400 terms leave .9^400."""
    for seed in range(5):
        basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(N, N)))[0]
        for scale in (1e-6, 1.0, 1e6):
            matrix = scale * basis * np.linspace(0.1, 1, N) @ basis.T
            found = answer(Neumann(400), matrix, np.eye(N), RHS)
            np.testing.assert_allclose(found, np.linalg.solve(matrix, RHS), rtol=1e-10, atol=0)


@pytest.mark.parametrize("rank", [3, 12, N, 2 * N])
def test_nystrom_is_its_formula(rank):
    matrix, shift = SYSTEMS["definite"], 0.05
    drawn = jax.random.choice(jax.random.key(4), N, (min(rank, N),), replace=False)
    chosen = joined(ravel_pytree(split(np.arange(N)))[1](jnp.arange(N))).argsort()[drawn]
    columns = matrix[:, chosen]
    low = columns @ np.linalg.solve(matrix[np.ix_(chosen, chosen)], columns.T)
    wanted = np.linalg.solve(low + shift * np.eye(N), RHS)
    found = answer(Nystrom(rank, shift, 4), matrix, np.eye(N), RHS)
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)
    if rank >= N:
        np.testing.assert_allclose(low, matrix, atol=1e-10)


@pytest.mark.parametrize("inner", [CG(precondition=False), GMRES(precondition=False)])
def test_a_damped_system_is_solved_by_the_solver_given(inner):
    matrix = SYSTEMS["indefinite"]
    found = answer(Damped(inner, 4.0), matrix, np.eye(N), RHS)
    np.testing.assert_allclose(found, np.linalg.solve(matrix + 4 * np.eye(N), RHS), rtol=1e-9)


def test_too_little_damping_for_conjugate_gradients_is_no_number():
    matrix = SYSTEMS["indefinite"]
    assert np.all(np.isnan(answer(Damped(shift=0.1), matrix, np.eye(N), RHS)))


def test_nystrom_is_exact_up_to_its_shift_on_low_rank_and_survives_dead_weights():
    low = BASIS[:, :4] * np.array([10.0, 5.0, 2.0, 1.0]) @ BASIS[:, :4].T
    low[-6:] = low[:, -6:] = 0  # weights without any curvature
    for shift in (1e-2, 1.0):
        found = answer(Nystrom(15, shift), low, np.eye(N), RHS)
        wanted = np.linalg.solve(low + shift * np.eye(N), RHS)
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Neumann(0), "terms: got 0"),
        (lambda: Neumann(3, -1.0), r"rate: got -1.0.*positive"),
        (lambda: Neumann(3, float("nan")), "rate: got nan"),
        (lambda: Nystrom(0), "rank: got 0"),
        (lambda: Nystrom(3, 0.0), "shift: got 0.0"),
        (lambda: Nystrom(3, float("nan")), "shift: got nan"),
        (lambda: Damped(shift=-1.0), "shift: got -1.0"),
        (lambda: Damped(shift=0.0), "shift: got 0.0"),
        (lambda: Damped(shift=float("nan")), "shift: got nan"),
    ],
)
def test_wrong_settings_get_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def training(z):
    def objective(w, z):
        fit = jnp.sum(jnp.log(jnp.cosh(jnp.asarray(BASIS[:, :3]) @ w["a"] + w["b"] - z)))
        return fit + 0.2 * (jnp.sum(w["a"] ** 2) + w["b"] ** 2)

    return Smooth(objective, {"a": jnp.zeros(3), "b": jnp.zeros(())}, z)


def outer(z, w):
    return jnp.sin(w["a"][0]) + w["a"][1] * w["b"] + 0.1 * jnp.sum(z * w["b"])


INEXACT = {"neumann": Neumann(3), "nystrom": Nystrom(2, 0.3), "damped": Damped(shift=0.1)}


@pytest.mark.parametrize("linear", INEXACT)
def test_the_certificate_reports_the_residual_of_an_inexact_adjoint(linear):
    z, linear = jnp.asarray(RHS), INEXACT[linear]
    exact = certify(Bilevel(training, outer, Newton()), z)
    found = certify(Bilevel(training, outer, Newton(), Implicit(linear)), z)
    error = float(jnp.linalg.norm(found.gradient - exact.gradient))
    assert float(exact.adjoint_residual) < 1e-12
    # the residual by hand, at the same solution
    w = argmin(training(z), solver=Newton()).value
    flat, unravel = ravel_pytree(w)
    hessian = jax.jit(jax.hessian(lambda f: training(z).objective(unravel(f), z)))(flat)
    r = ravel_pytree(jax.jit(jax.grad(lambda w: outer(z, w)))(w))[0]
    v = jax.jit(lambda r: linear.solve(lambda v: hessian @ v, lambda v: v, r))(r)
    left = float(jnp.linalg.norm(r - hessian @ v) / jnp.linalg.norm(r))
    assert left > 1e-3
    np.testing.assert_allclose(float(found.adjoint_residual), left, rtol=0.05)
    assert 0.5 * error < float(found.adjoint_error) < 2 * error
    assert error <= float(found.error_bound) < np.inf


@pytest.mark.slow
def test_gmres_answers_the_adjoint_of_a_minimiser():
    z = jnp.asarray(RHS)
    wanted = jax.grad(Bilevel(training, outer, Newton()))(z)
    for linear in (GMRES(), GMRES(precondition=False)):
        found = jax.grad(Bilevel(training, outer, Newton(), Implicit(linear)))(z)
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)


def test_cg_is_not_stopped_by_zeros_in_the_right_side():
    """A pixel that is blank in every row: its component of the gradient is exactly zero."""
    matrix = SYSTEMS["definite"].copy()
    matrix[:5, 5:] = matrix[5:, :5] = 0
    rhs = np.where(np.arange(N) < 5, 0, RHS)
    found = answer(CG(precondition=False), matrix, np.eye(N), rhs)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, rhs), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("size", [1e-17, 1e17])
def test_gmres_is_indifferent_to_the_size_of_the_operator(size):
    """Of a singular one too: of a consistent system it is the solution in the span of both."""
    wanted = np.linalg.solve(SYSTEMS["nonsymmetric"], RHS)
    found = answer(SOLVERS["gmres_plain"], size * SYSTEMS["nonsymmetric"], np.eye(N), RHS)
    np.testing.assert_allclose(size * found, wanted, rtol=1e-9)
