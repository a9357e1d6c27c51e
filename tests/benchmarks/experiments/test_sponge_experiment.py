"""The experiment on sponges, small: what is counted, and rows of both parts."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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


def test_weights_of_a_convolution_count_at_each_place() -> None:
    """Nine places of five filters on four by four pixels, then three units, and two logits."""
    conv = np.ones((2, 3, 3, 5))
    conv[0, 0], conv[1, :, :, 2] = 0, 0
    dense = np.array([[1.0, 0, 0], [2.0, 3, 4]])
    shapes = {"conv0": (2, 2, 1, 5), "dense0": (45, 3), "logits": (3, 2)}
    model: Any = SimpleNamespace(
        activations=lambda x: {"conv0": jnp.asarray(conv), "dense0": jnp.asarray(dense)},
        parameters={name: {"weight": jnp.ones(shape)} for name, shape in shapes.items()},
    )
    x = np.ones((2, 4, 4, 1))
    x[1, 0] = 0
    costs = [20 * 9 * 3.7 + 2 * 1950 * 16, 135 * 3.7 + 2 * 1950 * 45, 6 * 3.7 + 2 * 1950 * 3]
    shares = [28 / 32, (30 + 36) / 90, 4 / 6]
    assert sponge.energy(model, jnp.asarray(x)) == pytest.approx(np.dot(shares, costs) / sum(costs))
    found = sponge.fired(model, jnp.asarray(x))
    assert found == pytest.approx(
        {"fired": (66 + 4) / 96, "fired_conv0": 66 / 90, "fired_dense0": 4 / 6}
    )


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
