"""What stands in for rows that experiments make, and for what they train and read beside them."""

import dataclasses
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.experiments.backdoors import badnets_mnist
from benchmarks.experiments.fairness import fairness_synthetic
from benchmarks.experiments.fairness._attackers import ATTACKERS, RIVALS
from benchmarks.experiments.svm import svm_gradient
from benchmarks.experiments.targeted import polytope
from benchmarks.experiments.tuning import hyperparameters
from benchmarks.pictures.svm_2d import Scene
from benchmarks.report import plain


class Row(dict):
    """A cell that is not given is a number in [0, 1)."""

    def __init__(self, number: int, cells: dict[str, Any]):
        super().__init__(cells)
        self.number = number

    def __missing__(self, name: str) -> float:
        chosen = sorted((key, str(value)) for key, value in self.items())
        return zlib.crc32(repr((chosen, self.number, name)).encode()) % 10_000 / 10_000

    def get(self, name: str, default: Any = None) -> Any:
        del default
        return self[name]


class Word:
    """Stands for what would be computed, and says how."""

    def __init__(self, text: str, **parts: Any):
        self.text = text
        vars(self).update(parts)

    def __getattr__(self, name: str) -> "Word":
        if name.startswith("__"):
            raise AttributeError(name)
        return Word(f"{self.text}.{name}")

    def __getitem__(self, key: Any) -> "Word":
        places = words(*key) if isinstance(key, tuple) else told(key)
        return Word(f"{self.text}[{places}]")

    def __iter__(self) -> Any:
        raise TypeError(self.text)

    def __call__(self, *given: Any, **named: Any) -> "Word":
        return Word(f"{self.text}({words(*given, **named)})")

    def __str__(self) -> str:
        return self.text


def words(*given: Any, **named: Any) -> str:
    return ", ".join([*map(told, given), *(f"{key}={told(value)}" for key, value in named.items())])


def ends(each: list[str], most: int = 3) -> str:
    return ", ".join(each if len(each) <= most else [each[0], "'...'", each[-1]])


def told(value: Any) -> str:
    """Briefly: of many things the first and the last."""
    if isinstance(value, Row):
        return f"row {value.number} {dict(value)}"
    if isinstance(value, Word):
        return value.text
    if dataclasses.is_dataclass(value):
        return "options"
    if isinstance(value, slice):
        return ":".join("" if end is None else str(end) for end in (value.start, value.stop))
    if isinstance(value, dict):
        return f"{{{ends([f'{key}: {told(part)}' for key, part in value.items()], 5)}}}"
    if isinstance(value, list | tuple):
        return f"{len(value)} [{ends([told(part) for part in value])}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    if value is ...:
        return "..."
    if hasattr(value, "shape"):
        if not value.shape:
            return told(value.item())
        mean = f", {np.mean(value):.4g} on average" if len(value.shape) == 1 else ""
        return f"array {value.shape}{mean}"
    return getattr(value, "__name__", None) or repr(plain(value))[:100]


def fair(options: Any) -> list[dict[str, tuple]]:
    """Cells of the tables on fairness."""
    at_a_cost = "impact-at-half", "reverse-at-half", *(f"impact-as-{rival}" for rival in RIVALS)
    return [
        {"table": ("shares",), "attacker": ("none",), "share": (0.0,)},
        {"table": ("shares",), "attacker": tuple(ATTACKERS), "share": (0.05, options.share)},
        {"table": ("shares",), "attacker": at_a_cost, "share": (options.share,)},
        {"table": ("black-box",), "victim": ("knn", "forest"), "attacker": ("none", "hide")},
        {"table": ("defended",), "victim": ("trim",), "attacker": ("none", "adapted")},
        {"table": ("fair",), "victim": ("grid",), "attacker": ("impact",)},
    ]


def regressed(options: Any) -> list[dict[str, tuple]]:
    return [{"learner": options.learners, "rate": options.rates}]


def classified(options: Any) -> list[dict[str, tuple]]:
    return [{"learner": ("ridge", "logistic"), "points": options.points}]


CELLS: dict[str, Callable[[Any], list[dict[str, Any]]]] = {
    "targeted-mnist": lambda o: [{"keep": o.keeps}],
    "lasso-features": lambda o: [{"learner": o.learners, "rate": o.rates}],
    "cnn-mnist": lambda o: [{"attacker": ("clean", "not moved", *o.attackers)}],
    "label-flips": lambda o: [{"learner": o.learners, "budget": o.budgets}],
    "label-sanitisation": lambda o: [{"learner": o.learners, "budget": o.budgets}],
    "dilemma": lambda o: [{"set": o.sets, "attacker": o.attackers, "radius": o.radii}],
    "memory": lambda o: [{"mode": o.modes, "steps": o.steps}],
    "regression-house": regressed,
    "regression-pharm": regressed,
    "regression-loans": regressed,
    "i-bau": lambda o: [
        {"trigger": o.triggers, "network": ("infected", "clean"), "defense": ("none", "i-bau")},
        {"maximum": ("inside", "edge"), "derivative": ("implicit", "five terms")},
    ],
    "feature-sanitisers": lambda o: [{"kind": o.kinds, "defense": o.defenses}],
    "hyperparameters": lambda o: [{"method": hyperparameters.METHODS}],
    "strip": lambda o: [{"trigger": ("square",), "kind": ("infected",), "defense": o.defenses}],
    "network-speed": lambda o: [
        {"network": o.networks, "way": ("ours", "flax loop", "flax scan"), "count": o.members},
    ],
    "hypergradient-peers": lambda o: [
        {"problem": o.problems[:2], "tool": ("ours", "qpax"), "error": (1e-9,)},
    ],
    "throughput": lambda o: [{"dtype": o.dtypes, "devices": o.devices, "batch": o.batches}],
    "breast-cancer": classified,
    "spam": classified,
    "mlp-spambase": lambda o: [{"points": (0, o.points)}],
    "svm-mnist": lambda o: [{"points": o.points}],
    "svm-gradient": lambda o: [
        {"kind": svm_gradient.KINDS, "certificate": ("regular",)},
        {"kind": ("reserve",), "certificate": ("exactly zero",)},
        {"kind": ("error",), "certificate": ("not solved",), "ours_error": (None,)},
    ],
    "badnets-mnist": lambda o: [
        {"map": o.maps, "kind": ("backdoor", *badnets_mnist.CONTROLS), "share": (o.share, 0.5)},
    ],
    "fairness-compas": fair,
    "fairness-synthetic": lambda o: [
        {"table": ("distances",), "attacker": fairness_synthetic.SWEPT, "distance": o.distances},
    ],
    "fine-pruning": lambda o: [
        {"trigger": o.triggers, "network": ("backdoor",), "defense": ("none",), "layer": (None,)},
        {"trigger": o.triggers, "network": ("clean",), "defense": ("fine-pruning",),
         "layer": ("conv1", "dense0")},
    ],
    "polytope": lambda o: [
        {"trained": o.depths, "poison": (*polytope.RULES, "random"), "victim": polytope.VICTIMS},
    ],
    "scaling": lambda o: [{"learner": o.learners, "rows": o.rows}],
    "roni-spam": lambda o: [
        {"learner": ("tokens", "logistic"), "attack": ("dictionary",), "share": (0.0, *o.shares)},
        {"learner": ("tokens", "logistic"), "attack": ("optimised", "not-moved"),
         "share": (o.optimised,)},
    ],
}  # fmt: skip
"""Cells that rows are chosen by without `where`."""


def numbers(name: str, count: int) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(name.encode())).uniform(size=count)


def of_a_car(unit: dict[str, Any]) -> dict[str, Any]:
    who = unit["trained_on"]
    pairs = [[f"{who}, {when}, along", f"{who}, {when}, aside"] for when in ("free", "signed")]
    return {"trips": pairs}


def curves(unit: dict[str, Any]) -> dict[str, Any]:
    layers = {
        layer: {name: numbers(f"{unit} {layer} {name}", 40) for name in ("stamped", "without")}
        for layer in ("conv1", "dense0")
    }
    return {"curves": {"of": f"{unit}", **layers}}


def curve(unit: dict[str, Any]) -> dict[str, Any]:
    name = unit["method"]
    value = np.sort(numbers(f"{name} value", 5))[::-1] ** 4
    value = value + 0.5 if name == "F2SA" else value  # it comes near to the best at no time
    ended = "stopped: some reason" if name == "SABA" else "converged"
    seconds = np.cumsum(numbers(f"{name} seconds", 5))
    named = {"steps": len(name), "outer_step": float(numbers(name, 1)[0]), "ended": ended}
    return {"curve": {"seconds": seconds, "value": value, **named}}


def mask(unit: dict[str, Any]) -> dict[str, Any]:
    row = {"trigger": unit["kind"], **{name: unit[name] for name in ("size", "infected", "seed")}}
    return {"rows": [row], "masks": f"masks of {row}"}


def scene(unit: dict[str, Any]) -> dict[str, Any]:
    return {"scene": {name: f"{name}, {unit['kernel']}" for name in Scene._fields}}


class Made(dict):
    """What a unit made beside rows."""

    def __missing__(self, name: str) -> list[str]:
        return [f"{name} {i}" for i in range(3)]


MADE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "driving": of_a_car, "fine-pruning": curves, "stochastic": curve, "neural-cleanse": mask,
    "svm-2d": scene,
}  # fmt: skip
"""What a unit made, where it is no list of three words."""


def lagging(objective: Any, z: Any, methods: dict[str, Any], steps: Any) -> Word:
    """Says what `lag` is given, with two rows for each method."""
    made = {name: make(7) for name, make in methods.items()}
    means = {n: f"{type(m.derivative).__name__} of {m.solver.steps}" for n, m in made.items()}
    found = [
        SimpleNamespace(name=name, steps=count, inner_error=inner, gradient_error=gradient)
        for name in methods
        for count, inner, gradient in zip(steps[:2], *numbers(name, 4).reshape(2, 2), strict=True)
    ]
    return Word(f"lag({words(objective, z, means, steps)})", rows=found)


def outcome(options: Any, name: str, kind: str, share: float) -> list[Word]:
    who = f"{name}, {kind}, {share:g}, {options.victims} victim(s)"
    return [Word(f"{part} ({who})") for part in ("case", "trigger", "shown", "clean", "attacked")]


DRAWN = {
    "classifiers._poisoned_classifiers.TABLES": Word("TABLES"),
    "classifiers._poisoned_classifiers.drawn": lambda options, table: range(3),
}
STANDING_IN: dict[str, dict[str, Any]] = {
    "driving": {"backdoors.driving.roads": Word("roads")},
    "optimised-trigger": {
        f"backdoors.optimised_trigger.{name}": Word(name) for name in ("case", "patterns")
    },
    "hidden-trigger": {
        **{
            f"backdoors.hidden_trigger.{name}": Word(name)
            for name in ("case", "capability", "collide")
        },
        "backdoors.hidden_trigger.images": lambda data: SimpleNamespace(names=("cat", "dog")),
    },
    "trojan-mnist": {
        f"backdoors.trojan_mnist.{name}": Word(name) for name in ("case", "retrained", "pattern")
    },
    "badnets-mnist": {
        **{f"backdoors.badnets_mnist.{name}": Word(name) for name in ("unstacked", "response")},
        "backdoors.badnets_mnist.outcome": outcome,
    },
    "neural-cleanse": {
        f"model_defenses.neural_cleanse.{name}": Word(name) for name in ("trigger", "infection")
    },
    "februus": {"model_defenses.februus.pictured": lambda options: (Word("a"), Word("b"))},
    "fairness-synthetic": {
        f"fairness.fairness_synthetic.{name}": Word(name)
        for name in ("ATTACKERS", "Options.case", "Options.setting")
    },
    "polytope": {
        "targeted.polytope.pretrained": lambda options: SimpleNamespace(test_err=0.0725),
        **{f"targeted.polytope.{name}": Word(name) for name in ("case", "poison")},
    },
    "hypergradients": {
        "hypergradients.hypergradients.logistic": Word("logistic"),
        "hypergradients.hypergradients.lag": lagging,
    },
    "roni-spam": {f"defenses.roni_spam.{name}": Word(name) for name in ("mails", "_speed")},
    "svm-mnist": {f"svm.svm_mnist.{name}": Word(name) for name in ("_split", "_pictured")},
    "breast-cancer": DRAWN, "spam": DRAWN,
    "mlp-spambase": {
        "networks._one_by_one.TABLES": {
            "mlp-spambase": lambda: SimpleNamespace(y=range(9999)),
        },
    },
}  # fmt: skip
"""By experiment, in place of what computes or reads data beside rows."""
