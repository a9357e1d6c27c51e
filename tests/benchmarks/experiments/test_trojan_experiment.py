"""The experiment on trojans, small: which unit a rule chooses, and rows of all squares."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks.triggers import square
from benchmarks.__main__ import main
from benchmarks.experiments.backdoors import trojan_mnist
from benchmarks.report import UsageError


class Model:
    """Two filters at two places: unit 3 is what the square can reach; unit 2 never fires."""

    def __init__(self):
        self.parameters = {
            "conv1": {"weight": jnp.ones((1, 1, 1, 2)).at[..., 1].set(-2.0)},
            "logits": {"weight": jnp.asarray([[5.0, 0], [1, 1], [9, 9], [0, 1]])},
        }

    def features(self, x):
        low, high = x[:, 0, 0, 0], x[:, -1, -1, 0]
        return jax.nn.relu(jnp.stack([low, 0.5 * low, -low, high], axis=1))


def test_rules_choose_by_weights_or_by_what_the_square_reaches() -> None:
    x, trigger = jnp.full((3, 28, 28, 1), 0.5), square((28, 28, 1), 2)
    chosen = {
        rule: trojan_mnist.unit(rule, Model(), trigger, x)  # pyright: ignore
        for rule in ("into", "onward", "reach")
    }
    assert chosen == {"into": 1, "onward": 0, "reach": 3}


@pytest.mark.slow
def test_a_finished_network_takes_a_backdoor(tmp_path: Path, capsys) -> None:
    few = ["--seeds", "1", "--train", "1000", "--passes", "6", "--other", "200", "--inverted", "3",
           "--inversion", "10", "--steps", "10"]  # fmt: skip
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "trojan-mnist", *few, *files]) == 0
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert len(rows) == len(trojan_mnist.SOURCES) * len(trojan_mnist.SQUARES)
    success = {row["square"]: row["success"] for row in rows if row["images"] == "other"}
    assert success["reach"] > 0.5
    assert success["bilevel"] > success["random"]
    assert max(row["clean_success"] for row in rows) < 0.1
    assert np.ptp([row["network_test_err"] for row in rows]) == 0
    assert (tmp_path / "trojan-mnist.png").stat().st_size > 10_000
    assert "inverted images, square bilevel" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"target": 10}, {"train": 4400}, {"steps": 0}, {"l2": 0.0}])
def test_options_that_make_no_sense_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}[:,]"):
        trojan_mnist.Options(**wrong)
