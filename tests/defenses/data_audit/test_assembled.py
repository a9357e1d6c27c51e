"""An audit hands each part what that part is for: stubs in place of the parts say what they got."""

import importlib
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from defenses.data_audit import audit
from defenses.data_audit.defending import offered
from defenses.data_audit.ingest import Table

pytestmark = pytest.mark.stand_ins

MODULE: Any = importlib.import_module("defenses.data_audit.audit")
COUNTS, SHARES, SEED = [4, 9, 18], (0.05, 0.1, 0.2), 3


def frame(classes: int = 2, n: int = 150) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    labels = np.array(list("abc"))[np.arange(n) % classes] if classes else 5 + 9 * rng.random(n)
    return pd.DataFrame({
        "a": rng.normal(size=n), "group": rng.choice(["north", "south"], n),
        "w": rng.uniform(1, 2, n), "y": labels,
    })  # fmt: skip


class Judge:
    takes_weights = False

    def __init__(self, table: Any, matched: Any):
        self.table, self.matched = table, matched

    def fit(self, rows: Any) -> str:
        self.trained = rows
        return "clean model"

    def misses(self, model: str, rows: Any) -> np.ndarray:
        assert model == "clean model"
        return (np.arange(rows.y.size) % 3 == 0) * 1.0


def audited(monkeypatch: Any, learner: Any = "auto", **more: Any) -> tuple[Any, dict[str, Any]]:
    """The report, and what each part was given."""
    given: dict[str, Any] = {"steps": []}

    def stub(name: str, answer: Any) -> None:
        def called(*args: Any) -> Any:
            given.setdefault(name, []).append(args)
            return answer(*args) if callable(answer) else answer

        monkeypatch.setattr(MODULE, name, called)

    def made(judge: Any, matched: Any) -> Judge:
        given["judge"] = Judge(judge, matched)
        return given["judge"]

    places = more.pop("places", 20)
    state = SimpleNamespace(
        budgets="budgets", poisons=[["first"], ["second"], ["third"]], added="added", ended="ended",
        certificate=more.pop("certificate", "certificate"),
    )  # fmt: skip
    stub("match", lambda learner, *rest: learner if not isinstance(learner, str) else (
        SimpleNamespace(name="logistic" if learner == "auto" else learner, judge=None,
                        takes_frames=False, remark="remark")
    ))  # fmt: skip
    stub("Judge", made)
    stub("ranked", "ranking")
    stub("other_labels", "other")
    stub("influence", "moved")
    stub("influential_rows", ("influential", "of rows"))
    stub("sample_of", lambda table, parts, seed, cells: SimpleNamespace(
        places=np.arange(places), cells=cells
    ))  # fmt: skip
    stub("Attacker", lambda table, matched, sample, *rest: f"attacker of {sample.cells}")
    stub("found", state)
    stub("defended", "defenses")
    stub("by_group", ("groups", ["said of groups"]))
    stub("worst_rows", "worst")
    stub("suspicious_rows", "suspicious")
    stub("indicators", "signs")
    stub("all_rows", "all rows")
    table = frame(more.pop("classes", 2))
    table.loc[5, "y"] = None  # a row that is not used
    settings: dict[str, Any] = {
        "budget": SHARES, "seed": SEED, "progress": lambda *step: given["steps"].append(step),
    }  # fmt: skip
    report = audit(table, "y", learner, **settings | more)
    return report, given


def test_each_part_of_an_audit_gets_what_it_is_for(monkeypatch) -> None:
    report, given = audited(monkeypatch, group="group", weight="w")
    [[table, parts, *_], [_, _, seed, few]] = given["sample_of"]
    judge, [[chosen, task, classes, shape, spread]] = given["judge"], given["match"]
    assert isinstance(table, Table)
    assert (chosen, task, classes, spread) == ("auto", "classes", 2, 1.0)
    assert shape == parts.train.x.shape
    assert len(parts.train.y) > len(parts.test.y) > len(parts.choose.y)  # none alike
    assert (seed, few) == (SEED, MODULE.ADAPTIVE_CELLS)
    assert given["sample_of"][0][2:] == (SEED, MODULE.CELLS)
    assert judge.table is table
    assert judge.trained is parts.train
    matched = judge.matched
    assert given["ranked"] == [(table, matched, SEED)]
    assert given["other_labels"] == [(matched, parts.train, 2)]
    assert given["influence"] == [(matched, parts.train, parts.choose, "other")]
    assert given["influential_rows"] == [(table, "moved")]
    attackers = [f"attacker of {cells}" for cells in (MODULE.CELLS, MODULE.ADAPTIVE_CELLS)]
    assert [args[3:] for args in given["Attacker"]] == [(max(COUNTS), SEED, "moved")] * 2
    assert [args[:2] for args in given["Attacker"]] == [(table, matched)] * 2
    [[*first, _]] = given["found"]
    assert first == [
        judge, parts, attackers[0], "moved", COUNTS, SHARES, 1, "observed", SEED
    ]  # fmt: skip
    [[*first, sample, poisons, ended, count, reach, _]] = given["defended"]
    assert first == [judge, parts, attackers[1]]
    assert (sample.cells, poisons, count, reach) == (MODULE.CELLS, ["second"], 9, "observed")
    assert ended == "ended"
    [[*first, names]] = given["by_group"]
    assert first == [judge, parts, "second"]
    assert list(names) == list(frame()["group"].iloc[table.number])
    assert given["worst_rows"] == [(table, "added")]
    assert given["suspicious_rows"] == [(table, "ranking")]
    assert given["indicators"] == [(judge, parts)]
    assert given["all_rows"] == [(table, parts, "moved", "ranking")]

    misses, weight = judge.misses("clean model", parts.test), parts.test.weight
    assert np.ptp(weight) > 0
    assert report.clean == pytest.approx(np.sum(weight * misses) / np.sum(weight))
    assert report.uncertain == MODULE.standard_error(misses, weight)
    assert (report.budgets, report.middle, report.defenses) == ("budgets", 1, "defenses")
    assert (report.groups, report.worst, report.influential) == ("groups", "worst", "influential")
    assert (report.suspicious, report.indicators) == ("suspicious", "signs")
    assert report.rows == "all rows"
    assert report.certificates == ("of rows", "certificate")
    assert report.notes[-1] == "said of groups"
    assert "takes no weights" in report.notes[-3]
    assert "sample of 20 of 89" in report.notes[-2]
    labels, times = np.unique(parts.train.y, return_counts=True)
    missed = parts.test.y != labels[np.argmax(times)]
    assert report.baseline == pytest.approx(np.sum(weight * missed) / np.sum(weight))
    about = {"rows": 150, "used": 149, "features": shape[1], "target": "y", "task": "classes",
             "classes": ["a", "b"], "training_rows": 89, "tried_rows": 20,
             "test_rows": 38}  # fmt: skip
    assert report.table == about | {"columns": ["a", "group"]}
    assert report.learner == {"judge": "NoneType", "attacked": "logistic", "remark": "remark",
                              "trains_on": "encoded features", "reach": "observed",
                              "adaptive_steps": MODULE.ADAPTIVE_STEPS}  # fmt: skip
    packages = ("numpy", "pandas", "scikit-learn", "jax")
    assert {name: report.foot[name] for name in packages} == {n: version(n) for n in packages}
    assert (report.foot["seed"], report.foot["dtype"]) == (SEED, "float64")
    assert 0 < report.seconds < 60
    total = 6 + len(COUNTS) + len(offered(2, 20))
    assert [step[:2] for step in given["steps"]] == [(1, total), (2, total), (3, total), (4, total)]
    assert given["steps"][2][2] == "influence of rows"


def test_numbers_are_matched_by_their_range_and_of_two_budgets_the_lower_is_the_middle(
    monkeypatch,
) -> None:
    """Weights that are taken are not spoken of, nor is a sample of all rows."""
    monkeypatch.setattr(Judge, "takes_weights", True)
    model = SimpleNamespace(name="ridge", judge=3, takes_frames=True, remark="")
    report, given = audited(
        monkeypatch, model, classes=0, weight="w", places=89, budget=(0.01, 0.2), progress=None
    )
    [(_, task, classes, _, spread)] = given["match"]
    assert (task, classes) == ("numbers", 0)
    target = frame(0)["y"].drop(index=5)
    assert spread == pytest.approx(target.max() - target.min(), rel=0.3)
    assert report.middle == given["found"][0][6] == 0
    assert given["found"][0][4] == [1, 18]
    assert report.baseline == 1
    assert report.notes == tuple(given["sample_of"][0][0].notes)
    assert (report.learner["judge"], report.learner["trains_on"]) == ("int", "columns")
    assert given["steps"] == []


def test_an_audit_without_a_group_or_a_certificate_says_nothing_of_them(monkeypatch) -> None:
    report, given = audited(monkeypatch, reach="labels", certificate=None)
    assert "by_group" not in given
    assert report.groups == ()
    assert report.certificates == ("of rows",)
    assert report.learner["reach"] == given["found"][0][7] == given["defended"][0][7] == "labels"
    assert not any("takes no weights" in note for note in report.notes)  # they are all the same


def test_the_influence_beside_an_svm_is_that_of_logistic_regression(monkeypatch) -> None:
    """Of three classes, too: how many there are is passed on."""
    _, given = audited(monkeypatch, "svm", classes=3)
    first, second = given["match"]
    assert first[0] == "svm"
    assert second == ("logistic", *first[1:4])
    assert first[2] == 3
    assert given["other_labels"][0][0].name == given["influence"][0][0].name == "logistic"
    assert given["ranked"][0][1].name == given["judge"].matched.name == "svm"
    assert [attacker[1].name for attacker in given["Attacker"]] == ["svm", "svm"]
