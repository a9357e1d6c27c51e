"""Tables that are hard, twins of scikit-learn's on them, and what runs draw of what they train."""

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from saying import put, said, tells
from sklearn.exceptions import ConvergenceWarning

from benchmarks.data.raw import Raw
from benchmarks.experiments.audit import row_ranking
from benchmarks.experiments.backdoors import hidden_trigger, optimised_trigger, trojan_mnist
from benchmarks.experiments.fairness import fairness_synthetic
from benchmarks.experiments.hypergradients import raw_tables
from benchmarks.experiments.targeted import polytope
from benchmarks.fuzz import learners, tables, twinned
from benchmarks.fuzz.exact.arithmetic import EXTENDED, Exact
from bilevel import SolveError
from bilevel.results import INNER_FAILED, RUNNING

pytestmark = pytest.mark.stand_ins
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 3)), np.array([1.0, -1, 1, 1, -1, -1])


def test_hard_tables_are_plain_ones_that_were_changed_in_their_way() -> None:
    def drawn(name: str) -> Any:
        return tables.FAMILIES[name](np.random.default_rng(5))

    plain = drawn("plain")
    copies = drawn("duplicated")
    rows = tables.ROWS
    assert len(np.unique(copies.x[:rows], axis=0)) == rows - 6
    assert set(copies.y[:rows]) == {-1.0, 1.0}
    np.testing.assert_array_equal(copies.x[rows:], plain.x[rows:])
    near = drawn("near-duplicated").x
    assert 0 < np.max(np.abs(near[0] - near[1])) < 1e-5 < np.max(np.abs(near[1] - near[2]))
    assert set(drawn("one-hot").x.ravel()) == {0.0, 1.0}
    np.testing.assert_array_equal(drawn("one-hot").x[:, 1], plain.x[:, 0] > 0)
    np.testing.assert_array_equal(drawn("one-hot").x_val[:, 3], plain.x_val[:, 1] > 0)
    np.testing.assert_array_equal(drawn("tied").x, np.round(2 * plain.x))
    shift = drawn("offset").x - plain.x
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), rtol=1e-6)
    np.testing.assert_allclose(drawn("offset").x_val - plain.x_val, shift[:10], rtol=1e-6)
    assert 10 <= shift.min() <= shift.max() <= 1e6
    scale = drawn("mixed-scales").x / plain.x
    np.testing.assert_allclose(scale, np.broadcast_to(scale[0], scale.shape))
    assert scale[0].max() / scale[0].min() > 10
    assert drawn("weak").strength < 1e-2 < 1e2 < drawn("strong").strength
    for name, low, high in (("small", 1e-4, 0.1), ("saturated", 10**0.5, 10**1.2)):
        table = drawn(name)
        factor = table.x / plain.x
        assert low <= factor.min() <= factor.max() <= high
        np.testing.assert_allclose(table.x_val, factor[0, 0] * plain.x_val)
    deficient = drawn("rank-deficient")
    both = np.concatenate([deficient.x, deficient.x_val])
    assert np.linalg.matrix_rank(both) == 2
    assert drawn("wide").x.shape == (rows + tables.POISON, tables.WIDE)


def test_a_twin_that_warns_has_not_solved_its_problem() -> None:
    def twin(warning: Any = None, error: Any = None) -> Any:
        def theirs(x: Any, y: Any) -> Any:
            if error is not None:
                raise error("why")
            if warning is not None:
                import warnings

                warnings.warn("said", warning, stacklevel=1)
            return ("model", said(x, y))

        return SimpleNamespace(theirs=theirs)

    model = ("model", said(X, Y))
    assert twinned.trained(twin(), X, Y) == (model, True)
    assert twinned.trained(twin(UserWarning), X, Y) == (model, True)
    assert twinned.trained(twin(ConvergenceWarning), X, Y) == (model, False)
    for error in (ValueError, np.linalg.LinAlgError):
        assert twinned.trained(twin(error=error), X, Y) == (None, False)


def least(name: str, ours: Any, y: np.ndarray) -> None:
    """At the minimum the objective of a twin rises in every direction, to second order."""
    twin = twinned.TWINS[name]
    model = twin.theirs(X, y)
    assert model is not None
    f, square = twinned.theirs_at(name, model, X)
    best = float(twin.objective(f, square, y, ours))
    for number in range(8):
        rng, sign = np.random.default_rng(number // 2), (-1) ** number
        other = SimpleNamespace(**vars(model))
        for part in ("coef_", "intercept_"):
            value = np.asarray(getattr(model, part))
            setattr(other, part, value + sign * 1e-3 * rng.normal(size=value.shape))
        if name == "softmax":
            other.intercept_ = other.intercept_ - other.intercept_.mean()
        f, square = twinned.theirs_at(name, other, X)
        assert float(twin.objective(f, square, y, ours)) > best


@pytest.mark.skipif(not EXTENDED, reason="long double is no wider than double here")
@pytest.mark.parametrize("name", ["ridge", "huber", "lasso", "logistic", "softmax"])
def test_what_twins_minimise_is_least_at_scikit_learn_s_model(name) -> None:
    """By the strength that ours has."""
    twin = twinned.TWINS[name]
    y = twin.targets(Y, np.random.default_rng(2))
    ours = twin.ours(twin.theirs(X, y), X)
    least(name, ours, y)
    if name == "softmax":
        assert set(y) <= {0, 1, 2}


def test_the_loss_of_huber_is_linear_beyond_its_delta() -> None:
    off, ours = np.array([0.25, -0.5, 3.0, -2.0]), SimpleNamespace(delta=0.5, l2=0.125)
    losses = [0.25**2 / 2, 0.5**2 / 2, 0.5 * (3 - 0.25), 0.5 * (2 - 0.25)]
    found = twinned._huber_loss(Y[:4] + off, 6.0, Y[:4], ours)
    np.testing.assert_allclose(float(found), np.mean(losses) + 0.125 * 6 / 2)


def test_kernels_of_twins_are_of_rows_as_they_are() -> None:
    """However far from the origin; the squared norm is that of the function."""
    gamma = 1 / (3 * X.var())
    rows, coef = X[:4], np.array([0.5, -1.0, 2.0, 0.25])

    def gram(a: Any, b: Any) -> np.ndarray:
        return np.exp(-gamma * ((a[:, None] - b[None]) ** 2).sum(-1))

    expected = gram(X, rows) @ coef + 0.75, coef @ gram(rows, rows) @ coef
    theirs = SimpleNamespace(dual_coef_=coef[None], support_vectors_=rows, intercept_=[0.75])
    ours = SimpleNamespace(
        terms=((rows[:1], coef[:1]), (rows[1:], coef[1:])), bias=0.75
    )  # fmt: skip
    for found in (twinned.theirs_at("svm-rbf", theirs, X), twinned.ours_at("svm-rbf", ours, X)):
        np.testing.assert_allclose(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1])
    f, square = twinned.ours_at("svm-linear", ours, X)
    w = coef @ rows
    np.testing.assert_allclose(np.asarray(f, float), X @ w + 0.75)
    np.testing.assert_allclose(float(square), w @ w)
    f, norm = twinned.ours_at("lasso", SimpleNamespace(w=w, bias=0.5), X)
    np.testing.assert_allclose(np.asarray(f, float), X @ w + 0.5)
    np.testing.assert_allclose(float(norm), np.abs(w).sum())
    hinge = np.sum(np.maximum(0, 1 - Y * (X @ w)))
    np.testing.assert_allclose(twinned._hinge(X @ w, 3.0, Y, None), 1.5 + hinge)


def test_machines_are_twins_at_the_strength_of_one(monkeypatch) -> None:
    import sklearn.svm

    class Machine(tuple):
        def fit(self, x: Any, y: Any) -> Any:
            return (*self, said(x, y))

    monkeypatch.setattr(sklearn.svm, "SVC", lambda **given: Machine(sorted(given.items())))
    for name, more in (("svm-linear", {}), ("svm-rbf", {"gamma": "scale"})):
        given = {"C": 1.0, "tol": 1e-6, "max_iter": 300_000, "kernel": name[4:], **more}
        assert twinned.TWINS[name].theirs(X, Y) == (*sorted(given.items()), said(X, Y))
    put(monkeypatch, twinned, SVM=tells("svm"), kernels=SimpleNamespace(RBF=tells("rbf")),
        svm=tells("solution"), rbf=tells("exactly"))  # fmt: skip
    gamma = 1 / (3 * X.var())
    assert twinned.TWINS["svm-rbf"].ours(None, X) == ("svm", 1.0, ("rbf", gamma))
    assert twinned.TWINS["svm-rbf"].solution(None, X) == ("solution", ("exactly", gamma))
    known = SimpleNamespace(scale_=2.0)
    huber: Any = twinned.TWINS["huber"].ours(known, X)
    assert (float(huber.l2), float(huber.delta)) == pytest.approx((0.2 / 6, 2.7))
    huber = twinned.TWINS["huber"].ours(None, X)
    assert (float(huber.l2), float(huber.delta)) == pytest.approx((0.1 / 6, 1.35))


FACE: Any = SimpleNamespace(
    model=SimpleNamespace(w=np.array([0.5, -1.0, 0.0]), bias=0.25, W="W"),
    warm=SimpleNamespace(lower="lower", upper="upper"),
)  # fmt: skip
TABLE: Any = SimpleNamespace(x=X, y=Y, weight=np.ones(6))


def test_solutions_are_on_the_faces_of_our_models(monkeypatch) -> None:
    names = ("svm", "ridge", "huber", "sparse", "logistic", "softmax")
    put(monkeypatch, learners, exact=SimpleNamespace(**{name: tells(name) for name in names}))
    rows, s = (X, Y, TABLE.weight), 0.5
    off = X @ FACE.model.w + 0.25 - Y
    sign = [1.0, -1.0, 0.0]
    for found, expected in (
        (learners.svm("kernel")(FACE), ("svm", "kernel", *rows, s, "lower", "upper")),
        (learners.ridge(FACE), ("ridge", *rows, s)),
        (learners.huber(1.5)(FACE), ("huber", *rows, s, 1.5, np.abs(off) < 1.5, np.sign(off))),
        (learners.lasso(FACE), ("sparse", *rows, s, 0.0, sign)),
        (learners._elastic(FACE), ("sparse", *rows, learners.L1, s, sign)),
        (learners.logistic(FACE), ("logistic", *rows, s, [0.5, -1.0, 0.0, 0.25])),
        (learners.softmax(FACE), ("softmax", *rows, s, ("W", 0.25))),
    ):  # fmt: skip
        assert said(found(TABLE, s)) == said(expected)
    assert 0 < np.sum(np.abs(off) < 1.5) < 6
    spread = (X - X.mean(0)) / X.std(0)
    np.testing.assert_allclose(learners.numbers(Y, X), Y + spread[:, 0] ** 2)
    flat = np.c_[np.ones(6), X]
    np.testing.assert_allclose(learners.numbers(Y, flat), Y)
    assert learners._classes(Y, X).tolist() == [0, 1, 2, 0, 1, 2]
    assert learners._hot(np.array([1, 5])).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert learners.labels(Y, X) is Y


def test_the_exact_value_is_of_rows_that_have_moved() -> None:
    """Of validation rows."""
    seen: list[Any] = []

    def exactly_on(table: Any, strength: float) -> Exact:
        seen.append((said(table.x, table.y, table.weight), strength))
        return Exact(lambda at: at[:, 0] + strength, 0.125, 7.0)

    objective: Any = SimpleNamespace(
        data=SimpleNamespace(x=X, y=Y, weight=np.ones(6)), x_val=jnp.asarray(X[:2] + 1),
        y_val=jnp.asarray([0.5, -0.5]),
    )  # fmt: skip
    solution: Any = {"face": exactly_on}.__getitem__
    face: Any = "face"
    at = learners.exactly(solution, objective, face)
    rows, weight = np.full((2, 3), 9.0), np.array([0.25, 0.75])
    z: Any = rows, weight, 0.5
    found = at(z)
    moved = np.concatenate([X[:4], rows])
    assert seen == [(said(moved, Y, [1, 1, 1, 1, 0.25, 0.75]), 0.5)]
    off = X[:2, 0] + 1.5 - [0.5, -0.5]
    assert found == (pytest.approx(np.mean(off**2) / 2), 0.125, 7.0)


@pytest.mark.parametrize("victim", ["svm-linear", "ridge", "lasso", "logistic"])
def test_attacks_on_raw_tables_start_from_rows_of_the_other_class(victim, monkeypatch) -> None:
    train: Any = Raw(np.arange(24.0).reshape(12, 2), np.where(np.arange(12) % 2, 1.0, -1.0))
    held: Any = Raw(-np.arange(8.0).reshape(4, 2), np.ones(4))
    end = {"value": 2.0, "status": RUNNING, "first": 1.0}
    given: list[Any] = []

    def recipe(name: str) -> Any:
        def made(*words: Any, **settings: Any) -> Any:
            given.append(tells(name)(*words, **settings))

            def climb() -> Any:
                if end["value"] is None:
                    raise SolveError("why")
                return SimpleNamespace(value=end["value"], status=end["status"])

            return SimpleNamespace(attack=lambda start: end["first"], start="start", climb=climb)

        return made

    put(
        monkeypatch, raw_tables, Data=tells("data"), Ridge=tells("ridge"), Lasso=tells("lasso"),
        Logistic=tells("logistic"),
        attacks=SimpleNamespace(Box=tells("box"), poison_svm=recipe("svm"),
                                poison_classifier=recipe("classifier")),
    )  # fmt: skip

    def found() -> bool:
        return raw_tables.attack(victim, train, held, np.random.default_rng(3), 7)

    assert found()
    chosen = np.random.default_rng(3).choice(np.arange(1, 12, 2), 5)
    rows = ("data", train.x, train.y), train.x[chosen], -np.ones(5), ("data", held.x, held.y)
    domain = ("domain", ("box", train.x.min(0), train.x.max(0)))
    learner = () if victim == "svm-linear" else ((victim, 0.01 if victim == "lasso" else 1 / 12),)
    name = "svm" if victim == "svm-linear" else "classifier"
    assert said(given) == said([(name, *rows, *learner, domain, ("steps", 7))])
    for change in ({"value": 0.5}, {"value": np.nan}, {"status": INNER_FAILED}, {"value": None}):
        kept = dict(end)
        end.update(change)
        assert not found()
        end.update(kept)


def test_tables_that_are_ranked_have_a_target_of_their_own(monkeypatch) -> None:
    rows = SimpleNamespace(x=np.arange(12.0).reshape(6, 2), y=np.arange(6.0) % 2)
    digits = np.arange(8.0).reshape(4, 2), np.array([3, 4, 5, 8])
    bundled = SimpleNamespace(
        load_digits=lambda return_X_y: digits, load_breast_cancer=lambda return_X_y: digits,
        load_diabetes=lambda return_X_y: digits,
    )  # fmt: skip
    put(monkeypatch, row_ranking, bundled=bundled, spambase=lambda: rows, MOST=4)
    found = row_ranking.table("spam")
    some = np.random.default_rng(0).permutation(6)[:4]
    np.testing.assert_array_equal(found[["0", "1"]], rows.x[some])
    np.testing.assert_array_equal(found["y"], rows.y[some])
    assert row_ranking.table("parity")["y"].tolist() == [1, 0, 1, 0]
    assert row_ranking.table("diabetes")["y"].tolist() == [False, False, True, True]
    assert row_ranking.table("breast-cancer")["y"].tolist() == [3, 4, 5, 8]


def drawing(monkeypatch: Any, module: Any, picture: Any, **draws: Any) -> tuple[Any, list[Any]]:
    """A report that keeps figures, which are what they were given."""
    shown: list[Any] = []
    if hasattr(module, "_notes"):
        put(monkeypatch, module, _notes=lambda *given: None)
    put(monkeypatch, picture, **draws or {"draw": lambda *given: given})
    return SimpleNamespace(
        out="folder", rows="rows", each=lambda *given: None,
        figure=lambda *given: shown.append(given),
    ), shown  # fmt: skip


def test_pictures_of_triggers_are_of_the_first_seed(monkeypatch) -> None:
    from benchmarks.pictures import hidden_trigger as hidden_picture
    from benchmarks.pictures import optimised_trigger as optimised_picture
    from benchmarks.pictures import trojan_mnist as trojan_picture

    report, shown = drawing(monkeypatch, trojan_mnist, trojan_picture)
    inverted = SimpleNamespace(x=list(range(30)))
    of = SimpleNamespace(images={"other": "others", "inverted": inverted},
                         test=SimpleNamespace(x=["first", "second"]))  # fmt: skip
    reach = SimpleNamespace(present=lambda z, x: [(z, *x)])
    trojan: Any = trojan_mnist.Options(inverted=10)
    put(
        monkeypatch, trojan_mnist, case=lambda *given: {(trojan, 0): of}[given],
        retrained=lambda options, case, data: SimpleNamespace(reach=reach, data=data),
        pattern=lambda options, case, attack, kind: (kind, attack.data),
    )  # fmt: skip
    trojan_mnist.run(trojan, report)
    stamped = {kind: ((kind, "others"), "first") for kind in trojan_mnist.SQUARES}
    assert shown == [("trojan-mnist", (stamped, [0, 10, 20]))]

    report, shown = drawing(monkeypatch, hidden_trigger, hidden_picture)
    hidden: Any = hidden_trigger.Options()
    of = SimpleNamespace(train="train", sources="sources")
    reach = SimpleNamespace(example=lambda train: ("example", train), present=lambda z, x: (z, x))
    put(
        monkeypatch, hidden_trigger, case=lambda *given: {(hidden, 0): of}[given],
        capability=lambda options, case: {"sources": reach}[case.sources],
        collide=lambda options, case, given: SimpleNamespace(z=("moved", given is reach)),
        images=lambda data: SimpleNamespace(names=("4s", "9s")),
    )  # fmt: skip
    hidden_trigger.run(hidden, report)
    ((name, (lines,)),) = shown
    assert (name, list(lines.items())) == ("hidden-trigger", [
        ("9s", ("example", "train")), ("moved 9s, labelled 9s", ("moved", True)),
        ("4s", "sources"), ("stamped 4s, read as 9s", (("moved", True), "sources")),
    ])  # fmt: skip

    report, shown = drawing(
        monkeypatch, optimised_trigger, optimised_picture, draw=lambda rows: ("drawn", rows),
        squares=lambda seen: seen,
    )  # fmt: skip
    optimised: Any = optimised_trigger.Options()
    of = SimpleNamespace(
        reach=SimpleNamespace(present=lambda z, x: (z, x)), test=SimpleNamespace(x=list(range(9)))
    )
    put(
        monkeypatch, optimised_trigger, case=lambda *given: {(optimised, 0): of}[given],
        patterns=lambda options, case: {kind: f"of {kind}" for kind in optimised_trigger.KINDS},
    )  # fmt: skip
    optimised_trigger.run(optimised, report)
    seen = {kind: (f"of {kind}", [0, 1, 2, 3, 4, 5]) for kind in optimised_trigger.KINDS}
    assert shown == [("optimised-trigger", ("drawn", "rows")), ("optimised-trigger-squares", seen)]


def test_pictures_of_poison_are_of_what_the_rows_are_of(monkeypatch) -> None:
    from benchmarks.pictures import fairness as fairness_picture
    from benchmarks.pictures import polytope as polytope_picture

    report, shown = drawing(monkeypatch, polytope, polytope_picture)
    options: Any = polytope.Options(depths=("end to end", "linear"))
    of = SimpleNamespace(bases="bases", targets="targets")
    put(
        monkeypatch, polytope, case=lambda given: {options: of}[given],
        poison=lambda given, rule, depth: SimpleNamespace(moved=(rule, depth)),
    )  # fmt: skip
    polytope.run(options, report)
    moved = ("bullseye", "end to end")
    assert shown == [("polytope", ("rows", "bases", moved, "targets"))]

    report, shown = drawing(monkeypatch, fairness_synthetic, fairness_picture,
                            draw_plane=lambda *given: given)  # fmt: skip
    fair: Any = fairness_synthetic.Options(distance=5.0, share=0.25)
    case: Any = SimpleNamespace(train="train")
    monkeypatch.setattr(type(fair), "case", lambda of, data, seed: {0: case}[seed])
    monkeypatch.setattr(type(fair), "setting", lambda of, case, share, seed: (share, seed))
    put(
        monkeypatch, fairness_synthetic, sweep=lambda *given: None, run_on=lambda *given: None,
        ATTACKERS={name: lambda setting, name=name: (name, setting)
                   for name in ("impact", "hide", "solans")},
    )  # fmt: skip
    fairness_synthetic.run(fair, report)
    poison = {name: (name, (0.25, 0)) for name in ("impact", "hide")}
    assert shown == [("fairness-plane", ("train", poison, 5.0))]
