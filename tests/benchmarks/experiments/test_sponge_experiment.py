"""The experiment on sponges, small: what is counted, and rows of both parts."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from benchmarks.__main__ import main
from benchmarks.experiments.backdoors import sponge
from benchmarks.report import UsageError
from bilevel.learners import AbstractDeepModel


class Model(AbstractDeepModel):
    """Two inputs, three units, two logits."""

    parameters: dict

    def activations(self, x, *, key=None):
        return {"dense0": jax.nn.relu(x @ self.parameters["dense0"]["weight"])}

    def decision(self, x, *, key=None):
        return self.activations(x)["dense0"] @ self.parameters["logits"]["weight"]


def test_energy_is_that_of_numbers_that_are_not_zero() -> None:
    weight = jnp.asarray([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
    model = Model({"dense0": {"weight": weight}, "logits": {"weight": jnp.ones((3, 2))}})
    x = jnp.asarray([[1.0, 0.0], [2.0, 1.0]])  # units: 1 0 1 and 3 0 1
    full = (2 + 3) * 2 * 1950 + (6 + 6) * 3.7
    spent = 3 / 4 * (2 * 2 * 1950 + 6 * 3.7) + 4 / 6 * (3 * 2 * 1950 + 6 * 3.7)
    assert sponge.energy(model, x) == pytest.approx(spent / full)
    assert sponge.fired(model, x) == pytest.approx({"fired": 4 / 6, "fired_dense0": 4 / 6})


@pytest.mark.slow
def test_a_sponge_fires_more_and_errs_little_more(tmp_path: Path, capsys) -> None:
    few = ["--strengths", "0", "2.5", "--victims", "1", "--train", "1000", "--passes", "6",
           "--steps", "20", "--examples", "10"]  # fmt: skip
    files = ["--json", str(tmp_path / "a.json"), "--out", str(tmp_path)]
    assert main(["run", "sponge", *few, *files]) == 0
    plain, sponged, digits, noise = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert sponged["fired"] > plain["fired"] + 0.1
    assert sponged["energy"] > plain["energy"]
    assert sponged["test_err"] < plain["test_err"] + 0.1
    for row in (digits, noise):
        assert row["fired"] > row["fired_before"]
    assert (tmp_path / "sponge.png").stat().st_size > 10_000
    assert "sponge examples from noise" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong", [{"strengths": (1.0,)}, {"train": 4900}, {"share": 0.0}, {"victims": 0}]
)
def test_options_that_make_no_sense_are_sentences(wrong) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(wrong))}: got"):
        sponge.Options(**wrong)
