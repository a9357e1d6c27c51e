"""A report whose figures all differ: the page, its pictures and the bound say each in its place."""

import dataclasses
import html
import importlib
import json
import re
import xml.etree.ElementTree as ET
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bilevel import learners, losses
from defenses.data_audit.certified import Mixed, Relabelled
from defenses.data_audit.certified._displacement import _mean
from defenses.data_audit.charts import WIDTH, damage_chart, defense_chart
from defenses.data_audit.ingest import ingest
from defenses.data_audit.judge import Rows
from defenses.data_audit.match import match
from defenses.data_audit.page import page
from defenses.data_audit.ranking import disputed
from defenses.data_audit.report import (
    Attempt,
    Budget,
    Certified,
    Defended,
    Group,
    Indicator,
    Influential,
    Report,
    Row,
    _plain,
    row_of,
)
from defenses.data_audit.said import best_said, bound_said, rate, share
from defenses.data_audit.shown import _labels

BUDGETS = (
    Budget(0.02, 3, 0.21, "flips", 0.11, 0.012, None, (Attempt("flips", 0.2, 0.21),)),
    Budget(0.05, 8, 0.34, "climbed", 0.13, 0.014, 0.62, ()),
    Budget(0.10, 16, 0.47, "flips", 0.17, 0.016, None, ()),
)
DEFENSES = (
    Defended("none", 0.08, 0.34, 0.35, 0.34, False, 0, 0, 8),
    Defended("trim", 0.09, 0.15, 0.25, 0.26, True, 4, 5, 8),
    Defended("filter", 0.10, 0.16, 0.28, 0.22, False, 6, 7, 8),
)
ROWS = (Row(41, {"a": 1.25, "b": None}, 0.5, -0.75, "odd"), Row(7, {"a": 2.5, "b": "x"}, 0.25))
REPORT = Report(
    table={"rows": 1_200, "columns": ["a", "b", "c"], "target": "t", "classes": ["p", "q"],
           "task": "classes", "training_rows": 160, "tried_rows": 160, "test_rows": 53,
           "used": 213, "features": 2},
    learner={"judge": "Judge", "remark": "Remark.", "attacked": "logistic", "adaptive_steps": 55},
    clean=0.081, uncertain=0.024, baseline=0.45, budgets=BUDGETS, middle=1, defenses=DEFENSES,
    groups=(Group("north", 1_030, 0.071, 0.31, 0.014), Group("south", 23, 0.092, 0.38, 0.1)),
    worst=(Row(5, {"a": 3.5, "b": "y"}, 0.125, why="moved"),),
    influential=Influential(ROWS, 1.5e-9, 0.9876, None),
    suspicious=(Row(9, {"a": 4.5, "b": "z"}, 0.875, why="copy"),),
    indicators=(Indicator("sign", 0.5, "50 %", "Read so."), Indicator("other", 2.0, "2", "Or so.")),
    certificates=(
        Certified("influence", True, "text"), Certified("ascent", False, "no"),
    ),
    notes=("One note.", "Another."), foot={"seed": 3, "jax": "v"}, seconds=12.4,
    rows=pd.DataFrame({"part": "", "influence": 0.0, "doubt": 0.0,
                       "looks_wrong": [True, False, False, True], "copies": [1, 2, 0, 0]}),
)  # fmt: skip


def sections(report: Report, **more: Any) -> dict[str, tuple[str, list[list[str]]]]:
    """By title: the text, and the cells of the table, the head first."""
    found = {}
    for part in page(report, **more).split("<h2>")[1:]:
        title, body = part.split("</h2>", 1)
        lines = [
            re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", r) for r in re.findall("<tr>.*?</tr>", body)
        ]
        text = html.unescape(re.sub("<[^>]*>", " ", body.split("<table>")[0]))
        found[re.sub("<[^>]*>", "", title)] = " ".join(text.split()), lines
    return found


def test_each_figure_stands_under_its_name() -> None:
    found = sections(REPORT)
    assert [lines for _, lines in found.values()] == [
        [],
        [["share", "rows", "found", "certified", "random", "best attack"],
         ["2 %", "3", "21.0 %", "not certified", "11.0 % ± 1.2", "flips"],
         ["5 %", "8", "34.0 %", "62.0 %", "13.0 % ± 1.4", "climbed"],
         ["10 %", "16", "47.0 %", "not certified", "17.0 % ± 1.6", "flips"]],
        [["defense", "no poison", "attacked", "attacker knows", "clean rows dropped", "caught"],
         ["none", "8.0 %", "34.0 %", "35.0 %", "0", "0 of 8"],
         ["trim", "9.0 %", "15.0 %", "25.0 %", "4", "5 of 8"],
         ["filter", "10.0 %", "16.0 %", "28.0 % *", "6", "7 of 8"]],
        [["group", "rows", "clean", "poisoned"], ["north", "1,030", "7.1 %", "31.0 % ± 1.4"],
         ["south", "23", "9.2 %", "38.0 % ± 10.0"]],
        [["row", "moved", "why", "a", "b"], ["5", "0.125", "moved", "3.5", "y"]],
        [["row", "change of loss", "left out exactly", "why", "a", "b"],
         ["41", "0.5", "-0.75", "odd", "1.25", "missing"], ["7", "0.25", "-", "", "2.5", "x"]],
        [["row", "suspicion", "why", "a", "b"], ["9", "0.875", "copy", "4.5", "z"]],
        [["", "", "read as"], ["sign", "50 %", "Read so."], ["other", "2", "Or so."]],
        [],
    ]  # fmt: skip
    titles = iter(found)
    first = next(titles)
    assert first == "If 8 of 160 training rows (5 %) are poison, the error rises from 8.1 % to"
    assert found[first][0] == (
        "34.0 % by the best attack found 62.0 % at most, whatever the attack: certified 13.0 % by "
        "as many random mistakes 15.0 %, 25.0 % behind trim, the second if the attacker knows it"
    )
    assert list(titles) == [
        "Damage for each number of rows", "Defenses, at 5 % poison", "By group",
        "What the worst rows look like", "Rows that matter most", "Rows that look wrong",
        "Signs that need no attack", "What was done to the table",
    ]  # fmt: skip
    matter = found["Rows that matter most"][0]
    assert "right to 1.5e-09" in matter
    assert "correlation of 0.9876" in matter
    assert "3 rows are contradicted" in found["Rows that look wrong"][0]
    last = found["What was done to the table"][0]
    assert last.startswith("One note. Another. Gradient of influence: certified. text")
    assert last.endswith("Gradient of ascent: NOT certified. no seed 3, jax v. Took 12 s.")
    head = " ".join(
        re.sub("<[^>]*>", " ", page(REPORT).split("<h2>")[0].split("<body>")[1]).split()
    )
    assert head == (
        "Data audit of t 1,200 rows, 3 columns, 2 classes. Trained on 160 rows, judged on 53 that "
        "no attack saw, by Judge. Errors are shares of wrong labels: 8.1 % ± 2.4 as the table is "
        "(by the number of rows judged on), 45.0 % for a model that always says the same. "
        "Rows have numbers from 0 on, that of the first below the names. Remark."
    )


def test_what_there_is_not_is_not_on_the_page_or_said_so() -> None:
    """And of many columns the first and the last are shown."""
    wide = {f"c{i}": i for i in range(16)}
    bare = dataclasses.replace(
        REPORT, groups=(), worst=(), notes=(), suspicious=(Row(9, wide, 1.0),), middle=0,
        influential=dataclasses.replace(REPORT.influential, refused="It could not."),
        defenses=(dataclasses.replace(DEFENSES[0], choosing=0.22), *DEFENSES[1:]),
    )  # fmt: skip
    found = sections(bare)
    assert not {"By group", "What the worst rows look like", "What was done to the table"} & set(
        found
    )
    assert found["Rows that matter most"] == ("It could not.", [])
    assert found["Rows that look wrong"][1][0] == ["row", "suspicion", *list(wide)[:13], "c15"]
    assert "2 more columns are not shown" in page(bare)
    first = next(iter(found.values()))[0]
    assert "not certified no bound" in first
    assert "no defense helps against an attacker who knows it" in first
    hidden = sections(REPORT, rows=False)
    assert hidden["Rows that look wrong"][1] == [["row", "suspicion", "why"], ["9", "0.875", ""]]


def scale(picture: ET.Element, end: str, axis: str) -> Any:
    """Place -> error, by the lines of the grid and their labels."""
    lines = [float(e.attrib[axis + "1"]) for e in picture.iter() if e.get("class") == "grid"]
    marks = [e.text for e in picture.iter() if str(e.text).endswith(" %")]
    labels = [float(str(mark)[:-2]) / 100 for mark in marks[: len(lines)]]
    assert end in str(picture.attrib["aria-label"])
    slope, start = np.polyfit(lines, labels, 1)
    np.testing.assert_allclose(np.polyval([slope, start], lines), labels, atol=2e-3)
    return lambda place: slope * float(place) + start


def test_what_is_drawn_is_what_the_grid_says() -> None:
    certified = [
        dataclasses.replace(b, certified=c) for b, c in zip(BUDGETS, (0.3, 0.5, 2.0), strict=True)
    ]
    picture = ET.fromstring(damage_chart(certified, 0.08))
    value = scale(picture, "share", "y")
    for style in ("found", "random"):
        dots = [e for e in picture.iter() if e.tag.endswith("circle") and e.get("class") == style]
        errors = [value(dot.attrib["cy"]) for dot in dots]
        np.testing.assert_allclose(errors, [0.08, *(getattr(b, style) for b in BUDGETS)], atol=3e-3)
        places = [float(dot.attrib["cx"]) for dot in dots]
        np.testing.assert_allclose(
            np.diff(places) / (places[-1] - places[0]), [0.2, 0.3, 0.5], atol=1e-3
        )
    [band] = [e.attrib["points"].split() for e in picture.iter() if e.get("class") == "band"]
    edge = [value(point.split(",")[1]) for point in band]
    np.testing.assert_allclose(edge, [0.08, 0.3, 0.5, 1, 0.47, 0.34, 0.21, 0.08], atol=4e-3)
    [level] = [e.attrib["points"] for e in picture.iter() if e.get("class") == "clean"]
    np.testing.assert_allclose([value(p.split(",")[1]) for p in level.split()], 0.08, atol=3e-3)

    picture = ET.fromstring(defense_chart(DEFENSES))
    value, bars = scale(picture, "defense", "x"), {}
    for bar in picture.iter():
        if bar.tag.endswith("rect"):
            error = value(float(bar.attrib["x"]) + float(bar.attrib["width"]))
            bars.setdefault(bar.attrib["class"], []).append(error)
            assert float(bar.attrib["x"]) + float(bar.attrib["width"]) < WIDTH
    assert list(bars) == ["bar-clean", "bar-random", "bar-found"]
    expected = [(d.clean, d.found, d.adaptive) for d in DEFENSES]
    np.testing.assert_allclose(np.transpose(list(bars.values())), expected, atol=3e-3)


def test_cells_of_a_row_are_plain_and_short() -> None:
    cells = {"i": np.int64(3), "f": 0.1234567890123, "b": np.True_, "t": "a" * 61, "s": "b" * 60,
             "n": None, "na": pd.NA, "d": pd.Timestamp("2020-01-02"), "nan": np.nan,
             "day": pd.NaT}  # fmt: skip
    frame = pd.DataFrame([{name: "other" for name in cells}, cells], dtype=object)
    row = row_of(frame, 1, 17, 0.5, why="so")
    assert (row.number, row.value, row.why, row.exact) == (17, 0.5, "so", None)
    assert row.cells == {"i": 3, "f": 0.123457, "b": True, "t": "a" * 59 + "…",
                         "s": "b" * 60, "n": None, "na": None, "d": "2020-01-02 00:00:00",
                         "nan": row.cells["nan"], "day": None}  # fmt: skip
    kinds = [type(row.cells[name]) for name in ("i", "f", "b", "d")]
    assert kinds == [int, float, bool, str]


@pytest.mark.stand_ins
@pytest.mark.parametrize("reach", ["observed", "labels"])
@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_the_bound_is_asked_for_this_table_and_reach(task, reach, monkeypatch) -> None:
    module: Any = importlib.import_module("defenses.data_audit.bound")
    rng = np.random.default_rng(0)
    rows = [Rows(rng.normal(size=(n, 2)), rng.normal(size=n), rng.uniform(1, 2, n), np.arange(n))
            for n in (9, 7, 5)]  # fmt: skip
    parts, asked = SimpleNamespace(train=rows[0], choose=rows[1], test=rows[2]), []
    domain = SimpleNamespace(lower=[0, 0.5], upper=[1, 2], groups=((0, 1),), optional=(True,))
    shape = (9, 2)
    table = SimpleNamespace(task=task, encoding=SimpleNamespace(domain=domain))
    judge = SimpleNamespace(table=table, match=match("auto", task, 2 * (task == "classes"), shape))
    bound = SimpleNamespace(clean_loss=0.25, loss=0.5, error=0.125, clean_error=0.0625)

    def certified(*given: Any) -> Any:
        asked.append(given)
        return bound

    monkeypatch.setattr(module, "certify_damage", certified)
    found = module.certified_of(judge, parts, 4, reach)
    [(learner, train, test, count, within)] = asked
    assert count == 4
    for ours, theirs in ((train, parts.train), (test, parts.test)):
        for name in ("x", "y", "weight"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert float(learner.l2) == pytest.approx(1 / parts.train.weight.sum())
    targets = (-1.0, 1.0) if task == "classes" else (0.0, 1.0)
    assert isinstance(within, Mixed if reach == "observed" else Relabelled)
    inside: Any = within.inserted if isinstance(within, Mixed) else within
    assert inside.targets == targets
    if isinstance(within, Mixed):
        assert (inside.groups, inside.optional) == (domain.groups, domain.optional)
        np.testing.assert_array_equal([inside.lower, inside.upper], [domain.lower, domain.upper])
    if task == "classes":
        assert found == 0.1875
        bound.error = 0.9375
        assert module.certified_of(judge, parts, 4, reach) == 1
    else:
        y, weight = parts.test.y, parts.test.weight
        middle = np.average(y, weights=weight)
        assert found == pytest.approx(0.75 / np.average((y - middle) ** 2, weights=weight))
    monkeypatch.setattr(module, "certify_damage", lambda *given: None)
    assert module.certified_of(judge, parts, 4, reach) == (1 if task == "classes" else np.inf)
    judge.match = match("svm" if task == "classes" else "lasso", task, 2, shape)
    assert module.certified_of(judge, parts, 4, reach) is None


def test_copies_are_disputed_by_labels_of_classes_and_by_far_numbers() -> None:
    x = np.repeat(np.array([[0.21, 0.43], [0.87, 0.09]]), 3, axis=0)
    np.testing.assert_array_equal(
        disputed(x, np.array([1.0, 1, -1, 1, 1, 1]), True), [1, 1, 2, 0, 0, 0]
    )
    near = np.array([0.5, 0.5, 0.55, 0.1, 0.1, 0.9])
    np.testing.assert_array_equal(disputed(x, near, False), [0, 0, 0, 2, 2, 2])


@pytest.mark.parametrize("classes", [True, False])
def test_a_ranking_knows_whether_labels_are_classes(classes, monkeypatch) -> None:
    module: Any = importlib.import_module("defenses.data_audit.ranking")
    asked, rng = [], np.random.default_rng(0)
    monkeypatch.setattr(module, "disputed", lambda x, y, labels: asked.append(labels) or y * 0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "y": rng.normal(size=60)})
    frame["y"] = np.where(frame["y"] > 0, "p", "q") if classes else frame["y"]
    table = ingest(frame, "y")
    module.ranked(table, match("auto", table.task, len(table.classes), (60, 1)), 0)
    assert asked == [classes]


def test_numbers_of_numpy_are_numbers_in_json() -> None:
    found = _plain({"i": np.int64(3), "b": np.True_, "f": np.float32(0.5), "n": np.nan, "t": "x",
                    "l": (np.int32(1), None), 7: pd.Timestamp("2020-01-02")}, True)  # fmt: skip
    assert found == {"i": 3, "b": True, "f": 0.5, "n": None, "t": "x", "l": [1, None],
                     "7": "2020-01-02 00:00:00"}  # fmt: skip
    assert [type(found[name]) for name in "ibf"] == [int, bool, float]


@pytest.mark.parametrize(
    ("name", "task", "loss", "learner"),
    [
        ("logistic", "classes", losses.Logistic, learners.Logistic),
        ("svm", "classes", losses.Hinge, learners.SVM),
        ("ridge", "classes", losses.Logistic, learners.Ridge),
        ("ridge", "numbers", losses.Squares, learners.Ridge),
        ("lasso", "numbers", losses.Squares, learners.Lasso),
    ],
)
def test_a_learner_is_judged_by_its_loss(name, task, loss, learner) -> None:
    found = match(name, task, 2 * (task == "classes"), (50, 3))
    assert (type(found.loss), type(found.ours(50.0)), found.name) == (loss, learner, name)


@pytest.mark.parametrize("labels", [[True, False], [3, 5], ["p", "q"], [0.5, 1.5]])
def test_labels_come_back_as_they_were_given(labels) -> None:
    frame = pd.DataFrame({"a": np.arange(40.0) % 7, "y": [labels[i % 2] for i in range(40)]})
    table = ingest(frame, "y")
    back = _labels(table, table.encoding.y).tolist()
    assert back == frame["y"].iloc[table.number].tolist()
    assert {type(label) for label in back} == {type(labels[0])}


def test_the_mean_of_an_exponential_has_its_limit_at_zero() -> None:
    at = np.array([-1.0, 0.0, 1e-12, 1e-4, 2.0])
    expected = [1 - np.exp(-1), 1, 1, 1.0000500016667, (np.exp(2) - 1) / 2]
    np.testing.assert_allclose(_mean(at), expected, rtol=1e-10)


def test_the_defense_that_pays_is_in_the_json_or_none() -> None:
    assert json.loads(REPORT.to_json())["best_defense"] == "trim"
    weak = dataclasses.replace(DEFENSES[0], choosing=0.22)
    none = dataclasses.replace(REPORT, defenses=(weak, *DEFENSES[1:]))
    assert json.loads(none.to_json())["best_defense"] is None


def replaced(number: int = 1, **changes: Any) -> Any:
    changed = dataclasses.replace(DEFENSES[number], **changes)
    return dataclasses.replace(
        REPORT, defenses=(*DEFENSES[:number], changed, *DEFENSES[number + 1 :])
    )


def test_a_defense_that_helps_by_one_part_of_the_rows_alone_is_not_named() -> None:
    assert REPORT.best_defense is DEFENSES[1]  # an attack was sought through it, if not the best
    assert replaced(choosing=0.34).best_defense is None
    assert replaced(adaptive=0.35).best_defense is None
    assert best_said(replaced(choosing=0.34))[0] == "no defense helps"


def test_where_no_search_knew_the_defense_nothing_says_that_one_did() -> None:
    plain = replaced(adapted=False)
    figures, what = best_said(plain)
    assert (figures, what) == ("28.0 %", "behind filter; no attack that knows it was sought")
    text = sections(plain)["Defenses, at 5 % poison"][0]
    assert "55 steps" not in text
    assert "55 steps" in sections(REPORT)["Defenses, at 5 % poison"][0]


def test_figures_of_a_sample_stand_beside_figures_of_that_sample() -> None:
    few = dataclasses.replace(REPORT, table=REPORT.table | {"tried_rows": 1_040})
    assert best_said(few)[1].endswith("and 35.0 % without it, on a sample of 1,040 rows")
    assert "Defenses, at 5 % poison, on a sample of 1,040 rows" in sections(few)


def test_an_error_that_falls_does_not_rise() -> None:
    lucky = dataclasses.replace(REPORT, clean=0.4)
    assert "does not rise: it goes from 40.0 % to" in next(iter(sections(lucky)))


def test_a_bound_that_says_nothing_is_told_with_what_may_have_a_better_one() -> None:
    def said(certified: float, **table: Any) -> tuple[str, str]:
        report: Any = dataclasses.replace(
            REPORT, table=REPORT.table | table, learner=REPORT.learner | {"attacked": "ridge"}
        )
        return bound_said(report, dataclasses.replace(BUDGETS[1], certified=certified))

    assert said(0.99)[0] == "99.0 %"
    figure, why = said(1.0)
    assert figure == "no useful bound"
    assert why == "the bound is 100.0 %; a smaller --budget may have a better one"
    assert said(3.3, classes=[])[0] == "330.0 %"
    assert said(193.08, classes=[])[1].startswith("the bound is 19,308 %; ")
    assert said(np.inf, classes=[])[1].startswith("the bound is infinite; ")
    budget = dataclasses.replace(BUDGETS[1], certified=1.0)
    assert "--learner ridge" in bound_said(REPORT, budget)[1]
    assert (rate(0.1234), share(0.005), share(12.0)) == ("12.3 %", "0.5 %", "1,200 %")
