"""Sweeps: bad tasks, grids, stores and executors are sentences, and what is there stays there."""

import dataclasses
import enum
import errno
import functools
import os
import sys
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sweeping
from sweeping import square

import bilevel
from bilevel._sweep._settings import keyed


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def run(tmp_path, threads):
    """A sweep into the folder of the test, which does without processes."""
    return functools.partial(bilevel.sweep, store=tmp_path / "store", executor=threads)


def names(store):
    return {path.name: path.read_bytes() for path in store.iterdir()}


def test_grids_without_items_or_with_one_twice_are_sentences(run, tmp_path):
    with pytest.raises(ValueError, match="grid: got no items"):
        run(square, [])
    for first, second in ((1.0, np.float64(1.0)), (2, np.int8(2)), ([1, 2], (1, 2))):
        with pytest.raises(ValueError, match="items 1 and 2 are the same"):
            run(square, [{"x": "other"}, {"x": first}, {"x": second}])
    assert not (tmp_path / "store").exists()


def test_settings_that_differ_are_different_items(run):
    values = [1, 1.0, True, "1", None, "None", 0.1, np.float32(0.1), -0.0, 0.0, "a/b", Path("a/b")]
    values += [[1], [1.0], [[1]], Options(1), Options(2), Options((1, Path("a")))]
    swept = run(typed, [{"x": value} for value in values])
    assert len(swept.items) == 18
    assert [item.cells["type"] for item in swept.items][:3] == ["int", "float", "bool"]


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of an experiment, made in one place."""

    size: object
    name: object = None


@dataclasses.dataclass(frozen=True)
class Others:
    """The same fields under another name."""

    size: object
    name: object = None


class Colour(enum.IntEnum):
    """Of the same numbers as `Size`."""

    RED = 1
    BLUE = 2


class Size(enum.IntEnum):
    """Of the same numbers as `Colour`."""

    RED = 1


class Style(enum.IntFlag):
    BOLD = 1
    ITALIC = 2


class Shape(enum.Enum):
    """Of no numbers."""

    ROUND = (1, 2)


ELSEWHERE = dataclasses.make_dataclass("Options", ["size", ("name", object, None)], frozen=True)
ELSEWHERE.__module__ = "elsewhere"
APART = {
    "folders": (Path("a/x.csv"), Path("b/x.csv"), Path("x.csv"), Path("/x.csv"), Path("a/x")),
    "a path and its text": ("a/x.csv", Path("a/x.csv"), ["path", "a/x.csv"]),
    "flags": (True, 1, 1.0, "True", None, np.bool_(False), 0),
    "numbers": (0.1, np.float32(0.1), 0.1 + 1e-16, 1e-300, 0.0, -0.0, float("inf"), 2**63, -1),
    "texts": ("a", "A", "a ", "", "null", "1"),
    "sequences": ([], [1], [1, 2], [2, 1], [[1], 2], [[1, 2]], [1.0, 2], ["1", 2]),
    "fields": (Options(1), Options(1, 1), Options(None, 1), Options(2), Options([1]), Options("1")),
    "classes": (Options(1), Others(1), [1, None], Options(Others(1)), Options(Options(1))),
    "modules": (Options(1), ELSEWHERE(1)),
    "enums": (Colour.RED, Colour.BLUE, Size.RED, Shape.ROUND, 1, "RED", [1, 2], [Size.RED]),
    "nameless flags": (Style(0), Style(8), Style(16), Style.BOLD, Style(3)),
    "far in": (Options([0, (Path("a/x"),)]), Options([0, (Path("b/x"),)]), Options([0, ("a/x",)])),
}
"""Settings that differ in one part alone."""
ALIKE = {
    "paths": (Path("a/x"), Path("a") / "x", Path("a//x"), Path("a/./x")),
    "flags": (True, np.bool_(True)),
    "numbers": (2, np.int64(2), np.uint8(2)),
    "fractions": (0.5, np.float32(0.5), np.float64(0.5)),
    "texts": ("ab", "a" + "b", np.str_("ab")),
    "sequences": ([1, [2]], (1, (2,)), [np.int8(1), (np.int16(2),)]),
    "enums": (Colour.RED, Colour(1)),
    "classes": (Options((1, Path("a"))), Options([1, Path("a")], None)),
}


def keys_of(*values) -> list[str]:
    return [key for value in values for key in keyed(typed, [{"x": value}], {})]


@pytest.mark.parametrize("kind", APART)
def test_settings_that_differ_in_one_part_have_their_own_keys(kind):
    values = APART[kind]
    assert len(set(keys_of(*values))) == len(values)
    assert len(keyed(typed, [{"x": value} for value in values], {})) == len(values)


@pytest.mark.parametrize("kind", ALIKE)
def test_settings_that_are_the_same_have_one_key(kind):
    assert len(set(keys_of(*ALIKE[kind]))) == 1


def test_a_key_is_of_names_values_and_of_what_else_a_result_depends_on():
    grids = [{"x": 1, "y": 2}, {"x": 2, "y": 1}, {"x": 1}, {"y": 1}]
    keys = [*keyed(either, grids, {}), *keyed(either, grids, {"version": "1"})]
    assert len(set(keys)) == len(keys) == 2 * len(grids)
    assert [*keyed(either, [{"y": 2, "x": 1}], {})] == keys[:1]


def either(x=0, y=0):
    return {"sum": x + y}


def typed(x):
    return {"type": type(x).__name__}


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1},
        {1},
        Options,
        np.zeros(2),
        jnp.zeros(()),
        1j,
        object(),
        np.longdouble(1),
        [1, {2}],
        b"a",
    ],
    ids=lambda value: type(value).__name__,
)
def test_settings_without_a_stable_text_are_sentences(run, value):
    with pytest.raises(
        TypeError, match=r"grid: 'x' of item 1 is a .*, expected one of: None, bool"
    ):
        run(square, [{"x": 1}, {"x": value}])


def test_settings_that_do_not_fit_the_task_are_sentences(run):
    for settings, sentence in (
        ({"y": 1}, r"item 0, {'y': 1}, does not fit square\(x\): missing a required"),
        ({"x": 1, "y": 1}, "unexpected keyword argument 'y'"),
        (3, "item 0 is a int, expected a mapping"),
    ):
        with pytest.raises(TypeError, match=sentence):
            run(square, [settings])


def test_tasks_that_another_process_cannot_import_are_sentences(run):
    def closure(x):
        return square(x)

    for task in (lambda x: {}, closure):
        with pytest.raises(TypeError, match=r"task: .* cannot be sent .* at the top of a module"):
            run(task, [{"x": 1}])
    for task in (functools.partial(square, 1), jax.jit(square), [].append, 3):
        with pytest.raises(TypeError, match="expected a function defined at the top of a module"):
            run(task, [{"x": 1}])


def test_a_task_without_source_asks_for_a_version(run, monkeypatch):
    monkeypatch.setattr(square, "__code__", eval("lambda x: {'square': 1}").__code__)
    with pytest.raises(ValueError, match="version: the source of square cannot be read"):
        run(square, [{"x": 1}])
    assert run(square, [{"x": 1}], version="1").items[0].cells == {"square": 1}


def test_a_store_of_another_version_is_neither_used_nor_touched(run, tmp_path):
    run(square, [{"x": 1}, {"x": 2}], version="old")
    before = names(tmp_path / "store")
    sentence = "2 results of version 'old', this sweep is of version 'new'; give version='old' to"
    with pytest.raises(ValueError, match=sentence):
        run(square, [{"x": 3}], version="new")
    with pytest.raises(ValueError, match=r"2 results of version 'old', .* numpy [\d.]+\)'; give"):
        run(square, [{"x": 1}])
    with pytest.raises(ValueError, match=r"2 results of task 'sweeping.square', this sweep is of"):
        run(typed, [{"x": 1}], version="old")
    assert names(tmp_path / "store") == before
    assert len(run(square, [{"x": 3}], version="old").items) == 1
    assert before.items() <= names(tmp_path / "store").items()


def test_a_store_of_failures_alone_is_open_to_the_repaired_code(run, tmp_path):
    (tmp_path / "mood").touch()
    grid = [{"folder": str(tmp_path), "x": x} for x in (1, 3)]
    assert len(run(sweeping.moody, grid, version="broken").failed) == 2
    (tmp_path / "mood").unlink()
    assert run(sweeping.moody, grid, version="repaired").failed == ()
    assert len(names(tmp_path / "store")) == 4


def test_the_version_follows_the_source(tmp_path, monkeypatch, run):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "changing.py"
    module.write_text("def task(x):\n    return {'y': 1}\n")
    import changing  # pyright: ignore

    run(changing.task, [{"x": 1}])
    module.write_text("def task(x):\n    return {'y': 2}\n")
    with pytest.raises(ValueError, match="1 results of version"):
        run(changing.task, [{"x": 1}])
    sys.modules.pop("changing")


def test_a_folder_of_other_files_is_refused(run, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"store: .* holds 'thesis.tex' and no results of a sweep"):
        run(square, [{"x": 1}])
    assert os.listdir(tmp_path / "store") == ["thesis.tex"]


def test_a_store_has_one_writer(run):
    def again(item):
        with pytest.raises(BlockingIOError, match="another process sweeps into"):
            run(square, [{"x": 2}])
        seen.append(item)

    seen = []
    run(square, [{"x": 1}], after=again)
    assert len(seen) == 1
    run(square, [{"x": 2}])


def test_a_damaged_file_is_a_sentence(run, tmp_path):
    run(square, [{"x": 1}])
    (path,) = {*(tmp_path / "store").glob("*.json")} - {tmp_path / "store" / "sweep.json"}
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ValueError, match=f"store: .*{path.name} cannot be read .*; remove it"):
        run(square, [{"x": 1}])
    path.unlink()
    assert run(square, [{"x": 1}]).items[0].cells == {"square": 1}


def test_a_full_disk_keeps_what_was_written_before(run, tmp_path, monkeypatch):
    grid = [{"x": x} for x in range(6)]
    synced = os.fsync
    room = [1 + 3]  # for the store's own file and three results

    def fsync(file):
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synced(file)

    monkeypatch.setattr(os, "fsync", fsync)
    sentence = r"store: the result of {'x': \d} cannot be written .*No space left.* kept there"
    with pytest.raises(OSError, match=sentence) as raised:
        run(square, grid)
    assert raised.value.errno == errno.ENOSPC
    left = names(tmp_path / "store")
    assert len(left) == 3 + 2
    assert not [name for name in left if name.endswith(".part")]
    room[0] = 3
    assert [item.cells["square"] for item in run(square, grid).items] == [0, 1, 4, 9, 16, 25]
    assert left.items() <= names(tmp_path / "store").items()


def test_an_interrupted_write_leaves_the_file_before_or_none(run, tmp_path, monkeypatch):
    (tmp_path / "mood").touch()
    grid = [{"folder": str(tmp_path), "x": x} for x in (1, 2)]
    assert len(run(sweeping.moody, grid).failed) == 1
    (tmp_path / "mood").unlink()
    before = names(tmp_path / "store")

    def killed(file):
        os.ftruncate(file, 20)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            run(sweeping.moody, grid)
    assert before.items() <= names(tmp_path / "store").items()
    assert run(sweeping.moody, grid).failed == ()
    assert names(tmp_path / "store").keys() == before.keys()


class Failing(Executor):
    """Answers calls at once, a given number of times, then does something else."""

    def __init__(self, calls, then):
        self.calls, self.then = calls, then

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.calls -= 1
        if self.calls < 0:
            self.then(future)
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def refuse(future):
    raise RuntimeError("cannot schedule new futures after shutdown")


def cancel(future):
    future.cancel()
    future.set_running_or_notify_cancel()


@pytest.mark.parametrize(
    ("then", "sentence", "kept"),
    [(refuse, "RuntimeError: cannot schedule new futures", 0), (cancel, "it cancelled an item", 2)],
)
def test_an_executor_that_dies_is_a_sentence_and_another_goes_on(
    run, tmp_path, then, sentence, kept
):
    grid = [{"x": x} for x in range(4)]
    with pytest.raises(RuntimeError, match=rf"executor: Failing .*{sentence}.*; {kept} of 4 res"):
        run(square, grid, executor=Failing(2, then))
    assert len([*(tmp_path / "store").glob("*.json")]) == 1 + kept
    assert [item.cells["square"] for item in run(square, grid).items] == [0, 1, 4, 9]


def test_an_item_may_kill_three_workers(run):
    tries = []

    def die(future):
        tries.append(1)
        future.set_exception(BrokenExecutor("its process was ended by SIGKILL"))

    swept = run(square, [{"x": x} for x in range(3)], executor=Failing(2, die))
    assert [item.failure for item in swept.items] == [
        None, None, "killed 3 times: its process was ended by SIGKILL",
    ]  # fmt: skip
    assert len(tries) == 3
    assert run(square, [{"x": x} for x in range(3)]).failed == ()


def test_what_an_executor_raises_is_the_failure_of_its_item(run):
    def lose(future):
        future.set_exception(ConnectionError("lost"))

    swept = run(square, [{"x": x} for x in range(3)], executor=Failing(2, lose))
    assert [item.failure for item in swept.items] == [None, None, "ConnectionError: lost"]


def test_jobs_are_for_local_processes(run, tmp_path):
    with pytest.raises(ValueError, match=r"jobs: got 2 and an executor, .*give one of both"):
        run(square, [{"x": 1}], jobs=2)
    with pytest.raises(ValueError, match="jobs: got 0, expected 1 or more"):
        bilevel.sweep(square, [{"x": 1}], store=tmp_path, jobs=0)


def test_a_table_without_pandas_names_the_command(run, monkeypatch):
    swept = run(square, [{"x": 1}])
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install bilevel\[frames\]"):
        swept.frame()
