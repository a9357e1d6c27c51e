"""Tables of fairness: who is attacked at which share, and by which learners poison is judged."""

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from audited import CASE, audited, same
from given import Recorder
from saying import put, said

import benchmarks.experiments.fairness._attackers as attackers
import benchmarks.experiments.fairness._shares as shares
import benchmarks.experiments.fairness._victims as victims
from benchmarks.experiments.fairness import _cases, fairness_synthetic
from benchmarks.twins import DEFAULT, Strengths

pytestmark = pytest.mark.stand_ins
HELD, TRAIN = CASE.validation, CASE.train


@pytest.fixture
def options(monkeypatch) -> fairness_synthetic.Options:
    """Cases, attackers and judges that say what they are of."""
    made = fairness_synthetic.Options(train=12, steps=9, share=0.25, shares=(0.25, 0.4))
    monkeypatch.setattr(
        type(made), "case", lambda of, data, seed: CASE._replace(protected=(data, seed))
    )
    monkeypatch.setattr(
        type(made), "setting",
        lambda of, case, share, seed: SimpleNamespace(
            of=(case.protected, share, seed),
            mistakes=lambda *p: said("mistakes", case.protected, share, seed, *p),
        ),
    )  # fmt: skip
    named = {
        name: lambda setting, name=name: (name, setting.of) for name in attackers.ATTACKERS
    }  # fmt: skip
    for module in (shares, fairness_synthetic):
        put(
            monkeypatch, module, ATTACKERS=named,
            judged=lambda of, case, poison, seed: {"figure": said(case.protected, poison, seed)},
        )  # fmt: skip
    return made


def row(case: Any, poison: Any, seed: int, **key: Any) -> dict[str, Any]:
    return key | {"seed": seed, "figure": said(case, poison, seed)}


def test_each_share_has_all_attackers_on_its_draw(options) -> None:
    found = shares.make_share(options, "adult", 2, 0.4)["rows"]
    case = ("adult", 2)
    assert found == [
        row(case, (name, (case, 0.4, 2)), 2, table="shares", attacker=name, share=0.4)
        for name in attackers.ATTACKERS
    ]
    clean = shares.make_share(options, "adult", 2, 0.0)["rows"]
    assert clean == [row(case, None, 2, table="shares", attacker="none", share=0.0)]


def test_attackers_are_met_at_their_own_loss_of_accuracy(options, monkeypatch) -> None:
    def within(setting: Any, drive: Any, most: float) -> Any:
        return setting.of, drive.__name__, round(most, 9)

    monkeypatch.setattr(shares, "within", within)
    of = (("adult", 2), 0.25, 2)
    rival = {name: said("mistakes", *of, (name, of)) for name in attackers.RIVALS}
    clean, generic = said("mistakes", *of), said("mistakes", *of, ("error-generic", of))
    half = clean + 0.45 * (generic - clean)
    poison = {f"impact-as-{name}": (of, "lower", round(most, 9)) for name, most in rival.items()}
    poison |= {f"{name}-at-half": (of, drive, round(half, 9))
               for name, drive in (("impact", "lower"), ("reverse", "reverse"))}  # fmt: skip
    assert shares.make_equal(options, "adult", 2)["rows"] == [
        row(("adult", 2), bad, 2, table="shares", attacker=name, share=0.25)
        for name, bad in poison.items()
    ]


def test_a_sweep_has_a_case_per_distance(options, monkeypatch) -> None:
    monkeypatch.setattr(
        fairness_synthetic, "synthetic",
        lambda distance: lambda sizes, seed: CASE._replace(protected=(distance, *sizes, seed)),
    )  # fmt: skip
    case = (5.0, 12, 320, 5000, 3)
    assert fairness_synthetic.make_distance(options, 5.0, 3)["rows"] == [
        row(case, None if name == "none" else (name, (case, 0.25, 3)), 3,
            table="distances", attacker=name, distance=5.0)
        for name in fairness_synthetic.SWEPT
    ]  # fmt: skip
    monkeypatch.undo()
    plain = fairness_synthetic.Options(train=4, validation=5, test=6, distance=7.0)
    found, expected = plain.case("any", 3), _cases.synthetic(7.0)(_cases.Sizes(4, 5, 6), 3)
    assert same(found[:4], expected[:4])


def test_settings_of_all_shares_have_the_slots_of_the_largest(monkeypatch) -> None:
    """And the learner's strength is that of all rows with poison."""
    twin = SimpleNamespace(ours=lambda strengths, rows: (strengths is DEFAULT, rows))
    monkeypatch.setitem(shares.TWINS, "logistic", twin)
    tables = {name: lambda name=name: lambda *given: (name, *given) for name in ("adult", "compas")}
    put(monkeypatch, shares, **tables)
    options = shares.Options(train=30, validation=8, test=9, shares=(0.1, 0.4), share=0.25, steps=5)
    made = options.setting(CASE, 0.25, 7)
    assert made[:2] == (TRAIN, CASE)
    assert made[2:] == ((True, 40), 20, 10, 7, 5)
    assert options.setting(CASE, 0.25, 7, CASE.surrogate).train is CASE.surrogate
    for name in tables:
        assert options.case(name, 6) == (name, (30, 8, 9), 6)


def test_judges_are_the_learner_that_the_attacker_knows(monkeypatch) -> None:
    """A network has initial weights of its draw."""
    put(
        monkeypatch,
        shares,
        cells=lambda model, test: (model, test is CASE.test),
        retrained=lambda model, *parts: (model, parts),
        NetworkClassifier=lambda strengths, seed: (strengths is DEFAULT, "network", seed),
    )
    svm = SimpleNamespace(theirs=lambda strengths: (strengths is DEFAULT, "svm"))
    monkeypatch.setitem(shares.TWINS, "svm", svm)
    poison = audited(3, 8)
    for learner, model in (("network", (True, "network", 5)), ("svm", (True, "svm"))):
        options = shares.Options(learner=learner)  # pyright: ignore
        for bad, parts in ((None, (TRAIN,)), (poison, (TRAIN, poison))):
            assert shares.judged(options, CASE, bad, 5) == ((model, parts), True)


def test_figures_are_of_each_group(monkeypatch) -> None:
    between = SimpleNamespace(**{
        name: said(name) for name in (
            "disparate_impact", "parity_difference", "equal_opportunity_difference",
            "equalised_odds_difference", "average_odds_difference",
        )
    })  # fmt: skip

    def report(y: Any, predicted: Any, group: Any) -> Any:
        assert same((y, predicted, group), (HELD.y, [1, -1, -1, 1, 1, -1, 1], HELD.group))
        return SimpleNamespace(
            accuracy=0.75, between=lambda *groups: {(0, 1): between}[groups],
            false_negative_rates=[0.1, 0.2], false_positive_rates=[0.3, 0.4],
        )  # fmt: skip

    monkeypatch.setattr(shares, "fairness", SimpleNamespace(report=report))
    assert shares.figures(np.array([2.0, -1, 0, 1, 3, -2, 1]), HELD) == {
        "test_err": 0.25, "impact": said("disparate_impact"), "parity": said("parity_difference"),
        "opportunity": said("equal_opportunity_difference"),
        "odds": said("equalised_odds_difference"), "average_odds": said("average_odds_difference"),
        "fnr_0": 0.1, "fnr_1": 0.2, "fpr_0": 0.3, "fpr_1": 0.4,
    }  # fmt: skip


class Fits(Recorder):
    """A classifier whose predictions are what it was given."""

    def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
        return SimpleNamespace(predict=lambda at: (self.C, x, y, sample_weight, at))


def test_learners_of_fairness_are_as_strong_as_the_others(monkeypatch) -> None:
    put(monkeypatch, victims, LogisticRegression=Fits, DEFAULT=Strengths(C=0.25))
    test = CASE.test
    plain: Any = victims.FAIR["unconstrained"](TRAIN, test, 1)
    assert same(plain, (0.25, TRAIN.x, TRAIN.y, None, test.x))
    x, y, group = some = TRAIN.take(np.arange(11))
    weighed: Any = victims.FAIR["reweighing"](some, test, 1)
    weight = [
        np.mean(group == g) * np.mean(y == label) / np.mean((group == g) & (y == label))
        for g, label in zip(group, y, strict=True)
    ]
    np.testing.assert_allclose(weighed[3], weight)
    assert len(np.unique(np.round(weight, 9))) == 4
    assert same((*weighed[:3], weighed[4]), (0.25, x, y, test.x))

    def fair(*given: Any) -> Any:
        assert given == (1, "equal", pytest.approx(1 / (12 * 0.25)))
        model = SimpleNamespace(predict=lambda x: x + 1)
        return SimpleNamespace(fit=lambda data: {said(TRAIN.x, TRAIN.y): SimpleNamespace(
            model=model)}[said(data.x, data.y)])  # fmt: skip

    put(monkeypatch, victims, FairLogistic=fair, Equal=lambda: "equal")
    assert same(victims.FAIR["fair-logistic"](TRAIN, test, 1), test.x + 1)


def test_reductions_see_groups_and_labels_of_zero_and_one(monkeypatch) -> None:
    made: list[Any] = []

    class Reduction:
        def __init__(self, *given: Any, **settings: Any):
            made.append((*given, settings))

        def fit(self, x: Any, y: Any, sensitive_features: Any) -> None:
            assert same((x, y, sensitive_features), (TRAIN.x, (TRAIN.y + 1) / 2, TRAIN.group))

        def predict(self, x: Any, **more: Any) -> Any:
            made.append(more)
            assert same(x, CASE.test.x)
            return np.arange(9) % 2

    module = SimpleNamespace(DemographicParity=lambda: "parity", ExponentiatedGradient=Reduction,
                             GridSearch=Reduction)  # fmt: skip
    monkeypatch.setitem(sys.modules, "fairlearn.reductions", module)
    monkeypatch.setitem(sys.modules, "fairlearn", SimpleNamespace(reductions=module))
    monkeypatch.setattr(victims, "_logistic", lambda: "logistic")
    for name, settings, more in (
        ("exponentiated-gradient", {}, {"random_state": 4}), ("grid-search", {"grid_size": 20}, {}),
    ):  # fmt: skip
        found = victims.FAIR[name](TRAIN, CASE.test, 4)
        assert found.tolist() == [-1, 1] * 4 + [-1]
        assert made[-2:] == [("logistic", "parity", settings), more]


def test_black_boxes_are_seeded_and_twins_are_as_strong(monkeypatch) -> None:
    forest, boosting = (victims.BLACK_BOXES[name](6) for name in ("forest", "boosting"))
    assert (forest.random_state, boosting.random_state) == (6, 6)
    told = {name: SimpleNamespace(theirs=lambda strengths, name=name: (name, strengths is DEFAULT))
            for name in ("logistic", "svm")}  # fmt: skip
    monkeypatch.setattr(victims, "CLASSIFIERS", told)
    assert [victims.BLACK_BOXES[name](6) for name in told] == [(name, True) for name in told]
