"""Certified damage against exhaustive search: every attack on tiny sets, trained and judged."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as SkRidge
from threadpoolctl import threadpool_info

from bilevel import Data
from bilevel.learners import SVM, Logistic, Ridge
from defenses.data_audit.bound import _twins
from defenses.data_audit.certified import (
    Certified,
    Inserted,
    Mixed,
    Relabelled,
    _damage,
    _rows,
    certify_damage,
)
from defenses.data_audit.certified._damage import _errors
from defenses.data_audit.certified._rows import Rows

LEVELS = (0.0, 0.5, 1.0)
RNG = np.random.default_rng(5)


def solve(a, y, weight, penalty, squared):
    """Solutions (k, p) of k trainings at once: rows a (k, n, p), targets (k, n), weights (k, n)."""
    theta = np.zeros((a.shape[0], a.shape[2]))
    for _ in range(1 if squared else 60):
        f = np.einsum("knp,kp->kn", a, theta)
        share = np.exp(-np.logaddexp(0, y * f))
        slope = weight * (f - y) if squared else -weight * y * share
        curvature = weight if squared else weight * share * (1 - share)
        gradient = np.einsum("knp,kn->kp", a, slope) + theta @ penalty
        hessian = np.einsum("knp,kn,knq->kpq", a, curvature, a) + penalty
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        drop = np.einsum("kp,kp->k", step, gradient)
        damped = 1 if squared else np.maximum(1, np.sqrt(np.maximum(drop, 0)))[:, None]
        theta = theta - step / damped
        if np.max(np.abs(gradient)) < 1e-12:
            break
    return theta


class Tiny:
    """A random set of at most twelve rows, an attack of one or two rows, and the truth."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.squared = bool(rng.integers(2))
        self.labelled = not self.squared or bool(rng.integers(2))
        n, d = int(rng.integers(6, 13)), int(rng.integers(1, 3))
        self.count = int(rng.integers(1, 3))
        self.one_hot = bool(rng.integers(2))
        x = rng.choice(LEVELS, (n + 30, d)) if rng.integers(2) else rng.uniform(size=(n + 30, d))
        extra = np.eye(3)[rng.integers(0, 3, n + 30)]
        x = np.concatenate([x, extra], axis=1) if self.one_hot else x
        truth = x @ rng.normal(size=x.shape[1]) + 0.4 * rng.normal(size=n + 30)
        y = np.where(truth > np.median(truth), 1.0, -1.0) if self.labelled else truth
        y[:2] = (1.0, -1.0) if self.labelled else (truth.min(), truth.max())
        weight = rng.uniform(0.5, 1.5, n) if rng.integers(2) else np.ones(n)
        self.train, self.test = Data(x[:n], y[:n], weight), Data(x[n:], y[n:])
        self.l2 = float(10 ** rng.uniform(-2.5, 0.5))
        self.x, self.y, self.weight = x[:n], y[:n], weight
        self.targets = (-1.0, 1.0) if self.labelled else (float(y.min()), float(y.max()))
        groups = ((d, d + 1, d + 2),) if self.one_hot else ()
        width = x.shape[1]
        self.inserted = Inserted(
            np.zeros(width), np.ones(width), self.targets, groups, (False,) * len(groups)
        )
        values = list(itertools.product(LEVELS, repeat=d))
        if self.one_hot:
            values = [(*v, *hot) for v in values for hot in np.eye(3)]
        self.candidates = [(v, t) for v in values for t in self.targets]

    def learner(self):
        return Ridge(self.l2) if self.squared else Logistic(self.l2)

    def judged(self, theta):
        """Errors and losses of several solutions on the test rows."""
        x, y = np.asarray(self.test.x), np.asarray(self.test.y)
        f = theta[:, :-1] @ x.T + theta[:, -1:]
        loss = (f - y) ** 2 if self.squared else np.logaddexp(0, -y * f)
        return np.mean(y * f <= 0, axis=1), np.mean(loss, axis=1)

    def trained(self, x, y, weight):
        a = np.concatenate([x, np.ones((*x.shape[:-1], 1))], axis=-1)
        strengths = np.full(a.shape[-1], self.l2 * self.weight.sum())
        strengths[-1] = 0
        return self.judged(solve(a, y, weight, np.diag(strengths), self.squared))

    def relabelled(self):
        """Of all sets of `count` rows with every target at either end."""
        sets = list(itertools.combinations(range(len(self.y)), self.count))
        ys = []
        for rows in sets:
            for targets in itertools.product(self.targets, repeat=self.count):
                y = self.y.copy()
                y[list(rows)] = targets
                ys.append(y)
        k = len(ys)
        return self.trained(
            np.broadcast_to(self.x, (k, *self.x.shape)), np.array(ys),
            np.broadcast_to(self.weight, (k, len(self.y))),
        )  # fmt: skip

    def with_rows(self):
        """Of all sets of `count` rows of the grid."""
        sets = list(itertools.combinations_with_replacement(self.candidates, self.count))
        k = len(sets)
        x = np.broadcast_to(self.x, (k, *self.x.shape))
        more = np.array([[v for v, _ in rows] for rows in sets])
        y = np.broadcast_to(self.y, (k, len(self.y)))
        targets = np.array([[t for _, t in rows] for rows in sets])
        weight = np.broadcast_to(self.weight, (k, len(self.y)))
        return self.trained(
            np.concatenate([x, more], axis=1), np.concatenate([y, targets], axis=1),
            np.concatenate([weight, np.ones((k, self.count))], axis=1),
        )  # fmt: skip

    def one_of_each(self):
        """Of every row with its target at either end, beside every row of the grid."""
        n = len(self.y)
        sets = list(itertools.product(range(n), self.targets, self.candidates))
        k = len(sets)
        x = np.broadcast_to(self.x, (k, *self.x.shape))
        y = np.broadcast_to(np.append(self.y, 0), (k, n + 1)).copy()
        y[np.arange(k), [row for row, _, _ in sets]] = [target for _, target, _ in sets]
        y[:, n] = [target for _, _, (_, target) in sets]
        more = np.array([[values] for _, _, (values, _) in sets])
        weight = np.broadcast_to(np.append(self.weight, 1), (k, n + 1))
        return self.trained(np.concatenate([x, more], axis=1), y, weight)

    def truths(self):
        """Each reach, with the worst rises of error and loss."""
        error, loss = self.trained(self.x[None], self.y[None], self.weight[None])
        either = [self.relabelled(), self.with_rows()]
        mixed = [*either, self.one_of_each()] if self.count == 2 else either
        for reach, (errors, losses) in (
            (Relabelled(self.targets), either[0]),
            (self.inserted, either[1]),
            (Mixed(self.inserted), [np.concatenate(parts) for parts in zip(*mixed, strict=True)]),
        ):
            yield reach, float(errors.max() - error[0]), float(losses.max() - loss[0])


def bracketed(seeds) -> list[tuple[float, float]]:
    """Pairs (truth, bound) of all attacks; fails where a truth is above its bound."""
    pairs = []
    for seed in seeds:
        tiny = Tiny(seed)
        for reach, error, loss in tiny.truths():
            bound = certify_damage(tiny.learner(), tiny.train, tiny.test, tiny.count, reach)
            if bound is None:
                continue
            assert loss <= bound.loss, (seed, reach)
            pairs.append((loss, bound.loss))
            if tiny.labelled:
                assert bound.error is not None
                assert error <= bound.error + 1e-12, (seed, reach)
                pairs.append((error, bound.error))
    return pairs


def test_no_attack_on_a_tiny_set_exceeds_its_certificate() -> None:
    pairs = bracketed(range(40))
    assert len(pairs) > 100
    # a bound that is never reached by a third would hold for a wrong reason
    assert np.mean([truth > bound / 3 for truth, bound in pairs if truth > 1e-9]) > 0.3


def test_a_row_added_and_a_label_changed_do_more_than_two_of_a_kind() -> None:
    """One row is heavy, the others are lighter than a row added."""
    tiny = Tiny(0)
    tiny.squared, tiny.labelled, tiny.count, tiny.targets = True, False, 2, (0.0, 1.0)
    tiny.x, tiny.y = np.linspace(0, 1, 41)[:, None], np.full(41, 0.5)
    tiny.weight, tiny.l2 = np.array([2.0] + [0.05] * 40), 30.0
    tiny.train = Data(tiny.x, tiny.y, tiny.weight)
    tiny.test = Data(np.ones((1, 1)), np.zeros(1))
    tiny.inserted = Inserted(np.zeros(1), np.ones(1), tiny.targets)
    tiny.candidates = [((value,), target) for value in LEVELS for target in tiny.targets]
    (_, alone, first), (_, added, second), (_, mixed, third) = (
        (reach, loss, certify_damage(tiny.learner(), tiny.train, tiny.test, 2, reach))
        for reach, _, loss in tiny.truths()
    )
    assert first is not None
    assert second is not None
    assert third is not None
    assert alone <= first.loss
    assert added <= second.loss
    assert max(first.loss, second.loss) < 0.95 * mixed
    assert mixed <= third.loss < 2 * mixed


@pytest.mark.slow
def test_no_attack_on_any_of_many_tiny_sets_exceeds_its_certificate() -> None:
    assert len(bracketed(range(40, 440))) > 1000


def test_the_bound_of_a_square_begins_with_sums_of_the_norms_of_its_blocks(monkeypatch) -> None:
    """One block for the constant, one for the group, and one for each other feature."""
    monkeypatch.setattr(_rows, "SHARPENED", 0)
    root = RNG.normal(size=(3, 6))  # features 1 to 3 are a group
    around, away = np.sqrt(6) / 3, np.array([0.5, 1 / 3, 1 / 3, 1 / 3, 0.5, 1])
    basis = np.zeros((6, 6))
    basis[:, 0] = away
    basis[1:4, 1:4] = around * np.eye(3)
    basis[0, 4] = basis[4, 5] = 0.5
    q = basis.T @ root.T @ root @ basis
    blocks = [slice(0, 1), slice(1, 4), slice(4, 5), slice(5, 6)]
    d = [sum(float(np.linalg.norm(q[a, b])) for b in blocks) for a in blocks]
    short = np.linalg.eigvalsh(q - np.diag(np.repeat(d, [1, 3, 1, 1])))[-1]
    found = Rows(np.zeros(5), np.ones(5), ((1, 2, 3),), (False,)).square(root.T @ root)
    assert found == pytest.approx(sum(d) + 4 * short, rel=1e-9)


def test_the_bound_of_a_square_holds_for_every_row_and_is_near_the_largest() -> None:
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(40):
        lower, upper = np.zeros(6), np.ones(6)
        rows = Rows(lower, upper, ((3, 4, 5),), (bool(rng.integers(2)),))
        root = rng.normal(size=(int(rng.integers(1, 7)), 7))
        hots = [*np.eye(3), np.zeros(3)] if rows.optional[0] else list(np.eye(3))
        corners = [(*c, *h, 1.0) for c in itertools.product((0, 1), repeat=3) for h in hots]
        moved = root @ np.array(corners).T
        truth = float(np.max(np.sum(moved**2, axis=0)))
        bound = rows.square(root.T @ root)
        assert bound >= truth * (1 - 1e-12)
        ratios.append(bound / truth)
        np.testing.assert_allclose(rows.highest(root), moved.max(axis=1))
    assert np.median(ratios) < 1.25


def sample(squared: bool) -> tuple[Data, Data]:
    rng = np.random.default_rng(3)
    x = rng.uniform(size=(80, 3))
    f = x @ [2.0, -1.0, 0.5] - 0.7 + 0.3 * rng.normal(size=80)
    y = f if squared else np.where(f > 0, 1.0, -1.0)
    return Data(x[:50], y[:50]), Data(x[50:], y[50:])


@pytest.mark.parametrize("squared", [True, False])
def test_the_strengths_are_those_of_scikit_learn(squared: bool) -> None:
    train, test = sample(squared)
    learner = Ridge(0.02) if squared else Logistic(0.02)
    nothing = certify_damage(learner, train, test, 0, Relabelled())
    assert isinstance(nothing, Certified)
    x, y = np.asarray(test.x), np.asarray(test.y)
    given = np.asarray(train.x), np.asarray(train.y)
    if squared:
        f = SkRidge(alpha=1.0).fit(*given).predict(x)
        loss = np.mean((f - y) ** 2)
    else:
        f = LogisticRegression(C=1.0, tol=1e-10).fit(*given).decision_function(x)
        loss = np.mean(np.logaddexp(0, -y * f))
    np.testing.assert_allclose(nothing.clean_loss, loss, rtol=1e-6)
    assert 0 <= nothing.loss < 1e-6


def test_labels_of_a_ridge_have_errors_and_targets_have_none() -> None:
    """Whether both labels are among the rows that are judged, or one."""
    train, test = sample(squared=False)
    x, y = np.asarray(test.x), np.asarray(test.y)
    for rows in (y != 0, y > 0, y < 0):
        found = certify_damage(Ridge(0.02), train, Data(x[rows], y[rows]), 1, Relabelled())
        assert found is not None
        f = SkRidge(alpha=1.0).fit(train.x, train.y).predict(x[rows])
        assert found.clean_error == pytest.approx(np.mean(y[rows] * f <= 0))
        assert found.error is not None
        assert found.clean_loss == pytest.approx(np.mean((f - y[rows]) ** 2))
    for other in (0.0, 2.0):
        test = Data(x, np.where(np.arange(len(y)) == 3, other, y))
        found = certify_damage(Ridge(0.02), train, test, 1, Relabelled())
        assert found is not None
        assert (found.error, found.clean_error) == (None, None)


def test_more_rows_can_do_more() -> None:
    train, test = sample(squared=False)
    added = Inserted(np.zeros(3), np.ones(3))
    for reach in (Relabelled(), added, Mixed(added)):
        bounds = [certify_damage(Logistic(0.05), train, test, k, reach) for k in (1, 2, 3)]
        losses = [bound.loss for bound in bounds if bound is not None]
        assert len(losses) == 3
        assert losses == sorted(losses)


def test_a_certificate_is_for_tables_that_are_not_too_wide_however_long(monkeypatch) -> None:
    train, test = sample(squared=False)  # 50 rows of three features
    for widest, given in ((3, True), (2, False)):
        monkeypatch.setattr(_damage, "WIDEST", widest)
        assert (certify_damage(Logistic(), train, test, 0, Relabelled()) is not None) == given
    images = Data(np.zeros((4, 2, 1)), train.y[:4])
    assert certify_damage(Logistic(), images, images, 0, Relabelled()) is None


def test_without_a_certificate_there_is_none() -> None:
    train, test = sample(squared=False)
    assert certify_damage(SVM(), train, test, 1, Relabelled()) is None
    assert certify_damage(Logistic(1e-4), train, test, 50, Relabelled()) is None
    twice = Data(np.tile(np.asarray(train.x), 2), train.y)
    assert certify_damage(Ridge(1e-300), twice, twice, 1, Relabelled()) is None
    with pytest.raises(ValueError, match="count: got -1"):
        certify_damage(Logistic(), train, test, -1, Relabelled())


@pytest.mark.parametrize(
    ("how", "same"),
    [
        ({}, True),
        ({"solver": "newton-cholesky", "tol": 1e-8, "max_iter": 5}, True),
        ({"solver": "saga", "l1_ratio": 1.0}, False),  # LASSO: l1_ratio is the penalty
        ({"solver": "liblinear"}, False),  # penalises the intercept
        ({"fit_intercept": False}, False),
    ],
)
def test_a_model_of_another_penalty_is_no_twin(how, same) -> None:
    assert _twins(LogisticRegression(C=0.5, **how), LogisticRegression(C=0.5)) is same


def test_eigenvalues_of_small_matrices_take_one_core(monkeypatch) -> None:
    cores, eigh = [], np.linalg.eigh

    def seen(q: np.ndarray):
        cores.extend(pool["num_threads"] for pool in threadpool_info())
        return eigh(q)

    monkeypatch.setattr(np.linalg, "eigh", seen)
    Rows(np.zeros(2), np.ones(2)).square(np.eye(3) + 0.1)
    assert set(cores) == {1}


def test_a_rise_of_the_error_counts_the_heaviest_rows_of_those_that_can_pass() -> None:
    """Moves within a box, and of a norm that is given, of the four rows that are right."""
    reach = np.array([0.5, 0.5, 0.5, 0.25, 1.0])

    def errors(norm: float, margin: np.ndarray) -> float:
        moved: Any = SimpleNamespace(
            along=lambda v: np.abs(v) @ reach, norm=lambda t: norm * np.linalg.norm(t) / 2
        )
        return _errors(moved, np.eye(5), y, y * margin, weight)

    y, weight = np.array([1.0, -1, 1, -1, 1]), np.array([0.1, 0.2, 0.4, 0.1, 0.2])
    # The fourth row cannot move as far as its margin, the last one is wrong already.
    margin = np.array([0.1, 0.2, 0.3, 0.26, -0.1])
    for norm, rise in ((0.05, 0), (0.15, 0.4), (0.3, 0.6), (0.4, 0.7), (9.0, 0.7)):
        assert errors(norm, margin) == pytest.approx(rise)
    assert errors(9.0, np.array([-1.0, 0.2, -1.0, -1.0, 2.0])) == pytest.approx(0.2)
    assert errors(9.0, -np.abs(margin)) == 0


def test_rows_that_share_one_move_pass_less_often_than_each_alone() -> None:
    """Moves whose sizes add up to a half: w (r + 1 / n r) / (m + r) of each of n rows."""
    moved: Any = SimpleNamespace(along=lambda v: 0.5 * np.max(np.abs(v), axis=1), norm=np.sum)
    y, weight = np.array([1.0, -1, 1, -1, 1]), np.full(5, 0.2)
    found = _errors(moved, np.eye(5), y, 0.4 * y, weight)
    assert found == pytest.approx(6 * 0.2 * 0.5 / 0.9, rel=1e-5)
