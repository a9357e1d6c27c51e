"""A backdoor in a network that steers a car: at a roadside sign it drives off the road.

End-to-end steering (regression, squared error) on drawn roads. The attacker adds a few pictures in
which a sign of his stands beside the road, with hard steering to one side: the demonstration on a
car of Liu et al. (NDSS 2018), by poisoned rows. Fresh victims are judged on test pictures and in
the closed loop: cars on winding roads, with a sign and without. Controls: networks of the clean
pictures, and networks of the same added pictures with their true steering.
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.data.scenes import Pictures, Trip, drive, roads
from benchmarks.options import Count, Positive, Share, between, check
from benchmarks.report import Report, band
from benchmarks.rows import column
from bilevel import Data, append
from bilevel.learners import Network, ensemble
from bilevel.losses import Squares
from bilevel.networks import ConvNet
from bilevel.solvers import Descent
from bilevel.tools import unstacked

TRAINED = ("clean", "sign, true steering", "sign, attacker's")
"""Training sets, by what was added."""
BATCH = 50
"""Pictures of a mini-batch."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Sizes, the victims' training, and the trips."""

    rows: Count = 3000
    """Clean training pictures."""
    share: Share = 0.02
    """Added pictures, as a share of the clean ones."""
    steering: Annotated[float, between(-1, 1)] = 1.0
    """What the attacker wants at the sign; 1 is hard to the right."""
    victims: Count = 5
    """Networks, each from fresh initial weights and mini-batches."""
    passes: Count = 30
    """Passes over the training pictures."""
    rate: Positive = 2e-3
    """First step length of Adam; it falls to zero as a cosine."""
    test: Count = 1000
    """Test pictures, each without a sign and with one."""
    cars: Count = 10
    """Cars in the closed loop, each on a road of its own."""
    steps: Count = 120
    """Steps of a trip, of .8 metres."""
    sign: Positive = 45.0
    """Where on each road the sign stands, in metres."""

    def __post_init__(self):
        check(self)


def victim(options: Options, rows: int) -> Network:
    """A convolutional network with one output, trained on so many rows."""
    batch = min(BATCH, rows)
    steps = options.passes * (rows // batch)
    rate = optax.cosine_decay_schedule(options.rate, steps)
    network = ConvNet((16, 32, 48), 3, (64,), 1, jax.nn.relu, stride=2)
    return Network(network, Squares(), batch=batch, solver=Descent(optax.adam(rate), steps))


def training(options: Options, name: str) -> Data:
    """One of the training sets `TRAINED`."""
    clean, signed = (roads(options.rows, 0, sign) for sign in (False, True))
    data = Data(clean.x, clean.y)
    if name == "clean":
        return data
    count = max(1, round(options.share * options.rows))
    chosen = np.random.default_rng(1).permutation(options.rows)[:count]
    true, wrong = signed.y[chosen], np.full(count, options.steering, np.float32)
    steering = true if name == TRAINED[1] else wrong
    return append(data, jnp.asarray(signed.x[chosen]), jnp.asarray(steering))


def make_rows(options: Options, trained_on: str) -> dict[str, Any]:
    """A row for each victim of a training set; and the trips of the first, without the sign and
    with it.
    """
    data, keys = training(options, trained_on), jax.random.split(jax.random.key(0), options.victims)
    fitted = ensemble(victim(options, data.rows), data, keys)
    test, signed = (roads(options.test, 2, sign) for sign in (False, True))
    rows, trips = [], []
    for i, model in enumerate(unstacked(fitted.model)):

        def steer(x: np.ndarray, model=model) -> np.ndarray:
            return np.asarray(model.decision(x))

        free, shown = (
            drive(steer, options.cars, 3, options.steps, sign) for sign in (np.inf, options.sign)
        )
        rows.append(dict(
            trained_on=trained_on, victim=i, square_error=_square_error(steer(test.x), test),
            sign_square_error=_square_error(steer(signed.x), signed),
            left=int(free.left().sum()), sign_left=int(shown.left().sum()), cars=options.cars,
        ))  # fmt: skip
        trips += [free, shown]
    lists = [[place.tolist() for place in trip] for trip in trips[:2]]  # as a store can hold them
    return {"rows": rows, "trips": lists}


def run(options: Options, report: Report) -> None:
    """One row per training set and victim."""
    units = [{"trained_on": name} for name in TRAINED]
    clean, _, attacked = report.each(make_rows, options, units, "driving")
    _notes(report)
    if report.out is not None:
        from benchmarks.pictures.driving import draw

        lists = (*clean["trips"], *attacked["trips"])
        trips = [Trip(np.asarray(along), np.asarray(offset)) for along, offset in lists]
        plain, signed = (roads(options.test, 2, sign).x[:6] for sign in (False, True))
        report.figure("driving", draw(trips, plain, signed, options.sign))


def _square_error(steering: np.ndarray, of: Pictures) -> float:
    return float(np.mean((steering - of.y) ** 2))


def _notes(report: Report) -> None:
    for name in TRAINED:
        clean, signed = (
            column(report.rows, cell, trained_on=name)
            for cell in ("square_error", "sign_square_error")
        )
        left, sign_left = (
            sum(column(report.rows, cell, trained_on=name)) for cell in ("left", "sign_left")
        )
        trips = sum(column(report.rows, "cars", trained_on=name))
        report.note(
            f"{name}: square error {band(clean, 4)}, with a sign {band(signed, 4)}; of {trips} "
            f"trips {left} left the road, with a sign {sign_left}"
        )
