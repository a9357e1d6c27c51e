"""Activation clustering: which of the rows that a network is trained on are stamped copies, MNIST.

Chen et al., 2018: the rows of each class are split in two by the features of the trained network,
and the smaller part is dropped where a rule takes it for poison. Published, all digits become the
next, on full MNIST: 99.97 % of the rows are told apart at 10, 15 and 33 % of poison in a class.
Where all copies go to one class they are half of it and the rule by size finds nothing: shares are
of the whole data. The attacker who knows of it optimises his trigger: features of stamped rows are
drawn to those of the class whose label they get, on a network of his own. Controls: clean rows.
"""

import dataclasses
import functools
from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from attacks import Stamp, compose
from attacks.goals import AbstractGoal
from benchmarks.options import SOME, Count, Positive, Shares, check
from benchmarks.report import Report, band
from bilevel import maximize
from bilevel.learners import Fixed
from defenses import ActivationClustering, NearOther, Silhouette, SmallCluster

from ._found import CLASSES, found, retrained
from ._infected import Case, Infection, case, figures, trained, victim

RULES = {"small": SmallCluster(), "silhouette": Silhouette(), "near-other": NearOther()}


@dataclasses.dataclass(frozen=True)
class Options:
    """Attacks, rules and sizes."""

    shares: Shares = (0.1, 0.15, 0.33)
    """Copies in units of the clean digits, all digits to the next. All to one is tried at .1."""
    rules: Annotated[tuple[Literal["small", "silhouette", "near-other"], ...], SOME] = (
        "small", "silhouette", "near-other",
    )  # fmt: skip
    """Which small cluster is poison."""
    components: Annotated[tuple[Literal["independent", "principal"], ...], SOME] = (
        "independent", "principal",
    )  # fmt: skip
    """What k-means sees: components of unit variance, as in the paper, or as they are."""
    seeds: Count = 3
    """Splits, each with its networks."""
    passes: Count = 15
    """Passes of a training."""
    steps: Count = 60
    """Steps of the attacker who knows."""
    step: Positive = 0.05
    """Length of his steps, in every pixel."""
    full: bool = False
    """All official digits, from the folder in `BILEVEL_DATA` or fetched."""

    def __post_init__(self):
        check(self)


class Among(AbstractGoal):
    """Features of stamped rows x (n, ...) near the mean feature of the class that they are to be
    read as: minus the mean squared distance, in units of the squared distance of class means.
    """

    x: Float[Array, "n ..."]
    means: Float[Array, "n f"]

    def score(self, model, world, *, key=None):
        apart = model.features(world.shown(self.x, key=key)) - self.means
        middle = jnp.mean(self.means, axis=0, keepdims=True)
        spread = jnp.mean(jnp.sum((self.means - middle) ** 2, axis=1))
        return -jnp.mean(jnp.sum(apart**2, axis=1)) / spread


class Adapted(NamedTuple):
    """The rows of an attacker who knows, and his term before and after."""

    case: Case
    before: float
    after: float


@functools.lru_cache(2)
def adapted(options: Options, of: Infection, seed: int) -> Adapted:
    """The case with a trigger optimised on the attacker's own network, of the clean rows."""
    rows = case(of, seed)
    model = victim(of, seed + 1000, infected=False)
    y, wanted = np.asarray(rows.train.y), np.asarray(rows.labels.labels(rows.train.y))
    features = np.asarray(model.features(rows.train.x))
    means = np.stack([features[y == label].mean(axis=0) for label in range(CLASSES)])
    some = np.random.default_rng(seed).permutation(len(y))[:300]
    goal = Among(rows.train.x[some], jnp.asarray(means[wanted[some]]))
    attack = compose(Fixed(model), rows.reach, goal, rows.train)
    start = rows.reach.example(rows.train)
    result = maximize(
        attack, start, optimizer=optax.adam(options.step), project=rows.reach.project,
        steps=options.steps,
    )  # fmt: skip
    reach: Stamp = rows.reach
    poisoned, shown = reach.inject(result.z, rows.train), reach.present(result.z, rows.test.x)
    moved = rows._replace(poisoned=poisoned, shown=shown)
    return Adapted(moved, float(attack(start)), float(result.value))


def make_rows(options: Options, kind: str, share: float, seed: int) -> dict[str, Any]:
    """What each rule finds in one training set."""
    label_map = "one" if kind == "all to one" else "next"
    of = Infection(label_map, passes=options.passes, share=share, full=options.full)
    more: dict[str, Any] = {}
    if kind in ("blended", "adapted"):
        of = dataclasses.replace(of, trigger="blended")
    if kind == "adapted":
        rows, more["before"], more["after"] = adapted(options, of, seed)
        model = trained(rows.poisoned, of.passes, seed)
    else:
        rows = case(of, seed)
        model = victim(of, seed, infected=kind != "clean")
    data = rows.train if kind == "clean" else rows.poisoned
    poison = np.zeros(data.rows, bool) if kind == "clean" else rows.poison
    made = []
    for rule in options.rules:
        for components in options.components:
            defense = ActivationClustering(
                Fixed(model), RULES[rule], whiten=components == "independent"
            )
            seen = defense.inspect(data)
            cells = {"rule": rule, "components": components, **found(seen, data, poison)}
            if kind != "clean" and (rule, components) == (options.rules[0], options.components[0]):
                before, after = figures(model, rows), retrained(of, rows, seen, seed)
                cells |= {
                    "success": before.success, "success_after": after.success,
                    "accuracy": before.accuracy, "accuracy_after": after.accuracy,
                }  # fmt: skip
            made.append({"kind": kind, "share": share, "seed": seed, **cells, **more})
    return {"rows": made}


def run(options: Options, report: Report) -> None:
    """Rows for each attack, share, split, rule and kind of components."""
    kinds = [("all to next", share) for share in options.shares]
    kinds += [("all to one", 0.1), ("blended", 0.1), ("adapted", 0.1), ("clean", 0.1)]
    units = [
        {"kind": kind, "share": share, "seed": seed}
        for seed in range(options.seeds)
        for kind, share in kinds
    ]
    report.each(make_rows, options, units, "activation-clustering")
    for kind, share in kinds:
        rows = [
            row for row in report.rows
            if (row["kind"], row["share"]) == (kind, share)
            and (row["rule"], row["components"]) == (options.rules[0], options.components[0])
        ]  # fmt: skip
        report.note(_summary(kind, share, rows))
    if "all to one" in [kind for kind, _ in kinds]:
        report.note(
            "All to one: copies of all classes at 10 % of the data are about half of one class, so "
            "its smaller cluster is not small, and may be the clean one."
        )
    if report.out is not None:
        from benchmarks.pictures.activation_clustering import draw

        report.figure("activation-clustering", draw(report.rows))


def _summary(kind: str, share: float, rows: list[dict[str, Any]]) -> str:
    def mean(name: str) -> str:
        values = [row[name] for row in rows if row.get(name) is not None]
        return band(values, 3) if values else "-"

    text = f"{kind}, {100 * share:.0f} %: "
    if kind != "clean":
        text += f"recall {mean('recall')}, of the worst class {mean('worst_recall')}; "
    text += f"false positives {mean('false_positives')}, of the worst class "
    text += f"{mean('worst_false_positives')}; told apart {mean('right')}"
    if kind != "clean":
        text += f"; success {mean('success')}, retrained {mean('success_after')}"
    return text
