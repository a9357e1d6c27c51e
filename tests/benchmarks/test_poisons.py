"""Files of poison, their judge and the board: what breaks a rule is named, and roles are kept."""

import json

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.poisons import SETTINGS, Judged, Poisons, judge, judging
from benchmarks.poisons.judging import Controls
from benchmarks.poisons.layout import check, load
from benchmarks.poisons.page import board as page_of
from benchmarks.poisons.setting import own, trials
from benchmarks.pretraining import images
from benchmarks.report import UsageError
from bilevel.derivatives import Implicit
from bilevel.learners import AbstractModel, Logistic, OnFeatures
from bilevel.solvers import Newton

SMALL = SETTINGS["small"]
TINY = SMALL._replace(rows=12, poisons=2, trials=4)


class Pixels(AbstractModel):
    """Features that are the pixels."""

    def decision(self, x, *, key=None):
        return x.reshape(x.shape[0], -1)[:, 0]

    def features(self, x):
        return x.reshape(x.shape[0], -1)


@pytest.fixture
def poisons(monkeypatch) -> Poisons:
    """The base images themselves, in a setting of few images whose victims see pixels."""
    monkeypatch.setitem(SETTINGS, "small", TINY)
    monkeypatch.setattr(
        "benchmarks.poisons.judging.victim", lambda *_: OnFeatures(Pixels(), Logistic(1e-2))
    )
    drawn = trials(TINY)
    return Poisons.of(TINY, drawn, images("mnist")[0].x[drawn.base])


@pytest.mark.parametrize("name", ["small"])
def test_trials_keep_the_rules_they_are_judged_by(name) -> None:
    setting, drawn = SETTINGS[name], trials(SETTINGS[name])
    train, test = images(setting.data)
    check(Poisons.of(setting, drawn, train.x[drawn.base]))
    assert len(set(drawn.target)) == setting.trials
    assert set(test.y[drawn.target]) == {4}
    assert set(train.y[drawn.base].ravel()) == {9}
    assert np.isin(drawn.clean, own(setting)).all()
    np.testing.assert_array_equal(trials(setting).base, drawn.base)
    assert np.any(trials(setting, 1).base != drawn.base)


def test_a_file_keeps_what_was_saved_and_its_digest(poisons, tmp_path) -> None:
    digest = poisons.save(tmp_path / "a" / "poison.npz")
    held = load(tmp_path / "a" / "poison.npz")
    assert held.digest() == digest == poisons.digest()
    np.testing.assert_array_equal(held.images, images("mnist")[0].x[poisons.base])
    moved = poisons._replace(x=np.where(poisons.x > 0, poisons.x - 1, 1).astype(np.uint8))
    assert moved.digest() != digest
    as_floats = poisons._replace(x=poisons.images)
    as_floats.save(tmp_path / "floats.npz")
    np.testing.assert_array_equal(load(tmp_path / "floats.npz").images, poisons.images)


def broken(poisons: Poisons, name: str) -> Poisons:
    """The poison with one rule broken, in trial 1."""
    arrays = {k: np.array(v) for k, v in poisons._asdict().items() if k != "setting"}
    base, clean, x = arrays["base"], arrays["clean"], arrays["x"].astype(np.int32)
    y = images("mnist")[0].y
    if name == "too far":
        x[1, 0, 0, 0, 0] += TINY.levels + 2
    elif name == "label":
        arrays["y"][1, 1] = 4
    elif name == "base left in":
        clean[1, np.flatnonzero(y[clean[1]] == 9)[0]] = base[1, 0]
    elif name == "twice":
        clean[1, 0] = clean[1, 1]
    elif name == "other class":
        arrays["wanted"][1] = 3
    elif name == "true class":
        arrays["wanted"][1] = 4
        base[1], clean[1] = np.flatnonzero(y == 4)[:2], clean[1]
        arrays["y"][1] = 4
    elif name == "not in the setting":
        clean[1, 0] = np.flatnonzero(y == 0)[0]
    elif name == "counts":
        spare = np.setdiff1d(np.flatnonzero(y == 9), np.r_[base[1], clean[1]])
        clean[1, np.flatnonzero(y[clean[1]] == 4)[0]] = spare[0]
    elif name == "same target":
        arrays["target"][1] = arrays["target"][0]
    elif name == "target class":
        arrays["target"][1] = np.flatnonzero(images("mnist")[1].y == 7)[0]
    elif name == "no such image":
        base[1, 0] = 10**6
    return poisons._replace(**arrays | {"x": x.astype(np.uint8)})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("too far", r"x: in trial 1 poison 0 differs .* by 104.0/255, at most 103/255"),
        ("label", r"y: in trial 1 poison 1 has the label 4, but image \d+ is of class 9"),
        ("base left in", r"clean: in trial 1 has the image \d+, whose poison replaces it"),
        ("twice", r"base, clean: in trial 1 an image comes twice"),
        ("other class", r"base: in trial 1 has images of class 9, expected 3"),
        ("true class", r"wanted: in trial 1 it is 4, the true class"),
        ("not in the setting", r"base, clean: in trial 1 has the image \d+, which is not among"),
        ("counts", r"base, clean: in trial 1 they have \[7, 5\] images of the classes \[9, 4\]"),
        ("same target", r"target: an image comes twice"),
        ("target class", r"target: in trial 1 it is of class 7, expected one of \[4\]"),
        ("no such image", r"base: got the image 1000000, expected 0 to 3999"),
    ],
)
def test_poison_that_breaks_a_rule_is_refused_in_a_sentence(poisons, name, sentence) -> None:
    with pytest.raises(UsageError, match=sentence):
        check(broken(poisons, name))


def test_files_that_hold_no_poison_are_refused(poisons, tmp_path) -> None:
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(UsageError, match="cannot be read as npz"):
        load(tmp_path / "text.npz")
    np.savez(tmp_path / "some.npz", x=poisons.x)
    with pytest.raises(UsageError, match="lacks setting, target, wanted, base, clean, y"):
        load(tmp_path / "some.npz")
    for change, sentence in (
        ({"setting": "huge"}, "setting: got 'huge', expected one of small"),
        ({"x": poisons.x[:, :1]}, r"x: got shape \(4, 1, 28, 28, 1\), expected \(4, 2,"),
        ({"y": poisons.y.astype(float)}, "y: got float64, expected whole numbers"),
        ({"x": poisons.images * np.nan}, "x: in trial 0 there are 1568 pixels outside"),
    ):
        with pytest.raises(UsageError, match=sentence):
            check(poisons._replace(**change))


def test_victims_of_the_target_itself_are_hit_and_those_of_the_base_are_not(poisons) -> None:
    """Poison far beyond any limit: the target with the wanted label."""
    test = images("mnist")[1]
    clean = judge(poisons, "white")
    assert clean.controls.right.any()
    assert not (clean.hit & clean.controls.right).any()
    np.testing.assert_array_equal(clean.error, clean.controls.error)
    # of another tool, on another machine
    other = poisons._replace(clean=poisons.clean.astype(">u8"), x=poisons.images.astype(">f4"))
    np.testing.assert_array_equal(judge(other, "white", beside=clean.controls).error, clean.error)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.poisons.judging.check", lambda _: None)
        image = np.repeat(test.x[poisons.target][:, None], TINY.poisons, axis=1)
        reached = judge(poisons._replace(x=image), "white")
    assert reached.hit.all()
    for part, same in zip(reached.controls, clean.controls, strict=True):
        np.testing.assert_array_equal(part, same)
    row = reached.row()
    assert row["success"] == 1
    assert row["n"] == clean.controls.right.sum()
    assert row["test_err"] == pytest.approx(np.mean(reached.error))
    assert row["clean_test_err"] == pytest.approx(np.mean(clean.error))


def test_victims_that_are_not_trained_to_the_end_give_no_label(poisons, monkeypatch) -> None:
    stopped = Logistic(1e-2).using(Newton(max_steps=1), Implicit())
    monkeypatch.setattr(
        "benchmarks.poisons.judging.victim", lambda *_: OnFeatures(Pixels(), stopped)
    )
    judged = judge(poisons, "white")
    assert not (judged.hit | judged.controls.right | judged.controls.random).any()
    assert judged.row()["n"] == 0


def test_only_targets_that_were_right_count() -> None:
    right, hit = np.array([True, True, False, True]), np.array([True, False, True, False])
    row = Judged(hit, np.ones(4), Controls(~hit, right, np.zeros(4))).row()
    assert row["n"] == 3
    assert row["success"] == pytest.approx(1 / 3)
    assert row["random"] == pytest.approx(2 / 3)
    assert row["low"] < 1 / 3 < row["high"]


def test_the_board_shows_every_row_and_escapes_what_it_shows(tmp_path, capsys) -> None:
    row = {
        "setting": "small", "attack": "<b>", "victim": "white", "defense": "trim", "success": 0.5,
        "low": 0.3, "high": 0.7, "n": 20, "random": 0.05, "adaptive": 0.9, "certified": None,
        "test_err": 0.081, "clean_test_err": 0.07, "seconds": 1.25, "digest": "0123456789abcdef",
    }  # fmt: skip
    others = [row | {"attack": "first", "success": 0.75}, row | {"setting": "transfer"}]
    none = row | {
        "attack": "x",
        "setting": "none",
        "success": None,
        "low": 0.0,
        "high": 1.0,
        "n": 0,
    }
    text = json.dumps({"experiment": "poisoning-benchmark", "rows": [row, none, *others]})
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "b.json").write_text(json.dumps({"experiment": "svm-mnist", "rows": [{"x": 1}]}))
    out = tmp_path / "pages" / "board.html"
    assert main(["board", str(tmp_path), "--out", str(out)]) == 0
    page = out.read_text()
    assert page.count("<tr>") == 5
    assert "<td>&lt;b&gt;</td>" in page
    assert page.index("first") < page.index("&lt;b&gt;") < page.index("transfer")
    for cell in ("0.30 to 0.70", "0.90", "8.1 %", "–", "<code>0123456789ab</code>"):
        assert f"<td>{cell}</td>" in page
    (tmp_path / "folder").mkdir()
    twice = [tmp_path, tmp_path / "a.json", tmp_path / "folder" / ".." / "a.json"]
    assert page_of(twice) == page_of(twice[:1]) == page
    assert main(["board", str(tmp_path / "b.json")]) == 2
    assert "hold no results" in capsys.readouterr().err
    assert main(["board", str(tmp_path / "none.json")]) == 2


def test_from_scratch_no_weights_are_known(poisons, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.poisons.judging.check", lambda _: None)
    with pytest.raises(UsageError, match="known: got 'white', expected one of grey, black"):
        judge(poisons._replace(setting="small-scratch"), "white")


def test_the_judge_refuses_a_file_by_its_name(poisons, tmp_path, capsys) -> None:
    assert main(["judge"]) == 2
    assert "judge: got no file" in capsys.readouterr().err
    broken(poisons, "label").save(tmp_path / "mine.npz")
    assert main(["judge", str(tmp_path / "mine.npz")]) == 2
    assert "mine.npz: y: in trial 1" in capsys.readouterr().err
    poisons.save(tmp_path / "mine.npz")
    out = tmp_path / "verdict.json"
    assert main(["judge", str(tmp_path / "mine.npz"), "--known", "white", "--json", str(out)]) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["success"], row["digest"]) == (0, poisons.digest())


def test_the_control_moves_every_pixel_as_far_as_the_attack_may(
    poisons: Poisons, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def read(setting, drawn, rows, *rest):
        given.append(np.asarray(rows))
        return np.zeros(TINY.trials, int), np.zeros(TINY.trials)

    monkeypatch.setattr(judging, "_read", read)
    drawn = trials(TINY)
    judging.controls(TINY, drawn, "white")
    base = np.asarray(images(TINY.data)[0].x[drawn.base])
    moved, plain = given
    np.testing.assert_array_equal(plain, base)
    inside = (base >= TINY.eps) & (base <= 1 - TINY.eps)
    np.testing.assert_allclose(np.abs(moved - base)[inside], TINY.eps, rtol=1e-5)
    zero = moved[base == 0]
    np.testing.assert_allclose(np.unique(zero), [0, TINY.eps], rtol=1e-6)
    assert np.mean(zero > 0) == pytest.approx(0.5, abs=0.05)
