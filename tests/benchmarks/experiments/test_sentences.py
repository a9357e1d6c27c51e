"""Sentences and figures that experiments make of rows, against the same made by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.data import Table
from benchmarks.experiments.defenses import roni_spam
from benchmarks.experiments.fairness import _notes, fairness_synthetic
from benchmarks.experiments.fairness._attackers import RIVALS
from benchmarks.experiments.hypergradients import hypergradient_peers
from benchmarks.experiments.model_defenses import _found, fine_pruning
from benchmarks.experiments.scale import throughput
from benchmarks.experiments.svm import svm_2d, svm_gradient
from benchmarks.experiments.targeted import poisoning_benchmark
from benchmarks.experiments.transfer import transfer
from benchmarks.report import Report
from bilevel import Data
from bilevel.results import CONVERGED, RUNNING
from defenses import Roni


def draws(attacker: str, share: float, *pairs: tuple[float | None, float]) -> list[dict[str, Any]]:
    """A row for each pair of disparate impact and error in per cent."""
    return [
        {"attacker": attacker, "share": share, "impact": impact, "test_err": error / 100}
        for impact, error in pairs
    ]


MOVED = {
    "random-flips": ((0.75, 12.0), (1.0, 24.0)),
    "error-generic": ((0.5, 18.0), (1.5, 36.0)),
    "impact": ((0.25, 14.0), (2.0, 22.0)),
    "impact-1-point": ((0.75, 11.0), (None, 21.0)),
    "impact-at-half": ((None, 10.0), (None, 20.0)),
    **dict.fromkeys(("reverse-at-half", "solans"), ((1.0, 12.0), (1.5, 21.0))),
    **dict.fromkeys(RIVALS, ((0.75, 13.0), (0.5, 23.0))),
    **dict.fromkeys((f"impact-as-{rival}" for rival in RIVALS), ((0.5, 13.5), (0.25, 24.5))),
}
"""Without poison disparate impact is 1 and 0.5, at errors of 10 and 20 %."""


def test_attackers_of_fairness_are_compared_draw_by_draw_with_no_poison() -> None:
    options = fairness_synthetic.Options(share=0.2, seeds=2)
    rows = draws("none", 0.0, (1.0, 10.0), (0.5, 20.0))
    for name, pairs in MOVED.items():
        rows += draws(name, 0.2, *pairs) + draws(name, 0.1, (9.0, 90.0), (8.0, 80.0))
    said = _notes.compared(rows, options)
    flips, generic = "0.12 +- 0.38 for 3.0 +- 1.0", "0.25 +- 0.75 for 12.0 +- 4.0"
    assert said[0] == (
        f"impact moves disparate impact by 0.38 +- 1.12 for 3.0 +- 1.0 points of error; random "
        f"flips {flips} points of error, error-generic {generic} points of error: 3.0 times as far "
        "as random flips, 1.5 times as far as error-generic, at 0.25 of its loss of accuracy; "
        "further than error-generic in 2 of 2 draws"
    )
    assert said[1].startswith(
        "impact-1-point moves disparate impact by -0.25 (no privileged row is accepted in 1 draws) "
        "for 1.0 +- 0.0 points"
    )
    assert said[2].startswith(
        "impact-at-half moves disparate impact by infinity (no privileged row is accepted in 2 "
        "draws) for 0.0 +- 0.0 points"
    )
    rival = RIVALS[0]
    assert said[5] == (
        f"impact at the error of {rival}: -0.38 +- 0.12 for 4.0 +- 0.5 points of error; {rival} "
        "-0.12 +- 0.12 for 3.0 +- 0.0 points of error; further in 2 of 2 draws"
    )
    assert len(said) == 5 + len(RIVALS)


def test_a_line_of_figures_leaves_out_draws_without_a_ratio() -> None:
    rows = [
        {"test_err": 0.25, "impact": None, "parity": None, "average_odds": -0.5},
        {"test_err": 0.75, "impact": 2.0, "parity": None, "average_odds": 0.25},
    ]
    assert _notes.line(rows) == (
        "error 50.0 +- 25.0 %, disparate impact 2.00, parity -, average odds -0.12 +- 0.38"
    )


def timed(tool: str, setting: str, ms: float, error: float | None, problem: str = "a"):
    cells = {"tool": tool, "setting": setting, "ms": ms, "error": error}
    return {"problem": problem, **cells}


PEERS = [
    timed("ours", "loose", 1.0, 1e-3), timed("ours", "slow", 9.0, 1e-12),
    timed("ours", "good", 4.0, 1e-8), timed("qpax", "exact", 20.0, 1e-14),
    timed("jaxopt", "fast", 8.0, 1e-7), timed("jaxopt", "wrong", 2.0, 1e-2),
    timed("optimistix", "none", 1.0, None), timed("qpax", "other", 0.1, 1e-15, "b"),
]  # fmt: skip


def test_our_fastest_usable_gradient_stands_beside_those_of_peers() -> None:
    assert hypergradient_peers.summary(PEERS, "a") == (
        "a: ours 4 ms, error 1e-08 (good); fastest peer with an error below 1e-06: jaxopt 8 ms "
        "(2 x), error 1e-07 (fast); most accurate peer with an error below 1e-06: qpax 20 ms (5 x),"
        " error 1e-14 (exact)."
    )
    only = [row for row in PEERS if row["setting"] != "fast"]
    assert hypergradient_peers.summary(only, "a") == (
        "a: ours 4 ms, error 1e-08 (good); fastest peer with an error below 1e-06: qpax 20 ms "
        "(5 x), error 1e-14 (exact)."
    )
    assert hypergradient_peers.summary(PEERS, "b") is None  # none of ours
    assert hypergradient_peers.summary(PEERS[:3], "a") is None


def test_a_peer_that_did_not_converge_says_so() -> None:
    said = hypergradient_peers._said
    assert said(None) == "does not say whether it converged"
    assert said(np.array([True, False, False])) == "says it did not converge (2)"
    assert said(True) == "converged"


def test_the_place_of_the_channels_that_a_trigger_raises_most() -> None:
    """The third and every channel from the tenth of twenty, of which the last three not."""
    without, raised = np.linspace(0, 1, 20), np.zeros(20)
    raised[[3, *range(10, 17)]] = np.linspace(1, 2, 8)
    first, median = fine_pruning._place({"without": without, "stamped": without + raised})
    assert (first, median) == pytest.approx((15.0, 62.5))


def test_victims_of_a_detector_train_on_the_rows_that_it_keeps(monkeypatch) -> None:
    monkeypatch.setattr(_found, "trained", lambda data, passes, seed: (data, passes, seed))
    monkeypatch.setattr(_found, "figures", lambda model, case: (model, case))
    case: Any = SimpleNamespace(poisoned=Data(np.arange(6.0)[:, None], np.arange(6) % 2))
    seen: Any = SimpleNamespace(kept=np.array([1, 0, 1, 1, 0, 0], bool))
    of: Any = SimpleNamespace(passes=7)
    (data, *others), judged = _found.retrained(of, case, seen, 5)  # pyright: ignore
    np.testing.assert_array_equal(data.x[:, 0], [0, 2, 3])
    np.testing.assert_array_equal(data.y, [0, 0, 1])
    assert others == [7, 5]
    assert judged is case


CLIMBED: Any = SimpleNamespace(
    value=np.array([0.5, 0.75]), status=np.array([RUNNING, RUNNING + 1]), message="one stopped",
    steps=np.array([5, 2]),
    history=(
        np.array([[0.1, 0.3, 0.2, 0.25, 0.5, 9.0], [0.25, 0.75, 0.5, 1.0, 9.0, 9.0]]),
        np.arange(24.0).reshape(2, 6, 1, 2),
    ),
)  # fmt: skip


def test_the_path_of_an_ascent_is_of_its_steps_that_rose() -> None:
    np.testing.assert_array_equal(svm_2d._path(CLIMBED, 0), [[0, 1], [2, 3], [8, 9]])
    np.testing.assert_array_equal(svm_2d._path(CLIMBED, 1), [[12, 13], [14, 15]])


def test_ascents_on_the_plane_are_told_beside_its_highest_point() -> None:
    hinge, error = np.array([0.5, np.nan, 2.0]), np.array([0.25, 0.125, np.nan])
    surface: Any = SimpleNamespace(hinge=hinge, error=error, failed=np.array([0, 1, 0], bool))
    ends: Any = SimpleNamespace(hinge=np.arange(1.0, 5), error=np.arange(5.0, 9) / 16)
    made = svm_2d._rows("RBF", CLIMBED, surface, ends)
    assert made["notes"] == ["RBF: 1 of 3 retrainings did not converge", "RBF: one stopped"]
    first, second = made["rows"]
    assert {name: float(cell) for name, cell in second.items() if name != "kernel"} == {
        "start": 1, "start_hinge": 2.0, "hinge": 4.0, "start_val_err": 0.375, "val_err": 0.5,
        "steps": 2, "grid_hinge": 2.0, "share_of_grid": 2.0, "grid_val_err": 0.25,
    }  # fmt: skip
    assert (first["kernel"], first["start_hinge"], first["hinge"]) == ("RBF", 1.0, 3.0)


@pytest.mark.parametrize(
    ("result", "degenerate", "zero", "verdict"),
    [(CONVERGED + 1, True, True, "not solved"), (CONVERGED, True, True, "degenerate"),
     (CONVERGED, False, True, "exactly zero"), (CONVERGED, False, False, "regular")],
)  # fmt: skip
def test_a_certificate_in_a_word(result, degenerate, zero, verdict) -> None:
    found: Any = SimpleNamespace(result=result, degenerate=degenerate, zero=zero)
    assert svm_gradient._verdict(found) == verdict


def test_a_cosine_is_that_of_the_angle_and_none_of_a_zero() -> None:
    a, b = np.array([[3.0, 4.0]]), np.array([[4.0, 3.0]])
    assert svm_gradient._cosine(a, b) == pytest.approx(0.96)
    assert svm_gradient._cosine(a, 0 * b) is None


def test_a_process_has_the_devices_that_it_is_told(monkeypatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", "--some")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    given = throughput._environment(3)
    assert given["XLA_FLAGS"] == "--some --xla_force_host_platform_device_count=3"
    assert given["CUDA_VISIBLE_DEVICES"] == "0,1,2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert throughput._environment(3)["CUDA_VISIBLE_DEVICES"] == "5"


def test_each_poison_is_saved_once_under_its_setting_attack_and_seed(tmp_path, monkeypatch) -> None:
    """Other defenses than the first one meet the same poison."""
    options = poisoning_benchmark.Options(
        attacks=("bullseye", "through the head"), defenses=("none", "partition"), seed=(0, 4)
    )
    report, saved = Report("a", options, out=tmp_path), {}

    def save(*parts: str) -> Any:
        return SimpleNamespace(save=lambda path: saved.update({path.name: parts}))

    def each(make, given, units, description) -> list[dict[str, Any]]:
        return [{"rows": [], "poisons": tuple(map(str, unit.values()))} for unit in units]

    monkeypatch.setattr(poisoning_benchmark, "Poisons", save)
    monkeypatch.setattr(poisoning_benchmark, "_notes", lambda options, report: None)
    monkeypatch.setattr(report, "each", each)
    poisoning_benchmark.run(options, report)
    assert saved == {
        f"small-{attack.replace(' ', '-')}-{seed}.npz": (attack, "none", str(seed))
        for attack in ("bullseye", "through the head") for seed in (0, 4)
    }  # fmt: skip


def test_transfer_without_gradients_has_no_alignment() -> None:
    options = transfer.Options(surrogates=("ridge",), seeds=1)
    report = Report("a", options)
    report.row(
        surrogate="ridge", target="knn", seed=0, clean_test_err=0.125, flip_test_err=0.25,
        test_err=0.5, R=None, R_end=None, S=None, V=1.0,
    )  # fmt: skip
    transfer._notes(options, report)
    assert report.notes[1:] == ["best surrogate on average: ridge", "each: 1 seeds"]


def test_roni_is_timed_beside_a_loop_of_as_many_trainings(monkeypatch) -> None:
    """Once to compile, then the best of three; of 60 mails 50 are timed in the loop."""
    fits, predictions = [], []

    class Timed:
        def __init__(self, C):
            assert pytest.approx(60 / defended.train) == C  # that of as many rows

        def fit(self, x, y):
            fits.append(len(x))
            assert set(y) == {-1.0, 1.0}
            return self

        def predict(self, x):
            predictions.append(len(x))

    options = roni_spam.Options(train=60, draws=2)
    defended = Roni(roni_spam.filter_of("logistic", options), 2)
    seconds, clock = iter((9.0, 2.0, 1.5, 3.0)), iter((10.0, 16.0))
    monkeypatch.setattr(roni_spam, "timed", lambda call: (None, 0.0, next(seconds)))
    monkeypatch.setattr(roni_spam.time, "process_time", lambda: next(clock))
    monkeypatch.setattr(roni_spam, "LogisticRegression", Timed)
    table = Table(np.eye(70), np.where(np.arange(70) % 5, -1.0, 1.0), ("a",) * 70)
    assert roni_spam._speed(table, options) == (
        "RONI on 60 mails, 240 trainings of the logistic filter: 1.5 CPU s, 5 times faster than "
        "scikit-learn in a loop (7.2 s, from 50 mails)"
    )
    assert fits == [defended.train, defended.train + 1] * 100
    assert set(predictions) == {min(defended.validation, 61 - defended.train)}
