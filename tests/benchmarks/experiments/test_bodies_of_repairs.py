"""Hypergradients of unlearning on a small network, and what is drawn of reversed triggers."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import put, said, tells

from benchmarks.experiments.model_defenses import i_bau, neural_cleanse

pytestmark = pytest.mark.stand_ins
SGD = SimpleNamespace(sgd=tells("sgd"))


def test_small_networks_have_a_backdoor_and_clean_digits_of_their_own(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    digits = SimpleNamespace(
        images=rng.integers(0, 255, (650, 28, 28)), labels=np.arange(650) * 7 % 10
    )
    put(
        monkeypatch, i_bau, mnist=lambda: digits, square=tells("square"), AllToOne=tells("all"),
        Descent=tells("descent"), optax=SGD, ravel_pytree=lambda tree: (tree, "unravel"),
        stamp=lambda *given: SimpleNamespace(
            example=lambda train: ("example", train), inject=lambda z, train: (given, z, train)
        ),
        Network=lambda *given, **settings: SimpleNamespace(
            fit=lambda data, key: SimpleNamespace(
                model=SimpleNamespace(parameters=(given, sorted(settings.items()), data, key)))
        ),
    )  # fmt: skip
    of = i_bau.small(5)
    order = np.random.default_rng(5).permutation(650)[:600]
    x = digits.images.reshape(650, 7, 4, 7, 4).mean(axis=(2, 4))[order, ..., None] / 255
    y = digits.labels[order]
    assert said(of.clean.x, of.clean.y) == said(x[400:], y[400:])
    assert said(of.outer.x, of.outer.y) == said(x[400:450], y[400:450])
    (body,), settings, (stamped, z, train), key = of.flat  # pyright: ignore
    assert (body, of.unravel) == (i_bau.BODY, "unravel")
    solver = ("descent", ("sgd", 0.5, ("momentum", 0.9)), 300)
    assert settings == [("l2", 1e-3), ("solver", solver)]
    assert said(train.x, train.y, key) == said(x[:400], y[:400], jax.random.key(5))
    assert (stamped[2] is train, z) == (True, ("example", train))
    assert said(stamped[0]) == said(jax.random.key(5))
    assert (stamped[1], stamped[3:]) == (("square", (7, 7, 1), 2), (0.1, ("all", 7)))


class Ball:
    """Its worst shift follows the parameters."""

    def __init__(self, radius: float, penalty: float = 0.0, rate: float = 1.0, rows: Any = None,
                 solver: Any = None, derivative: Any = "plain"):  # fmt: skip
        self.radius, self.penalty, self.rate, self.rows = radius, penalty, rate, rows
        self.solver, self.derivative = solver, derivative

    def worst(self, body: Any, parameters: Any, clean: Any, loss: Any) -> Any:
        assert (body, clean, loss) == ("body", "clean", mean_loss)
        return parameters["w"] ** 2


def mean_loss(y: Any, logits: Any) -> Any:
    return y * logits


def test_the_loss_of_the_worst_shift_moves_with_the_parameters_or_not(monkeypatch) -> None:
    body = SimpleNamespace(apply=lambda p, x: SimpleNamespace(logits=(p["w"][None] * x).sum(1)))
    x, y = jnp.array([[1.0, 2.0], [3.0, 5.0]]), jnp.array([1.0, -0.5])
    flat = jnp.array([0.5, -2.0])
    of: Any = SimpleNamespace(
        unravel=lambda flat: {"w": flat}, clean="clean", outer=SimpleNamespace(x=x, y=y), flat=flat
    )
    ball: Any = Ball(1.0)
    monkeypatch.setattr(Ball, "worst", lambda self, body, p, clean, loss: p["w"] ** 2)
    put(monkeypatch, i_bau, BODY=body, LOSS=mean_loss, outer=i_bau.outer.__wrapped__)  # pyright: ignore
    w = np.asarray(flat)
    logits = (np.asarray(x) + w**2) @ w
    assert float(i_bau.outer(of, ball, flat)) == pytest.approx(np.mean(np.asarray(y) * logits))
    per_row = [np.asarray(x) + (3 if moves else 1) * w**2 for moves in (True, False)]
    for still, slopes in zip((False, True), per_row, strict=True):
        found = i_bau.slope.__wrapped__(of, ball, still)  # pyright: ignore
        np.testing.assert_allclose(found, np.mean(np.asarray(y)[:, None] * slopes, axis=0))


def test_hypergradients_of_small_networks_are_held_against_differences(monkeypatch) -> None:
    flat = jnp.array([0.5, -2.0, 1.0])
    exact = {np.inf: jnp.array([1.0, 2.0, 3.0]), 1.0: jnp.array([2.0, -1.0, 0.5])}
    kinds: dict[Any, float] = {}

    def slope(of: Any, ball: Ball, still: bool) -> Any:
        off = {("plain", True): 0.5}.get((ball.derivative, still))
        off = kinds[ball.derivative, ball.radius] if off is None else off
        return exact[ball.radius] + off * jnp.array([0.0, 0.0, 1.0])

    for radius, rate in ((np.inf, 0.2), (1.0, 0.3)):
        kinds["implicit", radius] = 0.0
        kinds[("implicit", ("neumann", 5, ("rate", 1.0))), radius] = 0.125
        kinds[("implicit", ("neumann", 5, ("rate", 0.1 / rate))), radius] = 0.25
    put(
        monkeypatch, i_bau, small=lambda seed: SimpleNamespace(flat=flat, seed=seed), Ball=Ball,
        outer=lambda of, ball, at: jnp.sum(exact[ball.radius] * at) + jnp.sum(at**3), slope=slope,
        Implicit=lambda *given: ("implicit", *given) if given else "implicit",
        Neumann=tells("neumann"), PICARD="picard",
    )  # fmt: skip
    rows = i_bau.small_rows(i_bau.Options(), 5)["rows"]
    along = np.random.default_rng(5).normal(size=3)
    along /= np.linalg.norm(along)
    expected = []
    for place, radius in (("inside", np.inf), ("on the sphere", 1.0)):
        truth = float((np.asarray(exact[radius]) + 3 * np.asarray(flat) ** 2) @ along)
        for name, off in (("exact implicit", 0.0), ("five terms", 0.125),
                          ("five terms of step .1", 0.25), ("none", 0.5)):  # fmt: skip
            found = np.asarray(exact[radius]) + off * np.array([0, 0, 1.0])
            expected.append({
                "seed": 5, "maximum": place, "derivative": name,
                "off_differences": pytest.approx(abs((found @ along - truth) / truth), rel=1e-6),
                "off_exact": pytest.approx(off / np.linalg.norm(exact[radius])),
            })  # fmt: skip
    assert rows == expected


def test_masks_are_drawn_beside_the_true_ones_of_infected_first_networks(monkeypatch) -> None:
    from benchmarks.pictures import neural_cleanse as picture

    rows = [
        {"seed": seed, "infected": infected, "trigger": "square", "size": 2 + k}
        for k, (seed, infected) in enumerate(((0, True), (1, True), (0, False)))
    ]
    made = [{"rows": [row], "masks": k} for k, row in enumerate(rows)]
    shown: list[Any] = []
    put(
        monkeypatch, neural_cleanse, _notes=lambda *given: None,
        infection=lambda options, trigger, size: (trigger, size),
        trigger=lambda of: SimpleNamespace(mask=np.full((1, 1, 2), of[1])),
    )  # fmt: skip
    put(monkeypatch, picture, draw=lambda *given: given)
    report: Any = SimpleNamespace(
        out="folder", rows="rows", each=lambda *given: made,
        figure=lambda *given: shown.append(given),
    )  # fmt: skip
    neural_cleanse.run(neural_cleanse.Options(), report)
    ((name, (all_rows, first, ((mask, masks),))),) = shown
    assert (name, all_rows, first) == ("neural-cleanse", "rows", [rows[0]])
    assert (mask.tolist(), masks) == ([[2]], 0)
