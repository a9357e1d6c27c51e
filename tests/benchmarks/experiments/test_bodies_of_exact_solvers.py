"""References in extended precision: their solutions meet the conditions of their problems, written
down anew, and their slack is negative where the set that they are given is wrong.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from saying import put, said
from scipy.special import expit
from sklearn.svm import SVC

from benchmarks.fuzz import defended, fixed_points
from benchmarks.fuzz.exact import fixed_point, linear, penalised, programs, sanitised
from benchmarks.fuzz.exact.arithmetic import EXTENDED, Exact
from benchmarks.fuzz.exact.svm import linear as plane
from benchmarks.fuzz.exact.svm import rbf, svm

pytestmark = [
    pytest.mark.skipif(not EXTENDED, reason="long double is no wider than double here"),
    pytest.mark.stand_ins,
]
RNG = np.random.default_rng(0)
N, D = 12, 3
X, WEIGHT = RNG.normal(size=(N, D)) + 0.5, RNG.uniform(0.2, 1, N)
SHARE = WEIGHT / WEIGHT.sum()
TARGETS = X @ [1.0, -0.5, 0.0] + 0.3 * RNG.normal(size=N)
Y = np.where(np.arange(N) % 2, 1.0, -1.0)


def line(found: Exact) -> tuple[np.ndarray, float]:
    """Weights and bias of rows as they are."""
    bias = float(np.real(found.decision(np.zeros((1, D)))[0]))
    return np.real(found.decision(np.eye(D))).astype(float) - bias, bias


def zero(*parts: Any, atol: float = 1e-13) -> None:
    for part in parts:
        np.testing.assert_allclose(np.asarray(part, float), 0, atol=atol)


def test_ridge_has_no_slope() -> None:
    w, bias = line(linear.ridge(X, TARGETS, WEIGHT, 0.25))
    off = X @ w + bias - TARGETS
    zero(SHARE @ off, X.T @ (SHARE * off) + 0.25 * w)


def test_huber_has_no_slope_on_its_set_and_a_wrong_set_has_negative_slack() -> None:
    delta, near, sign, w = 0.2, np.ones(N, bool), np.ones(N), np.zeros(D)
    found, off = linear.huber(X, TARGETS, WEIGHT, 0.05, delta, near, sign), np.zeros(N)
    for _ in range(9):
        found = linear.huber(X, TARGETS, WEIGHT, 0.05, delta, near, sign)
        w, bias = line(found)
        off = X @ w + bias - TARGETS
        wrong = not np.array_equal(near, np.abs(off) <= delta)
        assert (found.slack < 0) == wrong
        near, sign = np.abs(off) <= delta, np.sign(off)
    assert 0 < near.sum() < N
    slope = np.clip(off, -delta, delta)
    zero(SHARE @ slope, X.T @ (SHARE * slope) + 0.05 * w)
    apart = np.abs(np.abs(off) - delta) / (np.abs(off) + delta)
    assert found.slack == pytest.approx(apart.min())


@pytest.mark.parametrize("l2", [0.0, 0.25])
def test_sparse_weights_have_the_pull_of_the_penalty(l2) -> None:
    l1, sign = 0.1, np.array([1.0, -1.0, 0.0])
    found = linear.sparse(X, TARGETS, WEIGHT, l1, l2, sign)
    w, bias = line(found)
    off = X @ w + bias - TARGETS
    slope = X.T @ (SHARE * off) + l2 * w
    zero(SHARE @ off, slope[:2] + l1 * sign[:2], w[2])
    assert np.sign(w[:2]).tolist() == [1, -1]
    expected = min(np.min(np.abs(w[:2])) / np.max(np.abs(w)), 1 - abs(slope[2]) / l1)
    assert found.slack == pytest.approx(expected)
    assert linear.sparse(X, TARGETS, WEIGHT, l1, l2, np.array([1.0, 1.0, 0.0])).slack < 0
    assert linear.sparse(X, TARGETS, WEIGHT, l1, l2, np.zeros(3)).slack < 0


def test_logistic_and_softmax_regressions_have_no_slope() -> None:
    """From a start nearby, with the biases of rows that are not centred."""
    w, bias = line(linear.logistic(X, Y, WEIGHT, 0.25, np.append(0.1 * np.ones(D), 0.2), steps=7))
    pull = SHARE * expit(-Y * (X @ w + bias)) * Y
    zero(np.sum(pull), X.T @ pull - 0.25 * w)
    y = np.arange(N) % 3
    start = 0.1 * np.ones((D, 3)), np.array([0.1, 0.0, -0.1])
    found = linear.softmax(X, y, WEIGHT, 0.25, start, steps=7)
    bias = np.real(found.decision(np.zeros((1, D)))[0]).astype(float)
    w = np.real(found.decision(np.eye(D))).astype(float) - bias
    e = np.exp(X @ w + bias)
    off = SHARE[:, None] * (e / e.sum(1, keepdims=True) - np.eye(3)[y])
    zero(off.sum(0), X.T @ off + 0.25 * w, bias.sum())


def test_exact_starts_need_one_step() -> None:
    """Of uncentred rows: a start that is the solution stays."""
    u = np.append(*line(linear.logistic(X, Y, WEIGHT, 0.25, np.zeros(D + 1), steps=8)))
    again = np.append(*line(linear.logistic(X, Y, WEIGHT, 0.25, u, steps=1)))
    np.testing.assert_allclose(again, u, atol=1e-14)
    y, zeros = np.arange(N) % 3, (np.zeros((D, 3)), np.zeros(3))
    at = np.concatenate([np.eye(D), np.zeros((1, D))])
    found = np.real(linear.softmax(X, y, WEIGHT, 0.25, zeros, steps=8).decision(at)).astype(float)
    start = found[:-1] - found[-1], found[-1]
    again = linear.softmax(X, y, WEIGHT, 0.25, start, steps=1).decision(at)
    np.testing.assert_allclose(np.real(again).astype(float), found, atol=1e-13)


def test_fixed_points_stay_where_they_are() -> None:
    M, c = RNG.normal(size=(D, D)), RNG.normal(size=D)
    w, condition = fixed_point.ridge(A := X.T @ X, c, 0.5)
    zero(A @ w.astype(float) + 0.5 * w.astype(float) - c)
    assert condition >= 1
    M = 0.5 * M / np.linalg.norm(M, 2)
    w, _ = fixed_point.network(M, c, np.zeros(D), steps=9)
    zero(np.tanh(M @ w.astype(float) + c) - w.astype(float))


@pytest.mark.parametrize("logistic", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_minimisers_of_a_face_have_no_slope_along_it(logistic, grouped) -> None:
    y = Y if logistic else TARGETS
    free, fixed = np.array([True, True, False]), np.array([0.0, 0.0, 0.375])
    slope, bend = np.array([0.05, -0.02, 0.0]), np.array([0.25, 0.5, 0.0])
    groups = (np.array([0, 0, 1]), np.array([0.01, 9.0])) if grouped else (None, None)
    face = penalised.Face(free, fixed, slope, bend, *groups)
    w, loss, _ = penalised.minimiser(X, y, SHARE, face, np.full(D, 0.3), logistic, steps=12)
    w = w.astype(float)
    pull = SHARE * (-Y * expit(-Y * (X @ w)) if logistic else X @ w - TARGETS)
    assert w[2] == 0.375
    along = X.T @ pull + slope + bend * w
    if grouped:
        along[:2] += 0.01 * w[:2] / np.linalg.norm(w[:2])
    zero(along[:2], atol=1e-12)
    np.testing.assert_allclose(loss.astype(float), X.T @ pull, atol=1e-10)


H = RNG.normal(size=(D, D))
H = H @ H.T + 0.5 * np.eye(D)
Q = np.array([1.0, -2.0, 0.5])


def test_quadratic_programs_meet_their_conditions() -> None:
    """The distance of idle rows and the force of active ones, each beside its terms."""
    A, b = np.array([[1.0, 1.0, 1.0]]), np.array([0.5])
    G, h = np.array([[0.0, 3.0, 0.0], [1.0, 0.0, 0.0]]), np.array([0.3, 9.0])
    active = np.array([True, False])
    found = programs.qp(H, Q, A, b, G, h, active)
    x, lam = found.x.astype(float), found.unequal.astype(float)
    zero(H @ x + Q + A.T @ found.equal.astype(float) + G.T @ lam, A @ x - b, 3 * x[1] - 0.3, lam[1])
    assert lam[0] > 0
    steep = np.max(np.abs(H) @ np.abs(x) + np.abs(Q))
    gap = (9 - x[0]) / (9 + abs(x[0]))
    assert found.slack == pytest.approx(min(3 * lam[0] / steep, gap))
    none = programs.qp(H, Q, A, b, G, h, np.zeros(2, bool))
    assert none.slack < 0
    assert none.slack == pytest.approx(
        (0.3 - 3 * none.x[1].astype(float)) / (3 * abs(none.x[1].astype(float)) + 0.3)
    )


def test_box_programs_meet_their_conditions_and_pinned_variables_press_on_a_bound() -> None:
    e, b = np.array([1.0, -1.0, 1.0]), 0.25
    lower, upper = np.array([0.1, -5.0, 0.2]), np.array([5.0, 0.1, 0.2])
    found = programs.box_qp(H, Q, lower, upper, e, b, np.zeros(3, bool), np.arange(3) == 1)
    x, nu = found.x.astype(float), float(found.equal[0])
    slope = H @ x + Q + nu * e
    zero(slope[0], e @ x - b, x[1] - 0.1, x[2] - 0.2)
    steep = np.max(np.abs(H) @ np.abs(x) + np.abs(Q))
    inside = (x[0] - 0.1) / 4.9
    assert inside < 0.5
    assert found.slack == pytest.approx(min(inside, -slope[1] / steep, abs(slope[2]) / steep))
    wrong = programs.box_qp(H, Q, lower, upper, e, b, np.arange(3) == 1, np.zeros(3, bool))
    assert (wrong.slack < 0) == (float(np.real(H @ wrong.x + Q + wrong.equal[0] * e)[1]) < 0)


def test_logistic_programs_in_a_ball_meet_their_conditions() -> None:
    a, b, radius = np.array([1.0, 0.0, -1.0]), 0.1, 0.4
    G, h = np.array([[0.0, 1.0, 0.0]]), np.array([3.0])
    q = 0.1 * Q
    start = np.array([0.2, 0.3, 0.1]), 0.0, np.array([0.0, 0.1])
    active = np.array([False, True])
    found = programs.logistic_in_a_ball(
        X, Y, SHARE, 0.05, q, a, b, G, h, radius, start, active, steps=12
    )
    w, nu, lam = (part.astype(float) for part in (found.x, found.equal, found.unequal))
    pull = X.T @ (SHARE * Y * expit(-Y * (X @ w)))
    zero(0.05 * w + q - pull + nu * a + 2 * lam[1] * w, a @ w - b, w @ w - radius**2, lam[0])
    steep = np.max(np.abs(0.05 * w + q - pull))
    force = lam[1] * 2 * np.linalg.norm(w) / steep
    gap = (3 - w[1]) / (3 + abs(w[1]))
    assert found.slack == pytest.approx(min(force, gap), rel=1e-6)
    with pytest.raises(ValueError, match="steps"):
        programs.logistic_in_a_ball(
            X, Y, SHARE, 0.05, q, a, b, G, h, radius, start, active, steps=0
        )


def test_moments_are_of_centred_rows_in_units_of_their_size() -> None:
    """And the maps of descent and of a recurrent layer have the fixed points that are found."""
    table: Any = SimpleNamespace(x=X, weight=WEIGHT, y=TARGETS, x_val=2 * X[:4])
    A, b, x_val = fixed_points._normal(table)
    centred = X - SHARE @ X
    gram = centred.T @ (SHARE[:, None] * centred)
    size = np.linalg.norm(gram, 2)
    np.testing.assert_allclose(A, gram / size)
    np.testing.assert_allclose(b, centred.T @ (SHARE * TARGETS) / np.sqrt(size))
    np.testing.assert_allclose(x_val, (2 * X[:4] - SHARE @ X) / np.sqrt(size))
    w = fixed_point.ridge(A, b, 0.25)[0].astype(float)
    np.testing.assert_allclose(fixed_points._descent_map(w, (A, b, 0.25)), w, atol=1e-12)
    off = fixed_points._descent_map(w + 1, (A, b, 0.25)) - w
    np.testing.assert_allclose(off, 1 - (A @ np.ones(D) + 0.25) / 1.25, atol=1e-12)
    M = 0.3 * RNG.normal(size=(D, D))
    f = {"M": M[1:]}
    layer = fixed_points._layer(f, (M[0], b), np.zeros(D))[0].astype(float)
    np.testing.assert_allclose(fixed_points._network_map(layer, (M, b)), layer, atol=1e-12)


def table() -> Any:
    """Rows of a table without anything else."""
    made: Any = fixed_points.Table
    return made(**dict.fromkeys(made._fields))._replace(x=X, y=Y, weight=WEIGHT)


@pytest.mark.parametrize("drops", [True, False])
def test_rows_that_a_defense_keeps_are_trained_on_with_their_labels(drops) -> None:
    """And the solution counts where these rows are found again."""
    y, weight = -Y, np.where(np.arange(N) % 3, WEIGHT, 0.0)
    face: Any = SimpleNamespace(report=SimpleNamespace(data=SimpleNamespace(y=y, weight=weight)))
    t = table()
    kept = (np.arange(N) % 3 > 0) | (not drops)
    right = [True]
    seen: list[Any] = []

    def solution(given: Any) -> Any:
        assert given is face

        def exactly(rows: Any, strength: float) -> Any:
            assert strength == 0.5
            seen.append(said(rows.x, rows.y, rows.weight))
            return Exact(lambda x: x[:, 0] + 1j, 0.25, 3.0)

        return exactly

    def selected(rows: Any, some: Any, labels: Any, decisions: Any) -> bool:
        assert rows is t
        assert said(some, labels, decisions) == said(kept, y, X[:, 0])
        return right[0]

    on = defended._hard(selected, solution, drops)  # pyright: ignore
    assert on(face)(t, 0.5).slack == 0.25
    right[0] = False
    assert on(face)(t, 0.5).slack == -1.0
    assert set(seen) == {said(X, y, WEIGHT * kept)}


def test_soft_defenses_weigh_rows_by_their_shares(monkeypatch) -> None:
    t = table()
    held = SimpleNamespace(data=SimpleNamespace(weight="weights"))
    face: Any = SimpleNamespace(report=held)

    def solution(given: Any) -> Any:
        assert given is face
        return lambda rows, strength: (said(rows.x), said(rows.y), said(rows.weight), strength)

    class Trim:
        def __init__(self, loss: str, share: float, start: Any):
            assert (loss, share, str(start)) == ("loss", 0.2, "weights")

        def __call__(self, train: Any, x: Any, y: Any, weight: Any) -> Any:
            return train(weight / 2), said(x, y, weight)

    share = np.linspace(0, 1, N)
    put(
        monkeypatch, sanitised, SoftTrim=Trim,
        soft_filter=lambda x, y, weight, part: share * {0.2: 1.0}[part] * (y @ weight + x[0, 0]),
        soft_relabel=lambda x, y, weight: (y * x[0, 0], share + weight),
    )  # fmt: skip
    x, y = said(X), said(Y)
    found = defended._soft_trim("loss", solution)(face)(t, 0.5)  # pyright: ignore
    assert found == ((x, y, said(WEIGHT / 2), 0.5), said(X, Y, WEIGHT))
    found = defended._soft_filter(solution)(face)(t, 0.5)  # pyright: ignore
    assert found == (x, y, said(WEIGHT * (share * (Y @ WEIGHT + X[0, 0]))), 0.5)
    found = defended._soft_relabel(solution)(face)(t, 0.5)  # pyright: ignore
    assert found == (x, said(Y * X[0, 0]), said(WEIGHT * (share + WEIGHT)), 0.5)
    f = np.array([-1.0, 0.5])
    np.testing.assert_allclose(defended._squares(Y[:2], f), (f - Y[:2]) ** 2 / 2)
    np.testing.assert_allclose(defended._smooth_hinge(Y[:2], f), np.log1p(np.exp(1 - Y[:2] * f)))
    np.testing.assert_allclose(defended._logistic_loss(Y[:2], f), np.log1p(np.exp(-Y[:2] * f)))
    np.testing.assert_allclose(defended._margin(Y[:2], f), 1 - Y[:2] * f)


@pytest.mark.parametrize("C", [0.05, 0.5, 5.0])
def test_a_support_vector_machine_has_the_slack_of_its_nearest_row(C) -> None:
    """Of alphas between their bounds, as a share of these; of others by how far the condition of
    their bound holds, beside the size of its terms.
    """
    gram = np.exp(-0.4 * np.sum((X[:, None] - X[None]) ** 2, axis=2))
    peer = SVC(C=C, kernel="precomputed", tol=1e-12).fit(gram, Y, sample_weight=WEIGHT)
    alpha, bound = np.zeros(N), C * WEIGHT
    alpha[peer.support_] = np.abs(peer.dual_coef_[0])
    lower, upper = alpha < 1e-9, alpha > bound - 1e-9
    free = ~(lower | upper)
    assert free.any()
    found = svm(rbf(0.4), X, Y, WEIGHT, C, lower, upper)
    f = np.asarray(found.decision(X), float)
    np.testing.assert_allclose(f, peer.decision_function(gram), atol=1e-7)
    zero(Y[free] * f[free] - 1)
    terms = 1 + gram @ alpha
    apart = np.where(free, np.minimum(alpha, bound - alpha) / bound, np.abs(Y * f - 1) / terms)
    assert found.slack == pytest.approx(np.min(apart), rel=1e-6)
    at_bounds = svm(rbf(0.4), X, Y, np.where(free, WEIGHT, 9.0), C, lower | upper, ~free)
    assert at_bounds.slack < 0 or not upper.any()


def test_without_a_row_on_the_margin_the_bias_is_the_middle_of_its_interval() -> None:
    found = svm(plane, X, Y, np.ones(N), 1e-3, np.zeros(N, bool), np.ones(N, bool))
    w, bias = line(found)
    np.testing.assert_allclose(w, 1e-3 * Y @ X)
    most, least = np.min((1 - X @ w)[Y > 0]), np.max((-1 - X @ w)[Y < 0])
    assert bias == pytest.approx((least + most) / 2)
    terms = 1 + np.sum(np.abs(1e-3 * (X - X.mean(axis=0)) @ (X - X.mean(axis=0)).T), axis=1)
    assert found.slack == pytest.approx(np.min((1 - Y * (X @ w + bias)) / terms))
    assert found.condition == np.inf


def test_soft_filters_drop_a_share_of_each_class_by_distance(monkeypatch) -> None:
    """As many in all as are to be dropped, the far ones first; rows of no weight do not count."""
    weight = np.where(np.arange(N) == 5, 0.0, WEIGHT)
    share = sanitised.soft_filter(X, Y, weight, 0.3).astype(float)
    for inside, score in sanitised._spheres(X, Y, weight):
        used = inside & (weight > 0)
        assert share[used].sum() == pytest.approx(0.7 * used.sum(), rel=1e-4)
        order = np.argsort(np.real(score)[inside].astype(float))
        assert np.all(np.diff(share[inside][order]) <= 1e-12)
    assert np.all((share >= 0) & (share <= 1))


def test_neighbours_that_are_as_far_but_for_rounding_all_vote() -> None:
    """Twelve rows on a circle about the first one; of those at three times the radius none."""
    angles = np.arange(12) * 2 * np.pi / 12 + 0.1
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    x = np.concatenate([[[0.3, 0.7]], 0.3 * circle + [0.3, 0.7], 0.9 * circle + [0.3, 0.7]])
    apart = np.sum((x[1:13] - x[0]) ** 2, axis=1)
    assert sanitised.NEIGHBOURS < 12
    assert len(np.unique(apart)) > 1
    near = sanitised._votes(x, np.ones(25))
    np.testing.assert_array_equal(near[0], (np.arange(25) > 0) & (np.arange(25) < 13))
    assert not np.any(np.diagonal(near))
    few = sanitised._votes(x[:4], np.ones(4))
    np.testing.assert_array_equal(few, ~np.eye(4, dtype=bool))  # all others


def test_soft_labels_follow_most_neighbours_where_enough_agree() -> None:
    x = np.concatenate([RNG.normal(size=(9, 2)), RNG.normal(size=(9, 2)) + 20])
    y = np.repeat([1.0, -1.0], 9)
    y[4] = -1
    label, share = sanitised.soft_relabel(x, y, np.ones(18))
    lead = np.real(sanitised._lead(x, y, np.ones(18))).astype(float)
    balance = lead + (2 * sanitised.AGREEMENT - 1 + 0.5 / sanitised.NEIGHBOURS) * y
    assert label.tolist() == np.where(balance < 0, -1, 1).tolist()
    np.testing.assert_allclose(share.astype(float), np.abs(balance), atol=1e-12)


def test_of_a_class_that_all_neighbours_contradict_a_share_keeps_its_label(monkeypatch) -> None:
    """Those that they contradict least."""
    put(monkeypatch, sanitised, UNTURNED=0.4)
    x = np.concatenate([0.3 * RNG.normal(size=(20, 2)), [[0.9, 0.0], [3.0, 0.0]]])
    y = np.append(np.ones(20), [-1.0, -1.0])
    lead = np.real(sanitised._lead(x, y, np.ones(22))).astype(float)
    np.testing.assert_allclose(lead[20:], [1.0, 0.8])
    expected = np.append(np.ones(21), -1.0)
    assert sanitised.relabelled(x, y, np.ones(22), expected)
    for wrong in (np.ones(22), y, np.append(np.ones(20), [-1.0, 1.0])):
        assert not sanitised.relabelled(x, y, np.ones(22), wrong)
    label, _ = sanitised.soft_relabel(x, y, np.ones(22))
    assert label[20:].tolist() == [1, -1]
