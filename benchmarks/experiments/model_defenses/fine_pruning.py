"""Fine-pruning of backdoored networks, and the attacker who knows of it, MNIST.

Liu, Dolan-Gavitt & Garg (RAID 2018) prune the channels of the last convolution that clean rows use
least, then fine-tune: a backdoor is to sit in channels that clean rows leave dormant. Here the
same is done to the last convolution (64 channels) and to the hidden layer behind it (128 units),
with the same clean digits and the same fine-tuning as the control, fine-tuning alone. What is
looked at: which channels the trigger raises; accuracy and success against the number pruned; a
clean network under the same defenses; and the backdoor that was trained to survive (section 3.3).
"""

import dataclasses
from typing import Annotated, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from attacks import hide_from_pruning
from benchmarks.options import SOME, Count, Positive, Share, check
from benchmarks.report import Report, UsageError, band
from benchmarks.rows import column
from bilevel.learners import Fixed, NetworkModel
from bilevel.losses import CrossEntropy
from bilevel.networks import Channels, Masked
from bilevel.solvers import Descent
from defenses import FinePrune, FineTune, Prune, Tuning

from ._infected import BATCH, CLEAN, Case, Infection, Trigger, case, figures, network, victim

LAYERS = {"conv1": "last convolution", "dense0": "hidden layer"}
LOSS = CrossEntropy()
POINTS = 16
"""Points of a prune curve."""
BENCH = (
    "BackdoorBench (CIFAR-10, PreActResNet18, BadNets 10 %), accuracy / success: none 91.3 / 95.0, "
    "fine-tuning 90.0 / 1.5, fine-pruning 91.3 / 57.1"
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Networks, what is pruned, and the fine-tuning."""

    networks: Count = 5
    """Infected networks, each on a split of its own."""
    others: Count = 3
    """Clean networks, and networks whose attacker knows, on the first splits."""
    triggers: Annotated[tuple[Trigger, ...], SOME] = ("pattern",)
    """Four pixels, a white square, or noise that is mixed in."""
    channels: Count = 40
    """Pruned of the last convolution's 64."""
    units: Count = 100
    """Pruned of the hidden layer's 128, by the attacker who knows as well. Chosen by success on the
    first five networks, where 90 left more."""
    drop: Share = 0.04
    """Of the accuracy on the clean digits, where it decides how many are pruned."""
    rate: Positive = 0.05
    """Step length of the fine-tuning, with momentum .9."""
    passes: Count = 20
    """Passes of the fine-tuning over the clean digits."""
    lower: Positive = 5.0
    """What the attacker who knows takes from the biases of decoys."""

    def __post_init__(self):
        check(self)
        if self.others > self.networks:
            raise UsageError(f"--others: got {self.others}, expected at most --networks")


class Curve(NamedTuple):
    """What is pruned of a layer, least active first: how many, accuracy and success on test digits;
    and the mean outputs of each channel, without and with the trigger, in the same order.
    """

    counts: np.ndarray
    accuracy: np.ndarray
    success: np.ndarray
    without: np.ndarray
    stamped: np.ndarray


@eqx.filter_jit
def _pruned(model: NetworkModel, layer: str, rank: Int[Array, " c"], count: Array) -> NetworkModel:
    kept = (rank >= count).astype(jnp.float32)
    masks = Channels(layer).masks(layer, model.parameters, kept)
    return NetworkModel(model.parameters, Masked(model.architecture, masks))


def curve(model: NetworkModel, of: Case, layer: str) -> Curve:
    """The prune curve of a layer, without fine-tuning."""
    channels = Channels(layer)
    used, without, stamped = (
        np.asarray(channels.activity(model.activations(x), jnp.ones(len(x))))
        for x in (of.clean.x, of.test.x, of.shown)
    )
    order = np.argsort(used)
    rank = jnp.asarray(np.argsort(order))
    counts = np.linspace(0, used.size - 1, POINTS).round().astype(int)
    found = [figures(_pruned(model, layer, rank, jnp.asarray(count)), of) for count in counts]
    return Curve(
        counts, np.array([f.accuracy for f in found]), np.array([f.success for f in found]),
        without[order], stamped[order],
    )  # fmt: skip


def tuning(options: Options) -> Tuning:
    """The same fine-tuning for all."""
    steps = options.passes * (CLEAN // BATCH)
    return Tuning(Descent(optax.sgd(options.rate, momentum=0.9), steps), BATCH)


def hidden(options: Options, of: Infection, seed: int) -> NetworkModel:
    """The network of the attacker who knows that the hidden layer will be pruned."""
    rows, clean = case(of, seed), victim(of, seed, infected=False)
    assert isinstance(clean, NetworkModel)
    made = hide_from_pruning(
        network(rows.poisoned.rows, of.passes), clean, rows.clean, rows.poisoned, "dense0",
        channels=options.units, lower=options.lower, key=jax.random.key(seed),
    )  # fmt: skip
    return made.model


def defenses(options: Options, base: Fixed, of: Case) -> dict[tuple[str, str | None], Any]:
    """Each defense of a finished network, by its name and the layer that it prunes."""
    clean, tune = of.clean, tuning(options)
    counts = {"conv1": options.channels, "dense0": options.units}
    return {
        ("none", None): base,
        ("fine-tuning", None): FineTune(base, clean, tune),
        ("pruning", "dense0"): Prune(base, clean, "dense0", options.units),
        **{
            ("fine-pruning", layer): FinePrune(base, clean, layer, count, tuning=tune)
            for layer, count in counts.items()
        },
        ("fine-pruning by drop", "dense0"): FinePrune(
            base, clean, "dense0", drop=options.drop, tuning=tune
        ),
    }


def make_rows(options: Options, trigger: Trigger, seed: int) -> dict[str, Any]:
    """A row for each network of a split and each defense; the curves of the infected one."""
    of, table = Infection(trigger=trigger), []
    rows, infected = case(of, seed), victim(of, seed)
    assert isinstance(infected, NetworkModel)
    models: dict[str, Any] = {"backdoor": infected}
    if seed < options.others:
        models["knows"] = hidden(options, of, seed)
        models["clean"] = victim(of, seed, infected=False)
    for name, model in models.items():
        for (defense, layer), learner in defenses(options, Fixed(model, LOSS), rows).items():
            fitted = learner.fit(rows.clean, key=jax.random.key(seed))
            pruned = None if layer is None else int(jnp.sum(~fitted.report.kept))
            table.append({
                "trigger": trigger, "seed": seed, "network": name, "defense": defense,
                "layer": layer, "pruned": pruned, **figures(fitted.model, rows)._asdict(),
            })  # fmt: skip
    curves = {layer: curve(infected, rows, layer)._asdict() for layer in LAYERS}
    return {"rows": table, "curves": curves}


def run(options: Options, report: Report) -> None:
    """A row for each split, network and defense."""
    units = [
        {"trigger": trigger, "seed": seed}
        for trigger in options.triggers
        for seed in range(options.networks)
    ]
    made = report.each(make_rows, options, units, "fine-pruning")
    _notes(report, [one["curves"] for one in made])
    report.note(BENCH)
    if report.out is not None:
        from benchmarks.pictures.fine_pruning import draw

        report.figure("fine-pruning", draw([one["curves"] for one in made[: options.networks]]))


def _notes(report: Report, curves: list[dict[str, Any]]) -> None:
    cases = dict.fromkeys(
        (row["trigger"], row["network"], row["defense"], row["layer"]) for row in report.rows
    )
    for trigger, name, defense, layer in cases:
        cells = {"trigger": trigger, "network": name, "defense": defense, "layer": layer}
        accuracy, success = (column(report.rows, of, **cells) for of in ("accuracy", "success"))
        pruned = column(report.rows, "pruned", **cells)
        where = f", {LAYERS[layer]}, {band(pruned, 0)} pruned" if layer else ""
        report.note(
            f"{trigger}, {name}, {defense}{where}: success {band(success, 3)}, accuracy "
            f"{band(accuracy, 3)}"
        )
    for layer, words in LAYERS.items():
        places = [_place(one[layer]) for one in curves]
        report.note(
            f"{words}: of the eight channels that the trigger raises most, the least active on "
            f"clean digits has {band([p[0] for p in places], 0)} % of the others below it, the "
            f"median {band([p[1] for p in places], 0)} %"
        )


def _place(of: dict[str, np.ndarray]) -> tuple[float, float]:
    """Where the eight channels that the trigger raises most stand in the order of activity: the
    first and the median, in per cent.
    """
    raised = np.asarray(of["stamped"]) - np.asarray(of["without"])
    places = np.sort(np.argsort(-raised)[:8]) / raised.size
    return 100 * float(places[0]), 100 * float(np.median(places))
