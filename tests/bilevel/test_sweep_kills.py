"""Sweeps whose driver or workers are killed, by `kill -9`: nothing is lost, doubled or torn."""

import contextlib
import json
import operator
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jax
import pytest
import sweeping

import bilevel
from bilevel._sweep import _processes

HERE = Path(__file__).resolve().parent
KILLS = 20


def driver(folder, count, seconds, executor="None", before=""):
    """A process that sweeps into `folder`/store, with the executor of an expression."""
    script = (
        "import sweeping\nfrom concurrent.futures import ThreadPoolExecutor\n" + before + "\n"
        f"store, folder = {str(folder / 'store')!r}, {str(folder)!r}\n"
        f"sweeping.drive(store, folder, {count}, {seconds}, {executor})"
    )
    path = os.pathsep.join([str(HERE), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "JAX_ENABLE_X64": "1"}
    with (folder / "said").open("ab") as said:
        return subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=said)


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def alive(pid):
    with contextlib.suppress(OSError):
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    return False


def check(folder, count, seconds, most_begun):
    """Each item has one whole file, and none was run more often than kills explain."""
    swept = bilevel.sweep(
        sweeping.noted, sweeping.many(folder, count, seconds), store=folder / "store", version="1"
    )
    assert [item.cells for item in swept.items] == [{"third": x / 3} for x in range(count)]
    names = set(os.listdir(folder / "store")) - {"sweep.json", "sweep.lock"}
    assert len(names) == count
    kept = [json.loads((folder / "store" / name).read_text()) for name in names]
    assert sorted(item["settings"]["x"] for item in kept) == list(range(count))
    lines = [line for line in sweeping.logged(folder) if line[0] == "begin"]
    assert {int(line[1]) for line in lines} == set(range(count))
    assert len(lines) <= most_begun


def test_a_driver_that_is_killed_loses_nothing(tmp_path):
    process = driver(tmp_path, 12, 0.02, "ThreadPoolExecutor(1)")
    wait_for(lambda: len(sweeping.logged(tmp_path)) >= 6)
    process.kill()
    process.wait()
    store = tmp_path / "store"
    before = {path: path.stat().st_mtime_ns for path in store.glob("*.json")}
    assert 2 <= len(before) < 12
    with ThreadPoolExecutor(1) as pool:
        grid = sweeping.many(tmp_path, 12, 0.02)
        bilevel.sweep(sweeping.noted, grid, store=store, executor=pool, version="1")
    check(tmp_path, 12, 0.02, most_begun=12 + 2)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_worker_that_is_killed_takes_its_own_item_alone_and_that_is_run_again(tmp_path):
    grid = [{"folder": str(tmp_path), "x": x} for x in range(4)]
    swept = bilevel.sweep(sweeping.deadly, grid, store=tmp_path / "store", jobs=1)
    assert swept.failed == ()
    pids = [item.cells["pid"] for item in swept.items]
    assert len(set(pids)) == 2
    assert {item.cells["parent"] for item in swept.items} == {os.getpid()}
    assert pids[0] != pids[1]
    assert not any(map(alive, pids))


@pytest.mark.slow
def test_an_item_that_kills_every_worker_is_a_failure(tmp_path):
    swept = bilevel.sweep(sweeping.poison, [{"x": x} for x in range(6)], store=tmp_path, jobs=2)
    (item,) = swept.failed
    assert item.settings == {"x": 1}
    assert item.failure == "killed 3 times: its process was ended by SIGKILL"


@pytest.mark.slow
def test_the_standard_pool_breaks_as_a_whole_which_is_a_sentence(tmp_path):
    grid = [{"x": x} for x in range(4)]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # noqa: SIM117
        with pytest.raises(
            RuntimeError, match=r"ProcessPoolExecutor takes no more .* of 4 results"
        ):
            bilevel.sweep(sweeping.poison, grid, store=tmp_path, executor=pool)
    assert len(bilevel.sweep(sweeping.poison, grid, store=tmp_path, jobs=2).failed) == 1


@pytest.mark.slow
def test_processes_have_their_share_of_cores_and_the_settings_of_jax(tmp_path):
    (item,) = bilevel.sweep(sweeping.surroundings, [{}], store=tmp_path, jobs=2).items
    assert item.cells["promotion"] == "strict"
    assert item.cells["ignores"]
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
        assert item.cells["cores"] == (cores + 1) // 2 if cores > 1 else 1


@pytest.mark.slow
def test_a_script_that_sweeps_on_import_is_a_sentence(tmp_path):
    (tmp_path / "script.py").write_text(
        "import bilevel\n"
        "def task(x):\n    return {}\n"
        f"bilevel.sweep(task, [{{'x': 1}}], store={str(tmp_path / 'store')!r}, jobs=1)\n"
    )
    command = [sys.executable, str(tmp_path / "script.py")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 1
    assert "a process could not start" in run.stderr.splitlines()[-1]
    assert "if __name__ == '__main__':" in run.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_driver(tmp_path, how):
    process = driver(tmp_path, 4, 30.0)
    wait_for(lambda: len(sweeping.logged(tmp_path)) >= 2)
    pids = [int(line[2]) for line in sweeping.logged(tmp_path)]
    assert all(map(alive, pids))
    process.send_signal(how)
    wait_for(lambda: not any(map(alive, pids)), 5.0)
    assert process.wait() != 0


def two_workers() -> Any:
    from distributed import LocalCluster

    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)  # pyright: ignore


def survive(folder, start, workers):
    """Kill the driver or a worker, 20 times at random moments; then let it end."""
    luck = random.Random(14)
    count, seconds = 500, 0.1
    process = start(folder, count, seconds)
    try:
        for number in range(KILLS):
            begun = len(sweeping.logged(folder))
            wait_for(lambda begun=begun: len(sweeping.logged(folder)) > begun)
            time.sleep(luck.uniform(0.0, 1.0))
            assert process.poll() is None, "it had ended before the last kill"
            if number % 2:
                process.kill()
                process.wait()
                process = start(folder, count, seconds)
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(luck.choice(workers()), signal.SIGKILL)
        assert process.wait(200) == 0
    finally:
        process.kill()
        process.wait()
    check(folder, count, seconds, most_begun=count + 4 * KILLS)


@pytest.mark.slow
def test_twenty_kills_of_local_processes_lose_nothing(tmp_path):
    survive(tmp_path, driver, lambda: [int(line[2]) for line in sweeping.logged(tmp_path)[-2:]])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_twenty_kills_on_a_dask_cluster_lose_nothing(tmp_path):
    import dask.config

    # A local cluster gives a worker up that is away so long after it was lost, for a second time
    # too; and a nanny one that is killed on its start.
    patience = {"distributed.deploy.lost-worker-timeout": "1h"}
    with two_workers() as cluster, dask.config.set(patience):
        connect = f"from distributed import Client\nclient = Client({cluster.scheduler_address!r})"

        def start(folder, count, seconds):
            return driver(folder, count, seconds, "client.get_executor()", connect)

        def workers():
            nannies = cluster.workers.values()
            wait_for(lambda: all(n.process.status.name == "running" for n in nannies))
            return [nanny.pid for nanny in nannies]

        survive(tmp_path, start, workers)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_poisoned_item_and_a_cluster_that_ends_are_sentences(tmp_path):
    from distributed import Client

    grid = [{"x": x} for x in range(3)]
    with two_workers() as cluster, Client(cluster) as client:
        pool = client.get_executor()
        (item,) = bilevel.sweep(sweeping.poison, grid, store=tmp_path / "a", executor=pool).failed
        assert "KilledWorker" in str(item.failure)
        assert item.settings == {"x": 1}
        with pytest.raises(
            RuntimeError, match=r"ClientExecutor takes no more items .* are kept in"
        ):
            bilevel.sweep(
                sweeping.noted, sweeping.many(tmp_path, 20, 0.1), store=tmp_path / "b",
                executor=pool, after=lambda _: cluster.close(),
            )  # fmt: skip
    assert len([*(tmp_path / "b").glob("*.json")]) >= 2


class Pipe:
    """Stands in for a process's end of the pipe: the calls that come, and the answers."""

    def __init__(self, *calls: bytes):
        self.calls, self.sent = iter(calls), []

    def recv_bytes(self) -> bytes:
        for call in self.calls:
            return call
        raise EOFError

    def send(self, answer) -> None:
        self.sent.append(answer)


def test_a_process_answers_every_call_until_its_pipe_is_closed(monkeypatch):
    """What a call raises, or what cannot be unpickled there, is an answer and not its end."""
    calls = (
        pickle.dumps((divmod, (7, 2), {})),
        b"cos\nno_such_function\n.",  # of a script that the process does not run
        pickle.dumps((dict, (), {"a": 1})),
        pickle.dumps((operator.getitem, ({}, "k"), {})),
        pickle.dumps((int, ("one",), {})),
    )
    name, changed, done = "jax_numpy_rank_promotion", [], []
    monkeypatch.setattr(_processes, "_end_with_parent", lambda: done.append("watches"))
    monkeypatch.setattr(signal, "signal", lambda *given: done.append(given))
    monkeypatch.setattr(jax.config, "update", lambda *given: changed.append(given))
    pipe: Any = Pipe(*calls)
    _processes._serve(pipe, {name: jax.config.values[name], "jax_debug_nans": "other"})
    ready, *answers = pipe.sent
    assert ready is True
    assert [fine for fine, _ in answers] == [True, False, True, False, False]
    assert (answers[0][1], answers[2][1]) == ((3, 1), {"a": 1})
    assert answers[1][1].startswith("AttributeError: ")
    assert "no_such_function" in answers[1][1]
    assert answers[3][1] == "KeyError: 'k'"
    assert answers[4][1].startswith("ValueError: invalid literal")
    assert changed == [("jax_debug_nans", "other")]
    assert done[0] == (signal.SIGINT, signal.SIG_IGN)
