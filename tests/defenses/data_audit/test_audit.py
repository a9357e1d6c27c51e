"""One small audit, and what is made of it."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from defenses.data_audit import Report, TableError, audit, command
from defenses.data_audit.command import main
from defenses.data_audit.influence import influence, other_labels
from defenses.data_audit.ingest import ingest
from defenses.data_audit.judge import parts_of
from defenses.data_audit.match import match
from defenses.data_audit.page import page
from defenses.data_audit.shown import influential_rows

EVIL = "<script>alert(1)</script>&\"'"


def people(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age, pay = rng.integers(18, 80, n), rng.normal(size=n)
    kind = rng.choice(["a", "b", EVIL], n)
    right = pay + 0.02 * (age - 45) + (kind == "a") + 0.4 * rng.normal(size=n) > 0
    group = np.where(np.arange(n) == 0, "alone", rng.choice(["north", "south"], n))
    return pd.DataFrame({EVIL: kind, "age": age, "pay": pay, "where": group,
                         "y": np.where(right, "in", "out")})  # fmt: skip


def small(**more) -> Report:
    return audit(people(), "y", budget=(0.05, 0.1), group="where", reach="labels", **more)


@pytest.fixture(scope="module")
def report() -> Report:
    return small()


def test_the_same_seed_gives_the_same_report_bit_by_bit_and_another_does_not(report) -> None:
    again = small()
    assert again.to_json() == report.to_json()
    pd.testing.assert_frame_equal(again.rows, report.rows)
    other = small(seed=np.int64(1))
    assert other.foot["seed"] == 1
    assert other.to_json() != report.to_json()


def test_the_steps_of_an_audit_are_told_to_the_end() -> None:
    told: list[tuple[int, int, str]] = []
    small(progress=lambda *step: told.append(step))
    assert [step[0] for step in told] == list(range(1, len(told) + 1))
    assert {step[1] for step in told} == {len(told)}


def test_the_command_passes_on_all_of_its_options(report, monkeypatch, tmp_path) -> None:
    asked, saved = {}, []

    def audited(table, target, learner, budget, group, reach, *, progress, **others) -> Report:
        del progress
        asked.update(others, table=table, target=target, learner=learner, budget=budget,
                     group=group, reach=reach)  # fmt: skip
        return report

    def save(self, path, rows=True):
        assert self is report
        saved.append((path.name, rows))
        return path

    monkeypatch.setattr(command, "audit", audited)
    monkeypatch.setattr(command, "keep_programs", lambda: None)
    monkeypatch.setattr(Report, "save", save)
    files = ["--out", str(tmp_path / "a.html"), "--json", str(tmp_path / "b.json")]
    given = ["t.csv", "--target", "z", "--learner", "svm", "--budget", "0.2", "0.3", "--group", "g",
             "--weight", "w", "--reach", "labels", "--seed", "7", *files]  # fmt: skip
    assert main(given) == command.PASSED
    assert saved == [("a.html", True), ("b.json", True)]
    assert asked == {
        "table": Path("t.csv"), "target": "z", "learner": "svm", "budget": (0.2, 0.3),
        "group": "g", "weight": "w", "reach": "labels", "seed": 7,
    }  # fmt: skip
    assert main([*given, "--hide-rows", "--max-damage", "0"]) == command.FAILED
    assert saved[2:] == [("a.html", False), ("b.json", False)]
    assert main(["t.csv", "--target", "z", "--out", str(tmp_path / "a.html")]) == command.PASSED
    assert [name for name, _ in saved[4:]] == ["a.html"]


def test_chosen_labels_do_more_than_random_ones_and_a_report_passes_by_the_worst(report) -> None:
    worst = max(budget.found - report.clean for budget in report.budgets)
    assert report.budgets[-1].found > report.budgets[-1].random
    assert report.clean < report.baseline
    assert report.passed(worst + 1e-9)
    assert not report.passed(worst - 1e-9)
    with pytest.raises(TableError, match="max_damage"):
        report.passed(-1)


def test_the_best_defense_is_chosen_by_rows_that_it_is_not_judged_on(report) -> None:
    none, first, second, *rest = report.defenses
    lucky = dataclasses.replace(first, adaptive=0.0, choosing=none.choosing + 1)
    better = dataclasses.replace(second, choosing=none.choosing - 1, adaptive=none.adaptive - 1)
    chosen = dataclasses.replace(report, defenses=(none, lucky, better)).best_defense
    assert chosen is not None
    assert chosen.name == second.name
    alone = dataclasses.replace(report, defenses=(none, lucky, *(
        dataclasses.replace(one, choosing=none.choosing) for one in rest
    )))  # fmt: skip
    assert alone.best_defense is None


def test_what_is_found_stays_below_what_is_certified(report) -> None:
    assert report.budgets[0].certified == 1
    judge = LogisticRegression(C=0.1)
    stiff = audit(people(), "y", budget=(0.05,), learner=judge, reach="labels")
    budget = stiff.budgets[0]
    assert budget.certified is not None
    assert budget.found <= budget.certified < 1
    assert "at most, whatever the attack: certified" in page(stiff)


@pytest.mark.slow
def test_rows_that_are_added_stay_below_what_is_certified() -> None:
    ridge = audit(people(), "y", budget=(0.05,), learner="ridge", reach="observed").budgets[0]
    assert ridge.certified is not None
    assert ridge.found <= ridge.certified < 1


def test_only_a_judge_that_solves_the_same_problem_is_certified() -> None:
    def certified(**how) -> float | None:
        own = LogisticRegression(C=0.1, **how)
        return (
            audit(people(), "y", budget=(0.05,), learner=own, reach="labels").budgets[0].certified
        )

    assert certified() is not None
    assert certified(class_weight="balanced") is None


def test_influence_is_certified_and_agrees_with_leaving_rows_out(report) -> None:
    found = report.influential
    assert found.refused is None
    assert found.correlation is not None
    assert found.correlation > 0.99
    assert found.bound is not None
    assert found.bound < 1e-10
    for row in found.rows:
        assert row.exact is not None
        assert row.value == pytest.approx(row.exact, rel=0.3)
        assert row.value == report.rows.loc[row.number, "influence"]


def test_an_influence_that_is_not_certified_is_refused(report) -> None:
    table = ingest(people(), "y")
    parts, matched = parts_of(table, 0), match("auto", "classes", 2, (72, 9))
    other = other_labels(matched, parts.train, 2)
    moved = influence(matched, parts.train, parts.choose, other)
    shown, state = influential_rows(table, moved)
    assert state.sure
    assert shown.refused is None
    loose = eqx.tree_at(lambda c: c.error_bound, moved.certificate, jnp.asarray(np.inf))
    object.__setattr__(moved, "certificate", loose)
    shown, state = influential_rows(table, moved)
    assert not state.sure
    assert shown.rows == ()
    assert "not printed" in str(shown.refused)


def test_groups_have_figures_and_one_of_a_single_row_has_a_sentence(report) -> None:
    assert [group.name for group in report.groups] == ["north", "south"]
    rows = sum(group.rows for group in report.groups)
    assert sum(g.rows * g.clean for g in report.groups) / rows == pytest.approx(report.clean)
    for g in report.groups:
        assert g.uncertain == pytest.approx((g.found * (1 - g.found) / g.rows) ** 0.5)
    assert any("'alone' has 1 row, 0 to" in note for note in report.notes)


def test_every_row_used_has_a_place_in_the_order(report) -> None:
    assert len(report.rows) == 120
    assert report.rows["suspicion"].notna().all()
    assert report.rows["influence"].notna().sum() == 72


class Page(HTMLParser):
    """Tags that are open, what is loaded from elsewhere, and the text."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "line", "rect", "circle", "polyline", "polygon"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_alone_and_escapes_what_a_table_holds(report) -> None:
    text = page(report)
    read = Page(text)
    assert read.open == []
    assert read.loads == []
    assert "script" not in read.tags
    assert EVIL in read.text
    assert "no useful bound" in read.text
    assert not re.search(r"url\(|@import|https?:", text)
    assert "prefers-color-scheme:dark" in text
    assert len(text) < 200_000


def test_a_page_and_json_without_rows_hold_no_cell(report) -> None:
    assert EVIL not in Page(page(report, rows=False)).text
    assert "<script>" in report.to_json()
    hidden = json.loads(report.to_json(rows=False))
    shown = hidden["influential"]["rows"] + hidden["suspicious"]
    assert hidden["suspicious"]
    assert all(row["cells"] == {} and row["why"] == "" for row in shown)
    assert hidden["schema"] == 2
    assert "seconds" not in hidden


def test_a_report_is_written_whole_or_not_at_all(report, tmp_path: Path) -> None:
    assert report.save(tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert json.loads(report.save(tmp_path / "r.json").read_text())["schema"] == 2
    (tmp_path / "folder.html").mkdir()
    for wrong in ("r.txt", "no/folder/r.html", "folder.html"):
        with pytest.raises(TableError, match="path"):
            report.save(tmp_path / wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.html", "r.html", "r.json"]


def test_the_command_says_by_its_status_whether_an_audit_passed(
    tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    people().to_csv("t.csv", index=False)
    usual = ["t.csv", "--target", "y", "--reach", "labels", "--budget", "0.05", "0.1"]
    assert main([*usual, "--json", "r.json", "--max-damage", "0.9"]) == 0
    assert Path("report.html").exists()
    assert json.loads(Path("r.json").read_text())["table"]["rows"] == 120
    assert main([*usual, "--max-damage", "0.0", "-o", "other.html"]) == 1
    assert "an attack adds more than 0" in capsys.readouterr().out
    assert main(["t.csv", "--target", "z", "-o", "none.html"]) == 2
    assert "no column 'z'" in capsys.readouterr().err
    assert not Path("none.html").exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--out", "no/r.html"], "no folder"),
        (["--out", "r.txt"], "html or .json"),
        (["--out", "folder.html"], "folder.html"),
        (["--json", "no/r.json"], "no folder"),
        (["--max-damage", "-1"], "max_damage"),
    ],
)
def test_the_command_asks_where_to_write_before_it_works(
    more, sentence, monkeypatch, tmp_path, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "keep_programs", lambda: None)
    monkeypatch.setattr(command, "audit", None)  # never called
    (tmp_path / "folder.html").mkdir()
    assert main(["t.csv", "--target", "y", *more]) == command.UNUSABLE
    assert sentence in capsys.readouterr().err


def test_a_command_that_is_stopped_says_so(monkeypatch, tmp_path, capsys) -> None:
    def stopped(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "keep_programs", lambda: None)
    monkeypatch.setattr(command, "audit", stopped)
    assert main(["t.csv", "--target", "y"]) == command.STOPPED
    assert "stopped" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_prints_few_notes_and_counts_the_others(report, capsys) -> None:
    many = dataclasses.replace(report, notes=tuple(f"Said {i}." for i in range(11)))
    command._say(many, [])
    said = capsys.readouterr().out
    assert "Said 7." in said
    assert "Said 8." not in said
    assert "3 more notes" in said


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"budget": (0.0,)}, "budget: got"),
        ({"budget": (0.7,)}, "budget: got"),
        ({"reach": "all"}, "reach: got 'all'"),
        ({"seed": -1}, "seed: got -1"),
        ({"weight": np.ones(120)}, "weight: got a ndarray, expected the name"),
        ({"group": np.ones(120)}, "group: got a ndarray, expected the name"),
        ({"group": "there"}, "no column 'there'"),
        ({"learner": "forest"}, "expected auto, logistic, ridge, svm"),
        ({"learner": 3}, "got a int"),
    ],
)
def test_a_question_that_makes_no_sense_is_one_sentence(more, sentence) -> None:
    with pytest.raises(TableError, match=sentence):
        audit(people(), "y", **more)


def test_compiled_programs_are_kept_in_the_users_cache_folder(monkeypatch, tmp_path) -> None:
    """A variable that is set to nothing counts as not set, and a folder that is set stays."""
    name, kept = "jax_compilation_cache_dir", []
    least = ("jax_persistent_cache_min_compile_time_secs",
             "jax_persistent_cache_min_entry_size_bytes")  # fmt: skip
    before = {each: jax.config.values[each] for each in (name, *least)}
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    try:
        for users in ("", str(tmp_path / "cache")):
            monkeypatch.setenv("XDG_CACHE_HOME", users)
            jax.config.update(name, None)
            command.keep_programs()
            kept.append(jax.config.jax_compilation_cache_dir)  # pyright: ignore
        jax.config.update(name, "own")
        jax.config.update(least[0], 1.0)
        jax.config.update(least[1], 9)
        command.keep_programs()
        assert [jax.config.values[each] for each in least] == [0, 0]
        kept.append(jax.config.jax_compilation_cache_dir)  # pyright: ignore
    finally:
        for each, value in before.items():
            jax.config.update(each, value)
    folders = (tmp_path / "home" / ".cache", tmp_path / "cache")
    assert kept == [*(str(folder / "bilevel" / "jax") for folder in folders), "own"]
