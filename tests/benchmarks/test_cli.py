import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import benchmarks
from benchmarks import caches, clock, data
from benchmarks.__main__ import main
from benchmarks.registry import EXPERIMENTS, TIMED, Experiment

COLUMNS = [
    "pair", "split", "points", "clean_val_err", "clean_test_err", "flip_test_err", "val_err",
    "val_hinge", "test_err", "steps", "cpu_seconds", "compile_seconds",
]  # fmt: skip
TINY = ["run", "svm-mnist", "--points", "1", "--steps", "4"]  # one program for all tests


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("svm-mnist")
    files = ["--json", str(folder / "run.json"), "--out", str(folder / "pictures")]
    assert main([*TINY, "--splits", "0", *files]) == 0
    return folder


def test_list_names_every_experiment_and_imports_none() -> None:
    script = (
        "import sys; from benchmarks.__main__ import main; assert main(['list']) == 0\n"
        "heavy = {'jax', 'sklearn', 'matplotlib'} & sys.modules.keys(); assert not heavy, heavy"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    for name, experiment in EXPERIMENTS.items():
        assert f"{name} " in run.stdout
        assert experiment.description in run.stdout


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_registered_module_keeps_the_convention(name: str) -> None:
    module = EXPERIMENTS[name].load()
    assert module.Options() == module.Options()
    assert callable(module.run)


def test_every_experiment_file_is_registered_under_its_name() -> None:
    files = Path(benchmarks.__file__).parent.glob("experiments/*/*.py")
    found = {(p.parent.name, p.stem.replace("_", "-")) for p in files if p.stem[0] != "_"}
    assert found == {(e.family.replace("-", "_"), name) for name, e in EXPERIMENTS.items()}


def test_experiments_on_time_are_registered() -> None:
    assert EXPERIMENTS.keys() >= TIMED


def test_pictures_import_no_experiment() -> None:
    for path in (Path(benchmarks.__file__).parent / "pictures").glob("*.py"):
        assert "experiments" not in path.read_text(), path


def test_svm_mnist_writes_rows_and_picture(finished: Path) -> None:
    report = json.loads((finished / "run.json").read_text())
    assert report["experiment"] == "svm-mnist"
    assert report["complete"] is True
    assert report["options"]["points"] == [1]
    assert report["options"]["steps"] == 4
    assert report["environment"].keys() >= {"python", "jax", "numpy", "platform", "cpus", "dtype"}
    assert report["environment"]["dtype"] == "float64"
    (row,) = report["rows"]
    assert list(row) == COLUMNS
    assert row["clean_test_err"] < 0.05 < row["val_err"] <= 1
    assert row["val_hinge"] > row["clean_val_err"]
    assert row["steps"] == 4
    assert "0v4,  1 points, one split: validation error" in report["notes"][0]
    picture = (finished / "pictures" / "svm-mnist.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "svm-mnits"], "no experiment is called 'svm-mnits'; did you mean svm-mnist?"),
        (["run", "xyz"], "no experiment is called 'xyz'; there are: svm-mnist,"),
        (["lists"], "no command is called 'lists'; did you mean list?"),
        ([*TINY, "--pair", "4v4"], "--pair: got '4v4', expected two different digits"),
        ([*TINY, "--pair", "zero"], "--pair: got 'zero', expected two different digits"),
        ([*TINY, "--C", "-1"], "--C: got -1.0, expected a positive number"),
        (["run", "svm-mnist", "--points", "0"], "--points: got (0,), expected numbers of 1 or"),
        (["run", "svm-mnist", "--points", "90"], "--points: got 90, split 0 has 50 starts"),
        ([*TINY, "--splits", "-1"], "--splits: got (-1,), expected numbers of 0 or more"),
        ([*TINY, "--splits-file", "none.npz"], "--splits-file: none.npz cannot be read"),
        ([*TINY, "--splits-file", "none.npz", "--full"], "leave --full out"),
        ([*TINY, "--jobs", "0"], "--jobs: got 0, expected 1 or more"),
        (["run", "scaling", "--jobs", "2"], "--jobs: scaling measures time, which others would"),
    ],
)
def test_mistakes_are_answered_by_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("wrong", [["--pointz", "1"], ["--steps", "many"]])
def test_options_that_do_not_exist_or_parse_are_named(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "svm-mnist", *wrong])
    assert wrong[0] in capsys.readouterr().err


def counted(options, number):
    if number == 2:
        raise KeyboardInterrupt
    return {"rows": [{"number": np.int64(number), "share_err": np.float64(0.25), "none": np.nan}]}


def test_an_interrupted_run_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(options, report) -> None:
        report.each(counted, options, [{"number": number} for number in range(3)], "counting")

    module = SimpleNamespace(Options=EXPERIMENTS["svm-mnist"].load().Options, run=run, __doc__="")
    monkeypatch.setattr(Experiment, "load", lambda self: module)
    assert main(["run", "svm-2d", "--json", str(tmp_path / "deep" / "a.json")]) == 130
    report = json.loads((tmp_path / "deep" / "a.json").read_text())
    assert report["complete"] is False
    assert report["rows"] == [{"number": n, "share_err": 0.25, "none": None} for n in (0, 1)]
    printed = capsys.readouterr().out
    assert "25.0 %" in printed
    assert "Interrupted" in printed


def test_compiled_programs_are_kept_in_the_users_cache_folder(tmp_path: Path) -> None:
    script = (
        "import jax, pooch; from benchmarks.caches import keep_programs\n"
        "print(jax.config.jax_compilation_cache_dir); print(keep_programs())\n"
        "print(pooch.os_cache('bilevel')); print(jax.config.jax_compilation_cache_dir)"
    )
    unset = {key: value for key, value in os.environ.items() if not key.startswith("JAX_")}
    for setting, folder in (({}, None), ({"JAX_COMPILATION_CACHE_DIR": str(tmp_path)}, tmp_path)):
        run = subprocess.run(
            [sys.executable, "-c", script], env=unset | setting, capture_output=True, text=True,
            check=True, timeout=60,
        )  # fmt: skip
        before, kept, users, after = run.stdout.split()
        assert before == str(folder)
        assert kept == after == str(folder or Path(users) / "jax")


def test_arrays_are_made_once_and_half_a_file_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "folder", lambda: tmp_path / "deep")
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(3)}

    for _ in range(2):
        assert caches.kept_arrays("a", make)["a"].tolist() == [0, 1, 2]
    assert len(made) == 1
    path = tmp_path / "deep" / "a.npz"
    path.write_bytes(path.read_bytes()[:40])
    assert caches.kept_arrays("a", make)["a"].tolist() == [0, 1, 2]
    assert len(made) == 2
    monkeypatch.setattr(caches, "folder", lambda: path)  # a file: nothing can be written there
    assert caches.kept_arrays("a", make)["a"].tolist() == [0, 1, 2]


def test_help_says_where_programs_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["run", "svm-mnist", "--help"])
    assert "JAX_COMPILATION_CACHE_DIR" in capsys.readouterr().out


def test_a_program_is_timed_without_its_compilation() -> None:
    runs = []

    @jax.jit
    def program(x):
        return jnp.sin(x) + 1

    def run():
        runs.append(1)
        return program(jnp.ones(3))

    value, _, compiling = clock.warm(run)
    assert len(runs) == 2
    assert compiling > 0
    again, cpu, compiling = clock.warm(run)
    assert len(runs) == 3
    assert compiling == 0
    assert 0 <= cpu < 0.5
    np.testing.assert_array_equal(value, again)


@pytest.mark.parametrize(
    ("programs", "first", "runs", "expected"),
    [(1, 3.0, 2, ("second", 0.25, 1.5)), (2, 1.0, 2, ("second", 0.25, 0.0)),
     (0, 3.0, 1, ("first", 0.5, 0.0))],
)  # fmt: skip
def test_compiling_took_what_the_second_run_did_not_and_no_less_than_nothing(
    programs, first, runs, expected, monkeypatch
) -> None:
    made = [("first", first, 0.5), ("second", 1.5, 0.25)]
    given: list[str] = []

    def timed(program: str) -> tuple[str, float, float]:
        given.append(program)
        return made[len(given) - 1]

    counts = contextlib.nullcontext(SimpleNamespace(programs=programs))
    monkeypatch.setattr(clock, "timed", timed)
    monkeypatch.setattr(clock, "counted", lambda: counts)
    assert clock.warm("program") == expected  # pyright: ignore
    assert given == ["program"] * runs


def test_drawn_splits_are_disjoint_and_repeatable() -> None:
    digits = data.Digits(np.arange(700)[:, None] % 251, np.repeat([1, 7], 350), 700)
    (first,) = data.drawn_splits(digits, "7v1", (3,), 0).values()
    (again,) = data.drawn_splits(digits, "7v1", (3,), 0).values()
    (other,) = data.drawn_splits(digits, "7v1", (3,), 1).values()
    assert np.array_equal(first.train.x, again.train.x)
    assert not np.array_equal(first.train.x, other.train.x)
    assert [len(rows.y) for rows in first[:3]] == [100, 500, 100]
    starts = {tuple(row) for row in first.start}
    attacked = {tuple(row) for row in first.train.x[first.train.y < 0]}
    assert starts == attacked
