"""The code of README.md runs as printed, given data under the names it uses."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.fixture(scope="module")
def names():
    x, y = load_breast_cancer(return_X_y=True)
    x, y = (x - x.min(axis=0)) / np.ptp(x, axis=0), np.where(y == 1, 1.0, -1.0)
    attacked = x[:60][y[:60] < 0][:5]
    data = {"x_train": x[:60], "y_train": y[:60], "x_val": x[60:160], "y_val": y[60:160]}
    ridge = {"x": jnp.asarray(x[:60]), "y": jnp.asarray(y[:60]), "d": x.shape[1]}

    def loss(w, args):
        rows, labels, l2 = args
        return jnp.mean((rows @ w - labels) ** 2) + l2 * jnp.sum(w**2)

    return {**data, **ridge, "start": jnp.asarray(attacked), "loss": loss}


def test_the_code_runs_and_does_what_it_says(names, capsys, standard_promotion):
    attack, adapt, network, tune = re.findall(
        r"```python\n(.*?)```", README.read_text(), flags=re.S
    )
    exec(attack, names)
    assert float(names["result"].value) > 1.5 * float(names["attack"](names["start"]))
    assert "error at most" in capsys.readouterr().out
    exec(adapt, names)
    names["defended"].fit(names["bilevel"].Data(names["x_train"], names["y_train"]))
    assert np.isfinite(float(names["unaware"](names["start"])))
    assert np.any(np.asarray(jax.grad(names["adapted"])(names["start"])) != 0)
    exec(network, names)
    assert names["poison"].shape == names["start"].shape
    assert np.any(np.asarray(names["poison"]) != np.asarray(names["start"]))
    exec(tune, names)
    assert float(names["best"].value) < float(names["tuning"](jnp.zeros(())))
