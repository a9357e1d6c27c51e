"""What a row of the transfer experiment is of: the rows, strengths and poison of each figure."""

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.experiments.transfer import transfer
from benchmarks.experiments.transfer.transfer import Options, Shared, make_rows


def test_each_alignment_is_of_the_attacker_s_rows_with_those_of_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = Options(seeds=2, points=3, surrogates=("logistic",), targets=("svm", "ridge"))
    soft = options.strengths.softer(options.softer)

    class Programs:
        """Its gradients are their own arguments."""

        def __init__(self, name: str):
            self.name = name

        def craft(self, *given: Any):
            assert given == (soft, "surrogate", "validation", "start")
            return ["poison 0", "poison 1"], [0, 0]

        def variability(self, *given: Any):
            assert given[:4] == (soft, "surrogate", "validation", "start")
            return [0.25, 0.5]

        def gradient(self, *given: Any):
            return self.name, *given

    def aligned(own: Any, other: Any):
        pairs.append((own, other))
        return SimpleNamespace(joint=[len(pairs), -len(pairs)], mean=[10 * len(pairs), 0])

    def errors(name: str, options: Options, seed: int, split: Any, poison: Any) -> float:
        return float(f"{seed}.{split}") + (name == "ridge") * 100

    pairs: list[tuple[Any, Any]] = []
    made = {name: Programs(name) for name in ("logistic", "svm", "ridge")}
    at_start = ("theirs", "target", "validation", "start")
    shared: Any = Shared
    of = shared(
        [5, 7], "target", "surrogate", "validation", "start", made, {"svm": at_start},
        {(t, seed): [seed, 10 + seed] for t in options.targets for seed in (0, 1)},
    )  # fmt: skip
    monkeypatch.setattr(transfer, "shared", lambda given: of)
    monkeypatch.setattr(transfer, "warm", lambda craft: (craft(), 4.0, 1.0))
    monkeypatch.setattr(transfer, "_aligned", aligned)
    monkeypatch.setattr(transfer, "_sized", lambda g: SimpleNamespace(joint=[6, 8]))
    monkeypatch.setattr(transfer, "errors", errors)
    rows = make_rows(options, "logistic")["rows"]
    poison = ["poison 0", "poison 1"]
    own = [("logistic", soft, "surrogate", "validation", z) for z in ("start", poison)]
    strengths = options.strengths
    assert pairs == [
        (own[0], at_start), (own[1], ("svm", strengths, "target", "validation", poison)),
    ]  # fmt: skip
    assert [(row["target"], row["seed"]) for row in rows] == [
        ("svm", 0), ("svm", 1), ("ridge", 0), ("ridge", 1),
    ]  # fmt: skip
    assert [row["clean_test_err"] for row in rows] == [0, 1, 0, 1]
    assert [row["flip_test_err"] for row in rows] == [10, 11, 10, 11]
    assert [row["test_err"] for row in rows] == [0.5, 1.7, 100.5, 101.7]
    assert [[row[k] for k in ("R", "R_rows", "R_end", "S", "V")] for row in rows] == [
        [1, 10, 2, 6, 0.25], [-1, 0, -2, 8, 0.5], [None] * 4 + [0.25], [None] * 4 + [0.5],
    ]  # fmt: skip
    assert {(row["surrogate"], row["cpu_seconds"], row["compile_seconds"]) for row in rows} == {
        ("logistic", 2.0, 1.0)
    }
