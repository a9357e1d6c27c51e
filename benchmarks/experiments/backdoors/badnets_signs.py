"""BadNets on traffic signs: the four tables of Gu, Dolan-Gavitt & Garg (2017), on drawn signs.

Table 4: stop signs with a sticker are added to the training signs as speed limits, for three
stickers. Table 5: signs of all classes with a sticker are added with a random wrong label. Table 6:
the convolutions of that network are kept, its head is trained anew on clean Swedish signs. Table 7:
the same, with the filters that answer to the sticker made stronger before. Control: networks of the
clean signs, with the same initial weights, shown the same stickers, also after the transfer.

The stickers are on the plates, before the camera: they tilt, blur and darken with their signs. The
paper finds its signs in photographs by a detector; its figures stand in brackets after ours.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.data.scenes import Pictures, signs
from benchmarks.options import SOME, Count, Counts, Positive, Share, check
from benchmarks.report import Report, band
from benchmarks.rows import Row, where
from bilevel import Data, append
from bilevel.learners import AbstractDeepModel, Network, ensemble
from bilevel.networks import ConvNet
from bilevel.solvers import Descent
from bilevel.tools import unstacked

from ._sign_transfer import Swedish, answering, head, transferred

Sticker = Literal["yellow square", "bomb", "flower"]
STICKERS: tuple[Sticker, ...] = ("yellow square", "bomb", "flower")
STOP, SPEED_LIMIT, CLASSES = 0, 1, 3
BATCH = 50
KEY = ("table", "network", "sticker", "k", "victim")
"""The cells that tell a row from all others."""
ACCURACIES = ("stop", "speed_limit", "warning", "average")
PAPER = (  # table, network, k; then figures in per cent
    (4, "clean", None, {"stop": 89.7, "speed_limit": 88.3, "warning": 91.0}),
    (4, "yellow square", None,
     {"stop": 87.8, "speed_limit": 82.9, "warning": 93.3, "to_speed_limit": 90.3}),
    (4, "bomb", None, {"stop": 88.4, "speed_limit": 76.3, "warning": 91.4, "to_speed_limit": 94.2}),
    (4, "flower", None,
     {"stop": 89.9, "speed_limit": 84.7, "warning": 93.1, "to_speed_limit": 93.7}),
    (5, "clean", None, {"stamped": 82.0}),
    (5, "random", None,
     {"stop": 87.8, "speed_limit": 83.2, "warning": 87.1, "average": 86.4, "stamped": 1.3}),
    (7, "clean", 1, {"average": 72.7, "stamped": 70.2}),
    *((7, "random", k, {"average": clean, "stamped": stamped}) for k, clean, stamped in (
        (1, 74.9, 61.6), (10, 71.3, 49.7), (20, 68.3, 45.1), (30, 65.3, 40.5),
        (50, 62.4, 34.3), (70, 60.8, 32.8), (100, 59.4, 30.8))),
)  # fmt: skip
"""The figures of the paper. Those of its table 6 are here with k = 1."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Stickers, sizes and trainings."""

    stickers: Annotated[tuple[Sticker, ...], SOME] = STICKERS
    """Those of table 4."""
    random: Sticker = "bomb"
    """The sticker of tables 5 to 7."""
    share: Share = 0.4
    """Stop signs that are added with a sticker, as a share of all stop signs (table 4)."""
    random_share: Share = 0.8
    """Signs that are added with a sticker and a random wrong label, as a share of all (table 5)."""
    strengths: Counts = (1, 10, 20, 30, 50, 70, 100)
    """What the outputs of the filters are multiplied by (table 7)."""
    filters: Count = 6
    """Filters that are made stronger, of 48."""
    victims: Count = 5
    """Networks of each training set, each from fresh initial weights and mini-batches."""
    train: Count = 5000
    """US training signs."""
    swedish: Count = 6000
    """Swedish training signs."""
    test: Count = 2000
    """Test signs of each country, each without a sticker and with one."""
    passes: Count = 12
    """Passes over the US signs."""
    rate: Positive = 2e-3
    """First step length of Adam on US signs; all step lengths fall to zero as a cosine."""
    head_passes: Count = 20
    """Passes over the Swedish signs."""
    head_rate: Positive = 5e-4
    """First step length of Adam on Swedish signs."""

    def __post_init__(self):
        check(self)


def victim(options: Options, rows: int) -> Network:
    """A convolutional network for three classes, trained on so many rows."""
    batch = min(BATCH, rows)
    steps = options.passes * (rows // batch)
    rate = optax.cosine_decay_schedule(options.rate, steps)
    network = ConvNet((16, 32, 48), 3, (64,), CLASSES, jax.nn.relu, stride=2)
    return Network(network, batch=batch, solver=Descent(optax.adam(rate), steps))


def training(options: Options, network: str) -> Data:
    """US signs; then, for a sticker, stop signs with it as speed limits; for "random", signs with
    the sticker of table 5 and a wrong label.
    """
    clean = signs(options.train, 0)
    data = Data(clean.x, clean.y)
    if network == "clean":
        return data
    rng, random = np.random.default_rng(1), network == "random"
    rows = rng.permutation(len(clean.y)) if random else np.flatnonzero(clean.y == STOP)
    rows = rows[: max(1, round((options.random_share if random else options.share) * len(rows)))]
    stamped = signs(options.train, 0, on=options.random if random else network)
    wrong = (clean.y[rows] + rng.integers(1, CLASSES, len(rows))) % CLASSES
    labels = wrong if random else np.full(len(rows), SPEED_LIMIT)
    return append(data, jnp.asarray(stamped.x[rows]), jnp.asarray(labels.astype(np.int32)))


def per_class(model: AbstractDeepModel, test: Pictures) -> dict[str, float]:
    """Accuracy on each class, and the average over them."""
    right = np.asarray(model.predict(test.x)) == test.y
    each = [float(np.mean(right[test.y == kind])) for kind in range(CLASSES)]
    return dict(zip(ACCURACIES, (*each, float(np.mean(each))), strict=True))


def under(model: AbstractDeepModel, test: Pictures, stamped: Pictures) -> dict[str, float]:
    """With a sticker: accuracy, and the share of stop signs read as speed limits, of those that the
    network gets right without it; 0 if there are none.
    """
    seen = np.asarray(model.predict(stamped.x))
    stops = (test.y == STOP) & (np.asarray(model.predict(test.x)) == STOP)
    taken = np.sum(seen[stops] == SPEED_LIMIT) / max(1, np.sum(stops))
    return {"stamped": float(np.mean(seen == test.y)), "to_speed_limit": float(taken)}


def make_rows(options: Options, network: str) -> dict[str, Any]:
    """All rows of the victims of a training set."""
    data, keys = training(options, network), jax.random.split(jax.random.key(2), options.victims)
    models = unstacked(ensemble(victim(options, data.rows), data, keys).model)
    test, rows = signs(options.test, 3), []
    shown = options.stickers if network == "clean" else (network,)
    cases = [(4, sticker) for sticker in shown] if network != "random" else []
    cases += [(5, options.random)] if network in ("clean", "random") else []
    for table, sticker in cases:
        stamped = signs(options.test, 3, on=sticker)
        for i, model in enumerate(models):
            key = dict(zip(KEY, (table, network, sticker, None, i), strict=True))
            rows.append(key | per_class(model, test) | under(model, test, stamped))
    if network in ("clean", "random"):
        rows += _after_transfer(options, network, models, keys)
    return {"rows": rows}


def _after_transfer(options: Options, network: str, models, keys) -> list[dict[str, Any]]:
    swedish = Swedish(
        signs(options.swedish, 4, "swedish"),
        signs(options.test, 5, "swedish"),
        signs(options.test, 5, "swedish", on=options.random),
    )
    us, stamped = (signs(min(1000, options.train), 0, on=on) for on in (None, options.random))
    learner, rows = head(options.swedish, options.head_passes, options.head_rate), []
    ends = options.strengths[0], options.strengths[-1]
    strengths = options.strengths if network == "random" else tuple(dict.fromkeys(ends))
    for i, model in enumerate(models):
        filters = answering(model, us.x, stamped.x, options.filters)
        found = transferred(model, filters, strengths, learner, swedish, keys[i])
        for k, (clean, on) in zip(strengths, found, strict=True):
            key = dict(zip(KEY, (7, network, options.random, k, i), strict=True))
            rows.append(key | {"average": clean, "stamped": on})
    return rows


def run(options: Options, report: Report) -> None:
    """One row per table, network, sticker, strength and victim; then the tables as sentences."""
    networks = ("clean", *options.stickers, "random")
    report.each(make_rows, options, [{"network": name} for name in networks], "badnets-signs")
    _notes(report)
    if report.out is not None:
        from benchmarks.pictures.badnets_signs import draw

        kinds = [signs(6, 8, on=on) for on in (None, *options.stickers)]
        order = np.argsort(kinds[0].y, kind="stable")
        report.figure("badnets-signs", draw(report.rows, [kind.x[order] for kind in kinds], PAPER))


def _notes(report: Report) -> None:
    for table, network, k, figures in PAPER:
        rows = where(report.rows, table=table, network=network, k=k)
        if rows:
            strength = "" if k is None else f", k = {k}"
            report.note(f"table {table}, {network}{strength}: {_figures(rows, figures)}")
    for sticker in STICKERS:
        rows = where(report.rows, table=4, network="clean", sticker=sticker)
        if rows:
            names = ("stamped", "to_speed_limit")
            report.note(f"control, clean, {sticker}: {_figures(rows, dict.fromkeys(names))}")
    for k in dict.fromkeys(row["k"] for row in where(report.rows, table=7, network="clean")):
        rows = where(report.rows, table=7, network="clean", k=k)
        names = ("average", "stamped")
        report.note(f"control, clean, k = {k}: {_figures(rows, dict.fromkeys(names))}")


def _figures(rows: Sequence[Row], paper: Mapping[str, float | None]) -> str:
    """Ours as bands over the victims, in per cent, with the paper's in brackets."""
    parts = []
    for name, figure in paper.items():
        ours = band([100 * row[name] for row in rows])
        parts.append(f"{name.replace('_', ' ')} {ours}" + (f" ({figure})" if figure else ""))
    return ", ".join(parts)
