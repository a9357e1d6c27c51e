"""The active-set solver against KKT residuals in extended precision, enumeration and libsvm."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.svm import SVC

from bilevel import SolveError, argmin
from bilevel.problems import BoxQP
from bilevel.results import CONVERGED, INFEASIBLE, SENTENCES
from bilevel.solvers import ActiveSet

N = 6  # variables of the small problems: one shape, one compilation
BATCH = 100
KINDS = ("definite", "rank2", "duplicates", "linear", "tiny", "svm", "mixed")
STARTS = ("cold", "random", "bounds")
SOLVER = ActiveSet()


@eqx.filter_jit
def solve(problem, warm):
    return argmin(problem, warm, solver=SOLVER, throw=False)


solve_batch = eqx.filter_jit(eqx.filter_vmap(solve))


def box_qp(Q, q, lower, upper, e=None, b=None, dtype: type = float):
    Q, q, lower, upper = (jnp.asarray(np.asarray(a), dtype) for a in (Q, q, lower, upper))
    if e is None or b is None:
        return BoxQP(Q, q, lower, upper)
    e, b = (jnp.asarray(np.asarray(a), dtype) for a in (e, b))
    return BoxQP(Q, q, lower, upper, e, b)


def cold(problem):
    return SOLVER.cold(problem)


def sets(lower, upper):
    zero = np.zeros(len(lower))
    blank = cold(box_qp(np.eye(len(lower)), zero, zero, zero))
    return eqx.tree_at(
        lambda s: (s.lower, s.upper), blank, (jnp.asarray(lower), jnp.asarray(upper))
    )


def random_problem(kind: str, rng: np.random.Generator):
    A = rng.normal(size=(N, N))
    rank = {"rank2": 2, "linear": 0, "svm": 2, "mixed": 3}.get(kind, N)
    Q = A[:, :rank] @ A[:, :rank].T
    q, e = 3 * rng.normal(size=N), np.sign(rng.normal(size=N))
    lower, upper = np.zeros(N), rng.uniform(0.5, 2.0, size=N)
    if kind == "duplicates":
        twin = [0, 0, 1, 1, 4, 5]
        Q, q, e = Q[twin][:, twin], q[twin], e[twin]
    if kind == "tiny":
        Q = 1e-6 * Q
    if kind == "mixed":
        lower, e = -upper, rng.normal(size=N)
    b = e @ rng.uniform(lower, upper)
    if kind == "svm":  # a linear one in the plane: three margin vectors are the rule
        Q, q, b = Q * np.outer(e, e), -np.ones(N), 0.0
        upper = np.full(N, rng.choice([0.01, 0.1, 1.0, 10.0]))
    return Q, q, lower, upper, e, b


def random_batch(kind: str, seed: int):
    rng = np.random.default_rng(seed)
    problems = [random_problem(kind, rng) for _ in range(BATCH)]
    stacked = [jnp.asarray(np.stack(column)) for column in zip(*problems, strict=True)]
    return problems, jax.vmap(BoxQP)(*stacked)


def violation(problem, x, nu) -> float:
    """Largest violation of the KKT conditions, each relative to the terms it sums, in long double.
    These conditions are sufficient: the problems are convex."""
    Q, q, lower, upper, e, b, x, nu = (np.asarray(a, np.longdouble) for a in (*problem, x, nu))
    slope = Q @ x + q + nu * e
    slope = slope / np.max(np.abs(Q) @ np.abs(x) + np.abs(q) + np.abs(nu * e))
    reach = np.maximum(1, np.max(np.abs(x)))
    stationarity = np.max(np.abs(x - np.clip(x - reach * slope, lower, upper))) / reach
    equality = np.abs(e @ x - b) / (np.abs(e) @ np.abs(x) + np.abs(b) + 1e-9)
    outside = np.max(np.maximum(lower - x, x - upper)) / reach
    return float(max(stationarity, equality, outside))


def enumerated(Q, q, lower, upper, e, b) -> float:
    """Least objective over all 3^n faces, each solved by least squares."""
    best = np.inf
    for face in itertools.product((0, 1, 2), repeat=len(q)):
        at = np.asarray(face)
        free = at == 2
        x = np.where(at == 1, upper, lower)
        k = int(free.sum())
        kkt = np.zeros((k + 1, k + 1))
        kkt[:k, :k], kkt[:k, k], kkt[k, :k] = Q[np.ix_(free, free)], e[free], e[free]
        fixed = np.where(free, 0, x)
        rhs = np.append(-(Q @ fixed + q)[free], b - e @ fixed)
        x[free] = np.linalg.lstsq(kkt, rhs, rcond=1e-12)[0][:k]
        inside = np.all((x >= lower - 1e-9) & (x <= upper + 1e-9)) and abs(e @ x - b) < 1e-9
        if inside:
            best = min(best, 0.5 * x @ Q @ x + q @ x)
    return best


@pytest.mark.parametrize("kind", KINDS)
def test_every_start_ends_at_a_kkt_point_to_rounding(kind):
    problems, batch = random_batch(kind, seed=1)
    drawn = np.random.default_rng(2).integers(0, 3, size=(BATCH, N))
    no = np.zeros((BATCH, N), bool)
    starts = {
        "cold": (no, no),
        "random": (drawn == 0, drawn == 1),
        "bounds": (drawn > 0, drawn == 0),
    }
    values = []
    for name in STARTS:
        solution = solve_batch(batch, sets(*starts[name]))
        assert np.all(np.asarray(solution.result) == CONVERGED), name
        x, nu = (np.asarray(a) for a in solution.value)
        worst = max(violation(p, x[i], nu[i]) for i, p in enumerate(problems))
        # a tiny Q leaves x free to move: the equality then holds to rounding over curvature
        assert worst < (1e-9 if kind == "tiny" else 1e-13), name
        values.append(x)
    if kind in ("definite", "tiny"):  # one minimiser: the start must not matter
        assert np.max(np.abs(values[0] - values[1])) < 1e-8
        assert np.max(np.abs(values[0] - values[2])) < 1e-8


def table(kind: str):
    """A linear SVM whose solution is degenerate: (rows, labels, C)."""
    rng = np.random.default_rng(4)
    y = np.where(np.arange(40) % 2, 1.0, -1.0)
    x = rng.normal(size=(40, 6)) + 0.7 * y[:, None]
    if kind == "doubled":
        return np.repeat(x[:20], 2, axis=0), np.repeat(y[:20], 2), 1.0
    if kind == "saturated":  # twins 1e-9 apart: multipliers within rounding of their bound
        twins = np.repeat(x[:20], 2, axis=0) * (1 + 1e-9 * rng.normal(size=(40, 1)))
        return twins, np.repeat(y[:20], 2), 1.0
    if kind == "tied":  # integers: several rows exactly on the margin
        return np.round(2 * x), y, 1.0
    if kind == "scales":  # features of very different units
        return x * 10.0 ** rng.uniform(-3, 4, size=6), y, 0.1
    score = rng.integers(0, [3, 4, 2, 6], size=(40, 4))  # one-hot groups: collinear, few rows
    y = np.where(score[:, 0] > score[:, 2], 1.0, -1.0)
    return np.concatenate([np.eye(k)[score[:, j]] for j, k in enumerate((3, 4, 2, 6))], 1), y, 1.0


def degenerate(kind: str):
    if kind == "cycling":  # three margin vectors of rank two: active sets alone may cycle
        rng = np.random.default_rng(1)
        return [random_problem("svm", rng) for _ in range(11)][10]
    if kind == "crossed":  # the multiplier's interval is one point, which rounding turns around
        x = np.array([[-2.0, -1], [-2, 1], [-1, 1], [2, -1], [0, 2], [0, 0]])
        y, C = np.array([1.0, -1, -1, -1, 1, -1]), 100.0
    else:
        x, y, C = table(kind)
    n = len(y)
    return x @ x.T * np.outer(y, y), -np.ones(n), np.zeros(n), np.full(n, C), y, 0.0


def moved(parts, copies: int):
    """Copies of a problem; every input that is not zero goes up or down by one unit in the last
    place, or stays, at random.
    """
    rng = np.random.default_rng(6)
    columns = []
    for part in parts[:4]:
        side = np.inf * rng.choice([-1.0, 1.0], size=(copies, *np.shape(part)))
        stay = (part == 0) | (rng.random(side.shape) < 1 / 3)
        columns.append(np.where(stay, part, np.nextafter(part, side)))
    columns[0] = np.tril(columns[0]) + np.swapaxes(np.tril(columns[0], -1), 1, 2)
    columns += [np.broadcast_to(part, (copies, *np.shape(part))) for part in parts[4:]]
    return jax.vmap(BoxQP)(*(jnp.asarray(column) for column in columns))


@eqx.filter_jit
def solve_each(batch, warm):
    return jax.lax.map(lambda lane: solve(*lane), (batch, warm))


@pytest.mark.parametrize(
    "kind", ["cycling", "crossed", "doubled", "saturated", "tied", "one_hot", "scales"]
)
def test_no_rounding_of_the_inputs_keeps_a_degenerate_problem_unsolved(kind):
    parts = degenerate(kind)
    copies, n = (1000 if len(parts[1]) == N else 100), len(parts[1])
    batch = moved(parts, copies)
    problems = list(zip(*(np.asarray(leaf) for leaf in jax.tree.leaves(batch)), strict=True))
    drawn = np.random.default_rng(2).integers(0, 3, size=(copies, n))
    no = np.zeros((copies, n), bool)
    starts = (no, no), (no, ~no), (drawn == 0, drawn == 1), (drawn > 0, drawn == 0)
    objectives = []
    for start in starts:
        solution = solve_each(batch, sets(*start))
        assert np.all(np.asarray(solution.result) == CONVERGED)
        x, nu = (np.asarray(a) for a in solution.value)
        for i in range(copies):
            assert violation(problems[i], x[i], nu[i]) < 1e-13
        exact = x.astype(np.longdouble)  # of the problem itself, whose curvature the moves perturb
        objectives.append(np.einsum("bi,ij,bj->b", exact, parts[0], exact) / 2 + exact @ parts[1])
    each = np.stack(objectives)
    assert np.max(np.abs(each / each[0] - 1)) < 1e-12  # whatever the start
    # rows in units 1e7 apart: one unit in the last place of Q moves the optimum itself
    assert np.max(np.abs(each / np.mean(each) - 1)) < (1e-8 if kind == "scales" else 1e-12)


@eqx.filter_jit
def point_and_slack(problem):
    point = SOLVER.run(problem, cold(problem))
    return point, SOLVER.slack(problem, point.unknowns, point.frozen)


def test_a_degenerate_solution_is_solved_and_its_slack_says_so():
    parts = degenerate("cycling")
    problem = box_qp(*parts)
    point, slack = point_and_slack(problem)
    assert int(point.result) == CONVERGED
    assert np.min(np.abs(slack)) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_objective_is_the_least_over_all_faces(kind):
    problems, batch = random_batch(kind, seed=3)
    none = np.zeros((BATCH, N), bool)
    x = np.asarray(solve_batch(batch, sets(none, none)).value[0])
    for (Q, q, *rest), point in list(zip(problems, x, strict=True))[:5]:
        value = 0.5 * point @ Q @ point + q @ point
        assert value == pytest.approx(enumerated(Q, q, *rest), abs=1e-9)


def svm_problem(C, n=80, d=30, seed=0, shift=0.5):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    X = rng.normal(size=(n, d)) + shift * y[:, None]
    return X, y, (X @ X.T * np.outer(y, y), -np.ones(n), np.zeros(n), np.full(n, C), y, 0.0)


@pytest.mark.parametrize("C", [1e-2, 1.0, 100.0])
def test_agrees_with_libsvm(C):
    X, y, parts = svm_problem(C)
    problem = box_qp(*parts)
    solution = solve(problem, cold(problem))
    alpha, nu = (np.asarray(a) for a in solution.value)
    assert violation(parts, alpha, nu) < 1e-13
    oracle = SVC(C=C, kernel="linear", tol=1e-10).fit(X, y)
    expected = np.zeros(len(y))
    expected[oracle.support_] = np.abs(oracle.dual_coef_[0])
    np.testing.assert_allclose(alpha, expected, atol=1e-7 * C)
    np.testing.assert_allclose(nu, oracle.intercept_[0], atol=1e-7)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("start", ["cold", "full"])
def test_nothing_free_takes_the_middle_of_the_multipliers_interval(seed, start):
    rng = np.random.default_rng(seed)
    y = np.array([1.0, 1, 1, -1, -1, -1])  # as many of each: with a small C all alpha are C
    X = rng.normal(size=(N, 2)) + y[:, None]
    C = 1e-3
    problem = box_qp(X @ X.T * np.outer(y, y), -np.ones(N), np.zeros(N), np.full(N, C), y, 0.0)
    full = np.ones(N, bool)
    solution = solve(problem, cold(problem) if start == "cold" else sets(~full, full))
    alpha, nu = (np.asarray(a) for a in solution.value)
    np.testing.assert_allclose(alpha, C, rtol=1e-13)
    ends = y - X @ X.T @ (C * y)  # each row allows a half line of biases
    np.testing.assert_allclose(nu, (np.max(ends[y < 0]) + np.min(ends[y > 0])) / 2, atol=1e-13)
    oracle = SVC(C=C, kernel="linear", tol=1e-10).fit(X, y)
    np.testing.assert_allclose(nu, oracle.intercept_[0], atol=1e-7)


def test_a_start_with_nothing_free_still_meets_the_equality():
    problem = box_qp(np.eye(N), np.zeros(N), np.zeros(N), np.ones(N), np.ones(N), 1.5)
    for at in (np.zeros(N, bool), np.ones(N, bool)):
        solution = solve(problem, sets(at, ~at))
        assert int(solution.result) == CONVERGED
        np.testing.assert_allclose(solution.value[0], np.full(N, 0.25), rtol=1e-14)


def test_pinned_variables_and_infinite_bounds():
    rng = np.random.default_rng(5)
    A = rng.normal(size=(N, N))
    Q, q, e, b = A @ A.T + np.eye(N), rng.normal(size=N), rng.normal(size=N), 0.7
    lower = np.array([-np.inf, -np.inf, 0.3, -0.2, 2.0, -np.inf])
    upper = np.array([np.inf, np.inf, 0.3, -0.2, np.inf, 1e-3])
    problem = box_qp(Q, q, lower, upper, e, b)
    solution = solve(problem, cold(problem))
    assert int(solution.result) == CONVERGED
    assert violation((Q, q, lower, upper, e, b), *solution.value) < 1e-13
    x, nu = (np.asarray(part) for part in solution.value)
    np.testing.assert_array_equal(x[2:4], [0.3, -0.2])
    # A pinned variable has no other side: it is no change that could be near.
    multiplier = np.abs(Q @ x + q + nu * e)
    free = multiplier < 1e-10
    assert 0 < free.sum() < 4  # at a bound, some others are too
    slack = np.where(free, np.minimum(x - lower, upper - x), multiplier)
    slack[2:4] = np.inf
    np.testing.assert_allclose(point_and_slack(problem)[1], slack, rtol=1e-10)


def test_without_the_equality():
    rng = np.random.default_rng(6)
    for _ in range(10):
        A, q, upper = rng.normal(size=(N, N)), 3 * rng.normal(size=N), rng.uniform(0.1, 1, size=N)
        problem = box_qp(A @ A.T, q, np.zeros(N), upper)
        solution = solve(problem, cold(problem))
        assert int(solution.result) == CONVERGED
        parts = (A @ A.T, q, np.zeros(N), upper, np.zeros(N), 0.0)
        assert violation(parts, *solution.value) < 1e-13


GOOD = (np.eye(N), -np.ones(N), np.zeros(N), np.ones(N), np.ones(N), np.array(1.0))


@pytest.mark.parametrize("where", range(6), ids=["Q", "q", "lower", "upper", "e", "b"])
def test_nan_anywhere_is_no_solution(where):
    parts = [np.array(a) for a in GOOD]
    parts[where].flat[0] = np.nan
    Q, q, lower, upper, e, b = parts
    problem = box_qp(Q, q, lower, upper, e, b)
    assert int(solve(problem, cold(problem)).result) != CONVERGED
    with pytest.raises(SolveError):
        argmin(problem, solver=SOLVER)


@pytest.mark.parametrize("b", [-0.1, N + 0.1, 1e3])
def test_infeasible_says_so(b):
    Q, q, lower, upper, e, _ = GOOD
    problem = box_qp(Q, q, lower, upper, e, b)
    assert int(solve(problem, cold(problem)).result) == INFEASIBLE
    with pytest.raises(SolveError, match="infeasible"):
        argmin(problem, solver=SOLVER)
    with pytest.raises(Exception, match=SENTENCES[INFEASIBLE][:40]):
        jax.block_until_ready(eqx.filter_jit(lambda p: argmin(p, solver=SOLVER).value)(problem))


@pytest.mark.parametrize("b", [0.0, float(N)])
def test_a_single_feasible_point_is_found(b):
    Q, q, lower, upper, e, _ = GOOD
    problem = box_qp(Q, q, lower, upper, e, b)
    solution = solve(problem, cold(problem))
    assert int(solution.result) == CONVERGED
    np.testing.assert_allclose(solution.value[0], np.full(N, b / N), atol=1e-14)


def test_unbounded_is_no_solution():
    upper = np.where(np.arange(N) == 0, np.inf, 1.0)
    problem = box_qp(np.zeros((N, N)), -np.ones(N), np.zeros(N), upper)
    assert int(solve(problem, cold(problem)).result) != CONVERGED


def test_float32_reaches_float32_rounding():
    _, _, parts = svm_problem(1.0, n=N, d=4)
    problem = box_qp(*parts, dtype=np.float32)
    solution = solve(problem, cold(problem))
    assert int(solution.result) == CONVERGED
    assert solution.value[0].dtype == jnp.float32
    assert violation(tuple(jax.tree.leaves(problem)), *solution.value) < 1e-5


def test_vmap_is_a_loop():
    _, batch = random_batch("mixed", seed=7)
    none = np.zeros((BATCH, N), bool)
    together = solve_batch(batch, sets(none, none))
    for i in range(10):
        problem = jax.tree.map(lambda leaf, i=i: leaf[i], batch)
        alone = solve(problem, cold(problem))
        assert int(alone.stats["steps"]) == int(together.stats["steps"][i])
        for a, b in zip(alone.value, together.value, strict=True):
            np.testing.assert_allclose(a, b[i], rtol=1e-10, atol=1e-12)


def test_one_bad_lane_spoils_no_other():
    _, batch = random_batch("definite", seed=8)
    none = np.zeros((BATCH, N), bool)
    spoiled = eqx.tree_at(lambda p: p.q, batch, batch.q.at[3].set(jnp.nan))
    good, some = solve_batch(batch, sets(none, none)), solve_batch(spoiled, sets(none, none))
    keep = np.arange(BATCH) != 3
    assert int(some.result[3]) != CONVERGED
    np.testing.assert_array_equal(some.value[0][keep], good.value[0][keep])


def test_warm_start_after_a_small_move_of_one_row_takes_few_updates():
    X, y, parts = svm_problem(1.0)
    problem = box_qp(*parts)
    first = solve(problem, cold(problem))
    X[int(np.argmax(first.value[0]))] += 0.01
    moved = box_qp(X @ X.T * np.outer(y, y), *parts[1:])
    warm, again = solve(moved, first.warm), solve(moved, cold(moved))
    assert int(warm.stats["steps"]) <= 3 < int(again.stats["steps"])
    for a, b in zip(warm.value, again.value, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert int(solve(moved, again.warm).stats["steps"]) == 1
