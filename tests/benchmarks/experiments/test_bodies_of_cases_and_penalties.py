"""Tables with protected groups, splits of transfer, and penalised problems made of tables: with
the faces that their exact solutions are on.
"""

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from roles import drawn
from saying import put, said, tells

from benchmarks.data import Rows
from benchmarks.experiments.classifiers import _poisoned_classifiers
from benchmarks.experiments.fairness import _cases, _defended
from benchmarks.experiments.regression import _poisoned_regression
from benchmarks.experiments.transfer import transfer
from benchmarks.fuzz import fixed_points, penalised, programs
from benchmarks.fuzz.exact import sanitised
from benchmarks.fuzz.exact.arithmetic import EXTENDED
from benchmarks.report import UsageError
from bilevel.solvers import FISTA, WorkingSet

pytestmark = pytest.mark.stand_ins
extended = pytest.mark.skipif(not EXTENDED, reason="long double is no wider than double here")
RNG = np.random.default_rng(0)


def test_favourable_and_privileged_come_second_in_their_column(monkeypatch) -> None:
    again = pd.DataFrame({"label": [1.0, -1.0], "race": ["Caucasian", "Other"], "age": [3.0, 4.0]})
    census = pd.DataFrame({
        "label": [1.0, -1.0], "sex": ["Female", "Male"], "age": [3.0, 4.0],
        "weight": [5.0, 6.0], "country": ["a", "b"], "education": ["c", "d"],
    })  # fmt: skip
    put(monkeypatch, _cases, compas_frame=lambda: again, adult_frame=lambda: census,
        framed=lambda frame, protected: (frame.to_dict("list"), protected))  # fmt: skip
    assert _cases.compas.__wrapped__() == (
        {"label": ["a: again", "b: not again"], "race": ["b: Caucasian", "a: other"],
         "age": [3.0, 4.0]}, "race",
    )  # fmt: skip
    assert _cases.adult.__wrapped__() == (
        {"label": ["b: more", "a: less"], "sex": ["a: Female", "b: Male"], "age": [3.0, 4.0]},
        "sex",
    )


def test_adapted_poison_is_short_and_from_one_start_against_the_surrogate(monkeypatch) -> None:
    class Setting(SimpleNamespace):
        def _replace(self, **parts: Any) -> "Setting":
            return Setting(**{**vars(self), **parts})

    setting: Any = Setting(learner="learner", slots=9, count=4, steps=70)
    put(monkeypatch, _defended, lower=lambda short, options: (short, options),
        starts=lambda short: [("start", short.slots, k) for k in range(3)])  # fmt: skip
    found: Any = _defended.adapted(setting, "surrogate")  # pyright: ignore
    short, starts = found
    assert vars(short) == {"learner": "surrogate", "slots": 4, "count": 4, "steps": 30}
    assert starts == [("start", 4, 0)]


def test_target_surrogate_and_validation_rows_have_none_in_common(monkeypatch) -> None:
    monkeypatch.setattr(transfer, "TRAIN", 4)
    monkeypatch.setattr(transfer, "VALIDATION", 7)
    y = np.array([1, -1, -1, -1, 1, -1, 1])
    split = SimpleNamespace(train="target", validation=(np.arange(7.0), y), test="test")

    def splits(*given: Any) -> Any:
        assert given == (name, "0v4", (0, 1), 5)
        return {3: split}

    put(monkeypatch, transfer, drawn_splits=splits, mnist=lambda: "small", mnist_full=lambda: "all")
    for full in (False, True):
        name = "all" if full else "small"
        options = transfer.Options(pair="0v4", seeds=2, seed=5, points=2, full=full)
        (found,) = transfer.splits(options)
        assert (found.target, found.test) == ("target", "test")
        assert said(found.surrogate) == said((np.arange(4.0), y[:4]))
        assert said(found.validation) == said((np.arange(4.0, 7), y[4:]))
        order = np.random.default_rng([5, 3]).permutation([1, 2, 3])
        assert found.start.tolist() == order[:2].tolist()
    with pytest.raises(UsageError, match="--points: got 4, split 3 has 3 starts"):
        transfer.splits(transfer.Options(pair="0v4", seeds=2, seed=5, full=True, points=4))
    split.validation = (np.arange(6.0), y[:6])
    with pytest.raises(UsageError, match="the data hold too few"):
        transfer.splits(transfer.Options(pair="0v4", seeds=2, seed=5, full=True))


def test_a_target_errs_on_test_rows_after_its_rows_and_poison(monkeypatch) -> None:
    given: list[Any] = []

    def retrained(model: Any, target: str, added: Rows) -> Any:
        given.append((model, target, said(added.x, added.y)))
        return "model"

    put(monkeypatch, transfer, judge=tells("judge"), retrained=retrained,
        misclassified=lambda model, rows: {("model", "test"): 0.25}[model, rows])  # fmt: skip
    options = transfer.Options()
    split: Any = SimpleNamespace(target="target", test="test")
    assert transfer.errors("svm", options, 5, split, np.full((3, 2), 0.5)) == 0.25
    poison = said(np.full((3, 2), 0.5), np.ones(3))
    assert given == [(("judge", "svm", options, 5), "target", poison)]


def test_programs_of_transfer_are_of_an_attack_on_validation_rows(monkeypatch) -> None:
    import bilevel

    twin = SimpleNamespace(ours=lambda strengths, rows: ("ours", strengths, rows))
    monkeypatch.setitem(transfer.TWINS, "svm", twin)
    monkeypatch.setattr(transfer, "TRAIN", 30)
    end = SimpleNamespace(z="z", status="status")
    climbed: list[Any] = []

    def maximize(*words: Any, **settings: Any) -> Any:
        climbed.append(tells("climb")(*words, **settings))
        return end

    put(monkeypatch, bilevel, maximize=maximize, batch=lambda function: function)
    put(
        monkeypatch, transfer, compose=tells("attack"), Insert=tells("insert"), Data=tells("data"),
        indiscriminate=tells("goal"), loss_variability=tells("V"),
        losses=SimpleNamespace(Logistic=tells("loss")), jax=SimpleNamespace(
            jit=lambda f: f, random=jax.random, grad=lambda attack: lambda z: ("slope", attack, z)),
    )  # fmt: skip
    options: Any = SimpleNamespace(points=3, steps=9)
    made = transfer.programs("svm", options)
    rows = ("s", ("x", "y"), ("x_val", "y_val"), "z")
    attack = ("attack", ("ours", "s", 33), ("insert", [1.0] * 3, transfer.DOMAIN),
              ("goal", "x_val", "y_val", ("loss",)), ("data", "x", "y"),
              ("key", jax.random.key(0)))  # fmt: skip
    assert made.craft(*rows) == ("z", "status")
    pace = ("optimizer", transfer.ASCENT), ("steps", 9)
    assert said(climbed) == said([("climb", attack, "z", *pace)])
    assert said(made.gradient(*rows)) == said(("slope", attack, "z"))
    assert said(made.variability(*rows, "w")) == said(("V", attack, "z", "w"))


def test_poison_starts_from_as_many_rows_as_all_splits_have(monkeypatch) -> None:
    parts = [(SimpleNamespace(), np.arange(k)) for k in (5, 3)]
    paths = ("first", "second")
    put(monkeypatch, _poisoned_classifiers,
        numbered_parts=lambda path, table: parts[paths.index(path)])  # fmt: skip
    options: Any = SimpleNamespace(splits_files=paths, points=(1, 3))
    assert _poisoned_classifiers.drawn(options, "table") == parts  # pyright: ignore
    options.points = (1, 4)
    with pytest.raises(UsageError, match="--points: got 4, these splits have 3 starts"):
        _poisoned_classifiers.drawn(options, "table")  # pyright: ignore


def test_splits_have_the_sizes_asked_for_and_poison_starts_from_negative_rows() -> None:
    asked: list[tuple[int, ...]] = []
    labels = np.array([1.0, -1, -1, 1, -1, -1])

    def split(*sizes: int) -> Any:
        asked.append(sizes)
        return SimpleNamespace(train=SimpleNamespace(y=np.roll(labels, sizes[-1])))

    table: Any = SimpleNamespace(split=split)
    options = _poisoned_classifiers.Options(points=(2, 4), splits=3, train=5, validation=6, test=7)
    found = _poisoned_classifiers.drawn(options, table)
    assert asked == [(5, 6, 7, seed) for seed in range(3)]
    for seed, (parts, start) in enumerate(found):
        negative = np.flatnonzero(parts.train.y < 0)
        assert len(negative) == 4
        expected = np.random.default_rng([1, seed]).permutation(negative)
        np.testing.assert_array_equal(start, expected)
    with pytest.raises(UsageError, match="--points: got 5, these splits have 4 starts"):
        _poisoned_classifiers.drawn(dataclasses.replace(options, points=(5,)), table)


def test_regression_starts_from_training_rows_in_their_domain(monkeypatch) -> None:
    parts = drawn(targets=True)
    learner = SimpleNamespace(fit=lambda data: SimpleNamespace(model=("model", said(data.y))))
    domain = SimpleNamespace(place=lambda x: x + 1)
    put(
        monkeypatch, _poisoned_regression, domain=lambda table: domain, stat_p=tells("stat-p"),
        learner_of=lambda kind, options, rows: {("ridge", 25): learner}[kind, rows],
        inv_flip=lambda y: 1 - y, b_flip=lambda y: y + 5, XY=lambda x, y: (said(x), said(y)),
    )  # fmt: skip
    options: Any = SimpleNamespace(train=25)
    found = _poisoned_regression.starts("ridge", options, parts, 4, 6)
    rows = np.random.default_rng([1, 6]).choice(25, 4)
    x, y = said(parts.train.x[rows] + 1), parts.train.y[rows]
    assert found["inv-flip"] == (x, said(1 - y))
    assert found["b-flip"] == (x, said(y + 5))
    name, key, count, data, model, where = found["stat-p"]  # pyright: ignore
    assert (name, said(key), count, where is domain) == (
        "stat-p", said(jax.random.key(6)), 4, True,
    )  # fmt: skip
    assert (said(data.x), model) == (said(parts.train.x), ("model", said(parts.train.y)))


def table() -> Any:
    rng = np.random.default_rng(4)
    y = np.where(np.arange(12) % 2, 1.0, -1.0)
    return SimpleNamespace(
        x=rng.normal(size=(12, 4)) + 0.5 * y[:, None] * [1, 1, 0, -1], y=y,
        weight=rng.uniform(0.2, 1, 12), x_val=rng.normal(size=(5, 4)), y_val=rng.normal(size=5),
        strength=2.0,
    )  # fmt: skip


@extended
@pytest.mark.parametrize("name", penalised.PENALISED)
def test_penalised_problems_are_solved_on_the_face_that_is_found(name) -> None:
    """Found anew by a plain proximal loop: the exact solution is there, and its slack is not
    negative; from a wrong face it is.
    """
    t = table()
    kind: Any = penalised.PENALISED[name]
    objective, z = kind.pose(t)
    rows, *strengths = map(np.asarray, z)
    share = t.weight / t.weight.sum()
    x = t.x - share @ t.x
    np.testing.assert_array_equal(rows, t.x[-2:])
    problem: Any = objective.inner(objective.fixed, z)
    logistic = "logistic" in name
    fixed = {key: np.asarray(leaf) for key, leaf in objective.fixed.items()}
    spread = (x / t.x[:, 0].std())[:, 0]
    y = t.y if logistic else t.y + spread**2
    np.testing.assert_allclose(fixed["y"], y)
    assert isinstance(objective.solver, WorkingSet if "working" in name else FISTA)
    if "working" not in name:
        w = RNG.normal(size=4)
        loss = share @ (np.logaddexp(0, -y * (x @ w)) if logistic else (x @ w - y) ** 2 / 2)
        np.testing.assert_allclose(problem.loss(jnp.asarray(w), problem.args), loss)

    def prox(w: np.ndarray, step: Any) -> np.ndarray:
        if name.startswith("box"):
            return np.clip(w, *strengths)
        l2, l1 = strengths
        if name.startswith("non"):
            return np.maximum(w - step * l1, 0)
        if name.startswith("group"):
            length = np.repeat(np.linalg.norm(w.reshape(2, 2), axis=1), 2)
            return w * np.maximum(1 - step * l1 / np.maximum(length, 1e-300), 0)
        w = np.sign(w) * np.maximum(np.abs(w) - step * l1, 0)
        return w / (1 + step * l2) if name.startswith("elastic") else w

    w, step = np.zeros(4), 1 / np.linalg.norm(x.T @ (share[:, None] * x), 2)
    for _ in range(4000):
        p = -y / (1 + np.exp(y * (x @ w))) if logistic else x @ w - y
        w = prox(w - step * (x.T @ (share * p)), step)
    assert w.any()
    found = kind.exact(objective, (w, None))(tuple(map(np.asarray, z)))
    off = (t.x_val - share @ t.x) @ w - t.y_val
    np.testing.assert_allclose(float(found.value), np.mean(off**2) / 2, rtol=1e-6)
    assert found.slack > 0
    np.testing.assert_allclose(penalised._outer(fixed, w), np.mean(off**2) / 2, rtol=1e-6)
    for wrong in (np.zeros(4), np.where(w == 0, 0.1, -w), np.full(4, 99.0)):
        hard = logistic or name.startswith("group")  # signs are no face, or Newton's method fails
        if (wrong[0] == 99) == name.startswith("box") and not (hard and wrong[0]):
            assert kind.exact(objective, (wrong, None))(tuple(map(np.asarray, z))).slack < 0


@extended
def test_fixed_points_are_posed_by_their_table() -> None:
    t = table()
    kinds: Any = fixed_points.FIXED_POINTS
    for name, kind in kinds.items():
        objective, z = kind.pose(t)
        problem: Any = objective.inner(objective.fixed, z)
        x_val = np.asarray(objective.fixed["x_val"])
        found = kind.exact(objective, (np.zeros(4), None))(tuple(map(np.asarray, z)))
        w, step = jnp.zeros(4), jax.jit(lambda w, problem=problem: problem.map(w, problem.args))
        for _ in range(3000):
            w = step(w)
        value = np.mean((x_val @ w - t.y_val) ** 2) / 2
        np.testing.assert_allclose(float(found.value), value, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(objective.outer(objective.fixed, w), value, rtol=1e-6)
        assert found.slack == np.inf
        if name.startswith("descent"):
            A, b, x_val = fixed_points._normal(t)
            assert said(z) == said((A, b, 0.2))
        else:
            M = np.vstack([z[0], objective.fixed["M"]])
            assert 0.3 < np.linalg.norm(M, 2) < 1  # a contraction


def test_programs_cost_their_losses_and_keep_their_limits() -> None:
    x, y, share = RNG.normal(size=(5, 3)), np.array([1.0, -1, 1, 1, -1]), np.full(5, 0.2)
    a, G, w = np.ones(3), RNG.normal(size=(2, 3)), np.array([0.5, -1.0, 0.25])
    z = (np.array([0.1, 0.2, 0.3]), 0.75, np.array([1.0, 2.0]), 1.5, 0.5)
    args = (x, y, share, a, G, z)
    cost = np.mean(np.log1p(np.exp(-y * (x @ w)))) + 0.25 * w @ w + z[0] @ w
    np.testing.assert_allclose(programs._cost(jnp.asarray(w), args), cost)
    np.testing.assert_allclose(programs._plane(w, args), [w.sum() - 0.75])
    limits = programs._limits(jnp.asarray(w), args)
    np.testing.assert_allclose(limits, [*(G @ w - z[2]), w @ w - 2.25])


@extended
def test_shares_of_each_class_are_at_least_its_own() -> None:
    score = np.array([1.0, 2.0, 3.0, 50.0, 60.0, 70.0])
    used, classes = np.ones(6, bool), [np.arange(6) < 3, np.arange(6) >= 3]
    plain = sanitised.soft_lowest(score, used, 3.0, 8)
    assert float(plain[3:].sum()) < 0.1
    assert float(plain.sum()) == pytest.approx(3, rel=1e-6)
    kept = sanitised.soft_lowest(score, used, 3.0, 8, classes, [0.0, 1.0]).astype(float)
    assert kept[3:].sum() >= 1 - 1e-6
    assert np.all(np.diff(kept[3:]) < 0)


@pytest.mark.parametrize(
    ("inside", "outside", "w", "expected"),
    [
        ([0.5, 9.0, 3.0], [9.0, 1.0, 9.0], [2.0, -4.0, 1.0], 0.125),  # of the largest weight, 4
        ([3.0, 9.0, -2.0], [9.0, 1.0, 9.0], [2.0, -4.0, 1.0], -0.5),
        ([3.0, 9.0, 3.0], [9.0, 0.25, 9.0], [2.0, -4.0, 1.0], None),  # of the slope, where fixed
        ([0.5, 9.0, 3.0], [9.0, 9.0, 9.0], [0.0, 0.0, 0.0], 0.5),  # there is no weight
    ],
)
def test_the_slack_of_a_face_is_relative_to_the_weights_and_to_the_steepest_slope(
    inside, outside, w, expected, monkeypatch
) -> None:
    asked: list[Any] = []
    weights, free = np.array(w), np.array([True, False, True])
    x, moved = RNG.normal(size=(4, 3)), RNG.normal(size=(2, 3))
    fixed = {
        "x": x, "x_0": np.array([0.5, 0.0, -1.0]), "y": RNG.normal(size=6),
        "share": RNG.uniform(size=6), "x_val": RNG.normal(size=(5, 3)), "y_val": np.arange(5.0),
    }  # fmt: skip

    def face_of(start: Any, *strengths: Any) -> Any:
        def slack(w: Any, slope: Any) -> Any:
            assert (said(w), slope) == (said(weights), "slope")
            return np.array(inside), np.array(outside)

        asked.append((said(start), strengths))
        return SimpleNamespace(free=free), slack

    def minimiser(*given: Any) -> Any:
        asked.append([said(part) for part in given[:3]] + list(given[4:]))
        return weights, "slope", 7.0

    put(monkeypatch, penalised, penalised=SimpleNamespace(minimiser=minimiser))
    objective: Any = SimpleNamespace(fixed=fixed)
    start: Any = np.array([1.0, 2.0, 3.0])
    at = penalised._exact(face_of, True)(objective, (start,))
    found = at((moved, 0.5, 0.25))
    rows = np.concatenate([x, moved]) - fixed["x_0"]
    assert asked == [
        (said(start), (0.5, 0.25)),
        [said(rows), said(fixed["y"]), said(fixed["share"]), pytest.approx(start), True],
    ]
    steep = np.sqrt((fixed["share"] @ rows**2) * (fixed["share"] @ fixed["y"] ** 2))
    assert found.slack == pytest.approx(0.25 / steep[1] if expected is None else expected)
    off = (fixed["x_val"] - fixed["x_0"]) @ weights - fixed["y_val"]
    assert (found.value, found.condition) == (pytest.approx(0.5 * np.mean(off**2)), 7.0)
