"""What pictures are given to draw: rows each cell of which is another number, beside rows that
belong elsewhere, in another order than they are drawn in; and images that differ.
"""

import hashlib
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.data.scenes import Trip
from benchmarks.experiments.fairness._attackers import ATTACKERS
from benchmarks.experiments.fairness._cases import Audited
from benchmarks.pictures import stochastic
from benchmarks.pictures.hypergradient_peers import LOOKS
from benchmarks.pictures.polytope import COLOURS
from benchmarks.pictures.svm_2d import Scene
from benchmarks.pictures.svm_gradient import GROUPS
from benchmarks.pictures.svm_mnist import Attacked
from bilevel.study import Lag


def number(name: str) -> int:
    """Below 2**32. Sums of checksums repeat themselves: those of this do not."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest())


class Row(dict):
    """A cell that is not given is a number in [0, 1) by its name and the cells chosen by."""

    def __init__(self, cells: dict[str, Any], chosen: str = ""):
        super().__init__(cells)
        self.chosen = chosen or repr(cells)

    def __missing__(self, name: str) -> float:
        return number(f"{self.chosen} {name}") / 2**32


def rows(**cells: Any) -> list[Row]:
    """All combinations of these cells."""
    each = (value if isinstance(value, tuple) else (value,) for value in cells.values())
    return [Row(dict(zip(cells, values, strict=True))) for values in product(*each)]


def images(name: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(number(name)).uniform(size=shape)


def also(found: Row, **cells: Any) -> Row:
    """With these cells as well."""
    return Row({**found, **cells}, found.chosen)


def within(found: Row, *names: str) -> Row:
    """With bounds below and above these shares."""
    low = {f"{name}_low": 0.9 * found[name] for name in names}
    return also(found, **low, **{f"{name}_high": 0.1 + 0.9 * found[name] for name in names})


def shares(name: str, count: int) -> str:
    return " ".join(f"{share:.2f}" for share in images(name, count))


def attacked(points: int) -> Attacked:
    names = ("start", "moved", "hinge", "best", "error")
    shapes = ((points, 784), (points, 784), (5,), (5,), (3,))
    start, moved, hinge, best, error = (
        images(f"{name} {points}", *shape) for name, shape in zip(names, shapes, strict=True)
    )
    best[-1] = 0.6 + points / 1000  # the names of two curves need room
    return Attacked(start, moved, hinge, best, np.array([0, 2, 4]), error)


SPLITS = (0, 1, 2)
LEARNERS = ("ridge", "svm")
COUNTED = [
    also(row, greedy_trainings=99 - 10 * row["budget"] + row["split"], ranked_trainings=3)
    for row in rows(learner=LEARNERS, budget=(4, 2), split=SPLITS)
]
BY_CLASS = [
    also(
        row,
        recall_by_class="-" + " -" * 9 if row["kind"] == "clean"
        else "- " * row["seed"] + shares(f"{row} recall", 10 - row["seed"]),
        false_by_class=shares(f"{row} false", 10),
    )
    for kind, share in (("all to next", 0.05), ("blended", 0.1), ("clean", 0.1))
    for row in rows(kind=kind, share=share, rule=("size", "distance"), components=("b", "a"),
                    seed=(0, 1))
]  # fmt: skip
ARENA = [
    also(row, knows=(row["attack"], row["defense"]) == ("next", "strip"),
         success=0.5 * row["success"] + 0.5 * (row["attack"] == "one"),
         accuracy=None if (row["attack"], row["defense"]) == ("one", "strip")
         else 0.8 + 0.2 * row["accuracy"])
    for row in rows(attack=("one", "next"), defense=("strip", "none", "median"), seed=(0, 1))
]  # fmt: skip
SIGNS = [
    *rows(table=4, network=("bomb", "yellow square"), sticker=("bomb",), k=None, victim=SPLITS),
    *rows(table=4, network="yellow square", sticker="yellow square", k=None, victim=SPLITS),
    *rows(table=4, network="clean", sticker=("bomb", "yellow square"), k=None, victim=SPLITS),
    *rows(table=5, network=("clean", "random"), sticker="bomb", k=None, victim=SPLITS),
    *rows(table=7, network="random", sticker="bomb", k=(1, 10, 100), victim=SPLITS),
    *rows(table=7, network="clean", sticker="bomb", k=(1, 100), victim=SPLITS),
]
PAPER = (
    (4, "clean", None, {"stop": 11.0}),
    (4, "bomb", None, {"stop": 12.0, "to_speed_limit": 13.0}),
    (4, "yellow square", None, {"stop": 14.0, "to_speed_limit": 15.0}),
    (5, "clean", None, {"stamped": 16.0}),
    (5, "random", None, {"average": 17.0, "stamped": 18.0}),
    (7, "clean", 1, {"average": 19.0, "stamped": 20.0}),
    (7, "random", 1, {"average": 21.0, "stamped": 22.0}),
    (7, "random", 100, {"average": 23.0, "stamped": 24.0}),
)
FAIR = [
    also(row, impact=None) if row["attacker"] == "hide" and row["seed"] else row
    for row in (
        *rows(attacker="none", share=0.0, seed=(0, 1)),
        *rows(attacker=tuple(ATTACKERS), share=(0.3, 0.1), seed=(0, 1)),
        *rows(attacker="impact-as-solans", share=0.2, seed=(0, 1)),
    )
]
DERIVED = [
    also(row, error=error, cpu_ms=1e3 * row["cpu_ms"], memory_mb=memory)
    for row, error, memory in zip(
        rows(problem="svm", derivative=("implicit, CG", "Neumann 20", "unrolled"))
        + rows(problem="lasso", derivative=("Nystrom 50", "forward", "back-gradient"))
        + rows(problem="network", derivative=("reversible",)),
        (1e-3, 1e-5, None, 0.0, 1e-7, 1e-9, 1e-11), (3.0, None, 5.0, 7.0, 11.0, 13.0, 17.0),
        strict=True,
    )
]  # fmt: skip
MEMORY = [
    dict(zip(("mode", "steps", "planned_mb", "peak_mb", "cpu_s"), cells, strict=True))
    for cells in (
        ("full", 1000, 30_000.0, None, None),
        ("full", 10, 300.0, 700.0, 0.3),
        ("full", 100, 3_000.0, 3_500.0, 4.0),
        ("sqrt", 10, 40.0, 410.0, 0.5),
        ("sqrt", 100, 130.0, 520.0, 6.0),
        ("forward", 100, 11.0, 390.0, 2.0),
        ("forward", 10, 10.0, 380.0, 0.2),
        ("reversible", 100, 15.0, 400.0, 9.0),
        ("recursive", 10, 25.0, 405.0, 0.7),
    )
]
UNALIGNED = {("ridge", "knn"), ("svm", "knn"), ("svm", "svm")}
SURROGATES = [
    also(row, R=None) if (row["surrogate"], row["target"]) in UNALIGNED else row
    for row in rows(surrogate=LEARNERS, target=("svm", "ridge", "knn"), seed=SPLITS)
]
FAILED = {("reserve", "certified_error"), ("margin", "printed_error")}
"""Kinds whose rows lack this cell, all of them or some."""
MARGINS = [
    also(row, **{
        name: None for kind, name in FAILED
        if kind == row["kind"] and (row["split"] or name[0] == "c")
    })
    for row in rows(kind=tuple(GROUPS)[::-1], points=(1, 3), split=(0, 1))
]  # fmt: skip
ATTACKED = {points: attacked(points) for points in (11, 1)}
AXIS = np.linspace(-2.0, 2.0, 9)
PLANE = np.broadcast_to(AXIS, (9, 9))
SCENE = Scene(
    np.array([[0.0, 0.1], [1.0, 1.1], [1.5, 0.3]]), np.array([-1, 1, 1]), AXIS,
    images("hinge", 9, 9), images("error", 9, 9), AXIS[[2, 6]],
    np.array([[1.0, 2.0], [0.0, 0.0], [3.0, -4.0], [0.1, 0.2]]),
    [np.array([[0.0, 0.2], [0.5, 0.6], [0.9, 0.1]])], AXIS, PLANE + 0.7, PLANE.T - 0.3,
)  # fmt: skip
RESPONSES = [
    SimpleNamespace(without=images(f"{who} plain", 3, 3, 9), stamped=images(f"{who} on", 3, 3, 9))
    for who in ("clean", "infected")
]
OFFSETS = [shift * images(f"offset {shift}", 4, 2) for shift in (1.0, -2.0, 3.0)]
OFFSETS += [np.array([[1.0, -2.0], [0.5, 2.5], [0.2, 4.0], [0.1, 7.0]])]
"""The last car leaves the road, and then the picture."""
TRIPS = [
    Trip(np.cumsum(images(f"along {i}", 4, 2), axis=0), offset) for i, offset in enumerate(OFFSETS)
]
CURVES = [
    {
        layer: {
            "counts": np.array([0, 3, 7]), "accuracy": images(f"{seed} {layer} right", 3),
            "success": images(f"{seed} {layer} success", 3),
            "without": images(f"{seed} {layer} without", 4),
            "stamped": images(f"{seed} {layer} stamped", 4),
        }
        for layer in ("conv1", "dense0")
    }
    for seed in (0, 1)
]  # fmt: skip
PLACED = Audited(images("x", 12, 2) * 4, np.tile([1.0, -1.0, -1.0], 4), np.repeat([0, 1], 6))
ADDED = {
    name: Audited(4 * images(name, 3, 2), np.array([-1.0, 1.0, 1.0]), np.array([0, 1, 1]))
    for name in ("impact", "hide")
}

GIVEN: dict[str, tuple] = {
    "activation_clustering.draw": (BY_CLASS,),
    "arena.draw": (
        rows(rate=(0.1, 0.2), defense=("roni", "sphere"), attack=("insert", "flips"),
             learner=LEARNERS, seed=SPLITS),
        ("flips", "insert"), ("insert",), LEARNERS[::-1], ("sphere", "roni"),
    ),
    "backdoor_arena.draw": (ARENA, ("none", "median", "strip")),
    "badnets_mnist.draw": (
        [
            within(row, "success", "accuracy")
            for row in rows(
                map=("next", "one"), kind=("backdoor", "control"), share=(0.1, 0.02, 0.2)
            )
        ],
    ),
    "badnets_mnist.units": (
        [images("plain", 4, 5, 5, 1), images("stamped", 4, 5, 5, 1)],
        [images("filters", 3, 3, 1, 2) - 0.5, images("others", 3, 3, 1, 2) - 0.5], RESPONSES,
    ),
    "badnets_signs.draw": (SIGNS, [images(s, 2, 4, 4, 3) for s in ("none", "b", "f")], PAPER),
    "classifiers.draw": ("spam", 9, rows(learner=LEARNERS, points=(4, 2), split=SPLITS)),
    "clean_label.draw": (
        *(images(name, 2, 2, 5, 5, 1) for name in ("base", "moved", "target")), "aim",
    ),
    "cnn_mnist.draw": (rows(attacker=("clean", "not moved", "one"), seed=SPLITS),),
    "cnn_mnist.digits": (
        SimpleNamespace(x=images("digits", 3, 784), y=np.array([7, 4, 1])), images("poison", 2, 784)
    ),
    "dilemma.draw": (
        rows(set=("house", "loans"), attacker=("plain", "hard"), radius=(4, 2), seed=SPLITS),
        0.12, "tuned",
    ),
    "driving.draw": (TRIPS, images("views", 2, 4, 8, 3), images("signed", 2, 4, 8, 3), 1.5),
    "fairness.draw": ("fairness-adult", FAIR),
    "fairness.draw_plane": (PLACED, ADDED, 3.0),
    "februus.draw": tuple(images(name, 2, 5, 5) for name in ("on", "heat", "cut", "painted")),
    "fine_pruning.draw": (CURVES,),
    "frogs.draw": (
        images("base", 2, 5, 5, 1), {"drawn": images("a", 2, 5, 5, 1),
        "optimised": images("b", 2, 5, 5, 1)}, images("target", 2, 5, 5, 1),
    ),
    "hidden_trigger.draw": ({name: images(name, 9, 5, 5, 1) for name in ("moved 3", "stamped 8")},),
    "hypergradient_peers.draw": (
        [
            also(row, error=None) if (row["tool"], row["try"]) == ("qpax", 1) else row
            for row in rows(problem=("b", "a"), tool=tuple(LOOKS)[::-1], **{"try": (0, 1)})
        ],
        ("a", "b"),
    ),
    "hypergradients.draw_errors": (DERIVED, ("network", "logistic", "lasso", "svm")),
    "hypergradients.draw_lag": (
        Lag([
            SimpleNamespace(name=name, steps=steps, inner_error=inner, gradient_error=gradient)
            for name, steps, inner, gradient in (
                ("unrolled", 10, 1e-2, 2e-3), ("implicit", 10, 3e-2, 4e-4),
                ("unrolled", 99, 5e-9, 6e-8), ("implicit", 99, 0.0, 0.0),
            )
        ]),  # pyright: ignore[reportArgumentType]
    ),
    "hyperparameters.draw": (
        rows(method=("grid search", "one", "many"), split=(1, 0)), ("one", "grid search", "many")
    ),
    "label_flips.draw": ("cancer", 9, COUNTED),
    "label_sanitisation.draw": (9, rows(learner=LEARNERS, budget=(4, 2), split=SPLITS)),
    "lasso_features.draw": ("spam", 5, rows(learner=LEARNERS, rate=(0.2, 0.1), split=SPLITS)),
    "last_layer.draw": (rows(levels=(8.0, 64.0), target=SPLITS),),
    "memory.draw": (MEMORY,),
    "neural_cleanse.draw": (
        rows(infected=(False, True), seed=SPLITS),
        [{"trigger": "square", "size": 4}, {"trigger": "blended", "size": 3}],
        [(images(f"true {i}", 5, 5), images(f"found {i}", 5, 5)) for i in (0, 1)],
    ),
    "one_by_one.draw": (rows(points=(4, 2), split=SPLITS),),
    "optimised_trigger.draw": (rows(kind=("white", "optimised"), seed=SPLITS),),
    "optimised_trigger.squares": ({name: images(name, 2, 784) for name in ("a", "b", "c")},),
    "polytope.draw": (
        [
            also(row, low=0.8 * row["success"], high=0.3 + 0.7 * row["success"])
            for row in rows(
                trained=("linear", "end to end"), poison=tuple(COLOURS)[::-1],
                victim=("white", "black"),
            )
        ],
        *(images(name, 4, 2, 5, 5, 1) for name in ("base", "moved")), images("target", 4, 5, 5, 1),
    ),
    "regression.draw": ("house", rows(learner=LEARNERS, rate=(0.2, 0.1), seed=SPLITS)),
    "restarts.draw": (rows(learner=LEARNERS, starts=(4, 1), split=SPLITS),),
    "roni_spam.draw": (
        "enron",
        rows(learner=("logistic", "tokens"), attack="dictionary", share=(0.1, 0.05, 0.0),
             split=SPLITS)
        + rows(learner=("logistic", "tokens"), attack=("optimised", "not-moved"), share=0.05,
               split=SPLITS),
    ),
    "scaling.draw": (rows(learner=LEARNERS, rows=(300, 100)), 5),
    "sponge.draw": (
        rows(part="poisoning", strength=(10.0, 0.0), seed=SPLITS)
        + rows(part="examples", start=("noise", "digits"), strength=0.0, seed=SPLITS),
    ),
    "stochastic.draw": (
        {name: (np.cumsum(images(f"{name} s", 3)), images(name, 3)) for name in stochastic.LOOKS},
        0.1,
    ),
    "svm_2d.draw": ({"Linear": SCENE},),
    "svm_gradient.draw": (MARGINS,),
    "svm_mnist.draw": ((3, 8), 100, ATTACKED, rows(points=(11, 1), split=SPLITS)),
    "svm_mnist.draw, few": ((3, 8), 100, {2: attacked(2)}, rows(points=2, split=0)),
    "targeted_mnist.draw": (rows(keep=(1.0, 0.1), split=SPLITS), 8, 3, 0.1),
    "throughput.draw": (
        [
            also(row, attacks_per_second=None if row["devices"] > 1 and row["batch"] == 9
                 else row["attacks_per_second"])
            for row in rows(device="cpu", devices=(1, 2), dtype=("float64", "float32"),
                            batch=(9, 4))
        ],
    ),
    "toy_backdoor.draw": (
        rows(part="share", learner=LEARNERS, l2=(0.1, 1.0), share=(0.2, 0.1), seed=(0, 1))
        + rows(part="strength", strength=(0.5, 2.0), peak=(0.75, 1.25))
        + rows(part="direction", seed=(0, 1)),
    ),
    "transfer.draw": (SURROGATES, (3, 8), 0.1),
    "trim.draw": (
        "house", rows(rate=(0.2, 0.1), strength=("paper", "tuned"), attacker=("a", "b"),
                      seed=SPLITS),
    ),
    "trojan_mnist.draw": (
        {name: images(name, 784) for name in ("inverted", "white")}, images("classes", 3, 784)
    ),
}  # fmt: skip
"""By picture."""
