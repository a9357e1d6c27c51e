"""Sweeps: what comes back and in what order, what is kept, and what goes on from where."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sweeping

import bilevel


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def everything(x):
    return {
        "array": jnp.arange(3) / 3 + x,
        "half": jnp.asarray([1.5, -2.0], jnp.bfloat16),
        "complex": np.complex128(1 + 2j),
        "big": np.arange(2, dtype=">i4"),
        "none": np.zeros((0, 2)),
        "scalar": jnp.float32(0.1),
        "flag": np.bool_(True),
        "nested": {"pair": (1, None), "edges": [math.nan, -math.inf, -0.0, 5e-324]},
        "word": "Ü\n",
    }


def files(store):
    return {path.name: path.read_bytes() for path in store.iterdir()}


def test_cells_come_back_bit_for_bit_from_the_call_and_from_the_store(tmp_path, threads):
    grid = [{"x": 1.0}]
    for _ in range(2):  # the second time from the store
        (item,) = bilevel.sweep(everything, grid, store=tmp_path, executor=threads).items
        wanted = everything(1.0)
        for name in ("array", "half", "complex", "big", "none"):
            got = item.cells[name]
            assert isinstance(got, np.ndarray)
            assert (got.dtype.name, got.shape) == (wanted[name].dtype.name, wanted[name].shape)
            assert got.tobytes() == np.asarray(wanted[name]).astype(got.dtype).tobytes()
            assert got.flags.writeable
        assert type(item.cells["scalar"]) is float
        assert item.cells["scalar"] == float(np.float32(0.1))
        assert item.cells["flag"] is True
        assert item.cells["nested"]["pair"] == [1, None]
        assert repr(item.cells["nested"]["edges"]) == repr(wanted["nested"]["edges"])
        assert item.cells["word"] == "Ü\n"


def test_items_keep_the_order_of_the_grid_whatever_finishes_first(tmp_path, threads):
    grid = [{"folder": str(tmp_path), "x": x, "seconds": (3 - x) / 30} for x in range(4)]
    seen = []
    store = tmp_path / "store"
    swept = bilevel.sweep(sweeping.noted, grid, store=store, executor=threads, after=seen.append)
    assert [item.settings for item in swept.items] == grid
    assert [item.settings["x"] for item in seen] != [0, 1, 2, 3]
    frame = swept.frame()
    assert list(frame.columns) == ["folder", "x", "seconds", "third", "failure"]
    assert list(frame.third) == [x / 3 for x in range(4)]
    assert frame.failure.isna().all()


def test_an_interrupted_sweep_goes_on_to_the_same_files_and_runs_nothing_twice(tmp_path):
    grid = sweeping.many(tmp_path, 8, 0.0)
    whole = tmp_path / "whole"
    cut = tmp_path / "cut"
    with ThreadPoolExecutor(1) as pool:
        uncut = bilevel.sweep(sweeping.noted, grid, store=whole, executor=pool)
        (tmp_path / "log").unlink()
        seen = []

        def interrupt(item):
            seen.append(item.settings["x"])
            if len(seen) == 3:
                raise KeyboardInterrupt

        slow = [settings | {"seconds": 0.05} for settings in grid]
        with pytest.raises(KeyboardInterrupt):
            bilevel.sweep(sweeping.noted, slow, store=cut, executor=pool, after=interrupt)
    assert len(sweeping.logged(tmp_path)) <= 8  # what had not begun was cancelled
    (tmp_path / "log").unlink()
    with ThreadPoolExecutor(1) as pool:
        seen.clear()
        swept = bilevel.sweep(
            sweeping.noted, slow, store=cut, executor=pool,
            after=lambda item: seen.append(item.settings["x"]),
        )  # fmt: skip
    assert [line[1] for line in sweeping.logged(tmp_path) if line[0] == "end"] == list("34567")
    assert seen == list(range(8))  # each once, those of the store first
    assert [item.cells for item in swept.items] == [item.cells for item in uncut.items]


def test_a_finished_sweep_starts_nothing(tmp_path, threads):
    grid = [{"x": 1}, {"x": 2}]
    first = bilevel.sweep(sweeping.square, grid, store=tmp_path, executor=threads)
    before = files(tmp_path)
    threads.shutdown()
    assert bilevel.sweep(sweeping.square, grid, store=tmp_path, executor=threads) == first
    assert bilevel.sweep(sweeping.square, grid[::-1], store=tmp_path).items == first.items[::-1]
    assert files(tmp_path) == before


def test_a_failed_item_keeps_its_sentence_and_is_tried_again(tmp_path, threads):
    store = tmp_path / "store"
    grid = [{"folder": str(tmp_path), "x": x} for x in range(4)]
    (tmp_path / "mood").touch()
    swept = bilevel.sweep(sweeping.moody, grid, store=store, executor=threads)
    assert [item.cells for item in swept.items] == [{"half": 0.0}, {}, {"half": 1.0}, {}]
    assert [item.failure for item in swept.failed] == [
        f"ZeroDivisionError: no {x} today" for x in (1, 3)
    ]
    assert "in moody" in swept.failed[0].traceback
    frame = swept.frame()
    assert list(frame.half.isna()) == [False, True, False, True]
    assert list(frame.failure.dropna()) == [item.failure for item in swept.failed]
    kept = [json.loads(text) for name, text in files(store).items() if len(name) == 37]
    assert sorted(k["failure"] for k in kept if "failure" in k) == sorted(frame.failure.dropna())
    (tmp_path / "log").unlink()
    (tmp_path / "mood").unlink()
    swept = bilevel.sweep(sweeping.moody, grid, store=store, executor=threads)
    assert swept.failed == ()
    assert sorted(sweeping.logged(tmp_path)) == [["begin", "1"], ["begin", "3"]]
    assert len(files(store)) == 4 + len({"sweep.json", "sweep.lock"})


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (
            lambda x: {"object": {"list": [object()]}},
            r"result\['cells'\]\['object'\]\['list'\]\[0\]",
        ),
        (
            lambda x: {"text": np.asarray(["a"])},
            r"\['text'\]: is an array of <U1, expected numbers",
        ),
        (lambda x: {"key": jax.random.key(0)}, "random.key_data"),
        (lambda x: {1: 2}, "has the name 1, expected text"),
        (lambda x: {"x": 2}, r"\['x'\], which are names of settings"),
        (lambda x: x, "returned a int, expected a mapping of cells"),
    ],
)
def test_results_that_cannot_be_kept_are_failures(task, sentence):
    from bilevel._sweep._perform import perform

    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(json.loads(perform(task, {"x": 1}, True))["failure"])


def test_a_task_that_exits_takes_nobody_along(tmp_path, threads):
    (item,) = bilevel.sweep(sweeping.leaving, [{"x": 1}], store=tmp_path, executor=threads).items
    assert item.failure == "SystemExit: leave"


def bits(seed):
    return {"dtype": str(jnp.zeros(1).dtype)}


def test_tasks_run_in_the_precision_of_the_driver_and_stores_hold_one(tmp_path, threads):
    grid = [{"seed": 0}]
    (item,) = bilevel.sweep(bits, grid, store=tmp_path, executor=threads).items
    assert item.cells == {"dtype": "float64"}
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match="1 results of x64 True, this sweep is of x64 False"):
            bilevel.sweep(bits, grid, store=tmp_path, executor=threads)
        (item,) = bilevel.sweep(bits, grid, store=tmp_path / "32", executor=threads).items
    assert item.cells == {"dtype": "float32"}


def test_what_a_killed_run_has_half_written_is_no_part_of_what_is_written_next(tmp_path, threads):
    store, grid = tmp_path / "store", [{"x": 1.0}, {"x": 2.0}]
    store.mkdir()
    (store / "sweep.json.part").write_text('{"task": "some')
    first = bilevel.sweep(everything, grid, store=store, executor=threads)
    written = files(store)
    assert len(written) == 4  # the sweep's own, its lock and one for each item
    name = min(written.keys() - {"sweep.json", "sweep.lock"})
    (store / f"{name}.part").write_bytes(written[name][:9])
    (store / name).unlink()
    for _ in range(2):  # written again, then read
        again = bilevel.sweep(everything, grid, store=store, executor=threads)
        assert files(store) == written
        assert [item.settings for item in again.items] == [item.settings for item in first.items]
        assert again.failed == ()
