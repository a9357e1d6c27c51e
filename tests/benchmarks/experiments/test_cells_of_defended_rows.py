"""Rows of the experiments on defenses of networks, cell by cell: of which network and options."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import put, said

from benchmarks.experiments.model_defenses import activation_clustering, i_bau, strip, tabor
from benchmarks.experiments.model_defenses._infected import TARGET, Figures, Infection
from bilevel import Data

pytestmark = pytest.mark.stand_ins


class Model(SimpleNamespace):
    """A network that says which it is."""

    def __repr__(self) -> str:
        return str(self.name)


def figures(model: Any, of: Any) -> Figures:
    return Figures(*(said(what, model, of.name) for what in Figures._fields))


def infected(monkeypatch: Any, module: Any, rows: Any) -> None:
    """Cases, victims and figures that say which infection, seed and rows they are of."""

    def case(of: Infection, seed: int) -> Any:
        return SimpleNamespace(**rows, name=("case", of, seed))

    def victim(of: Infection, seed: int, infected: bool = True) -> Model:
        return Model(name=("victim", of, seed, infected))

    def trained(data: Any, passes: int, seed: int) -> Model:
        return Model(name=("trained", data, passes, seed))

    put(monkeypatch, module, case=case, figures=figures)
    for name, stub in (("victim", victim), ("trained", trained)):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, stub)


class Audit:
    """It says which it is, its rounds, and what it was given."""

    name = "tabor"

    def __init__(self, search: Any):
        self.rounds = search.rounds

    def restore(self, model: Any, clean: str, label: int, key: Any) -> Any:
        number = said(self.name, self.rounds, model, clean, label, key)
        return SimpleNamespace(mask=np.full((1, 2), number), size=np.array([number + 1]))

    def examine(self, model: Any, clean: str, key: Any) -> Any:
        assert (self.rounds, clean) == (9, "clean")
        assert said(key) == said(jax.random.key(5))
        is_infected = model.name[3]
        assert model.name[:3] == ("victim", Infection("one", "square", 6, passes=7), 5)
        figure = np.arange(10.0) / 4
        suspect = (np.arange(10) == TARGET) & is_infected
        evidence = SimpleNamespace(figure=figure, index=figure / 2, suspect=suspect)
        return SimpleNamespace(evidence=evidence)


class Cleanse(Audit):
    name = "cleanse"


TABOR = tabor.Options(sizes=(3,), audited=6, passes=7, rounds=9)


def test_masks_of_each_method_are_of_the_target_of_their_network(monkeypatch) -> None:
    infected(monkeypatch, tabor, {"clean": "clean"})

    def overlap(mask: Any, true: Any) -> Any:
        assert true.dtype == mask.dtype
        words = (mask, true)
        return SimpleNamespace(
            precision=said("precision", *words), recall=said("recall", *words),
            f1=said("f1", *words),
        )  # fmt: skip

    put(
        monkeypatch, tabor, METHODS={"neural-cleanse": Cleanse, "tabor": Audit}, overlap=overlap,
        trigger=lambda of: SimpleNamespace(mask=np.array([of.size, 1])),
    )  # fmt: skip
    of = Infection("one", "square", 3, passes=7)
    model = Model(name=("victim", of, 5, True))
    expected = []
    for name, method in (("neural-cleanse", "cleanse"), ("tabor", "tabor")):
        number = said(method, 9, model, "clean", TARGET, jax.random.key(5))
        words = (np.full(2, number), np.array([3.0, 1.0]))
        expected.append({
            "size": 3, "seed": 5, "method": name, "pixels": number + 1,
            "success": said("success", model, ("case", of, 5)),
            "precision": said("precision", *words), "recall": said("recall", *words),
            "f1": said("f1", *words),
        })  # fmt: skip
    assert tabor.make_rows(TABOR, 3, 5)["rows"] == expected


@pytest.mark.parametrize("is_infected", [True, False])
def test_a_whole_audit_is_of_the_network_that_its_note_names(is_infected, monkeypatch) -> None:
    infected(monkeypatch, tabor, {"clean": "clean"})
    put(monkeypatch, tabor, Tabor=Audit)
    found = tabor.make_audits(TABOR, is_infected, 5)
    name, suspect = ("infected", "7 (0.9)") if is_infected else ("clean", "none")
    assert found == {
        "rows": [],
        "notes": [
            f"TABOR's comparison, {name} network 5, square 6: suspect {suspect}; 7 has 1.750, "
            "index 0.9, the median is 1.125"
        ],
    }


@pytest.mark.parametrize("is_infected", [True, False])
def test_repairs_have_their_own_settings_and_the_network_of_their_row(
    is_infected, monkeypatch
) -> None:
    options = i_bau.Options(
        radius=2.5, share=0.3, steps=14, rate=0.25, ascents=6, tuning=0.75, networks=1, controls=4
    )  # fmt: skip
    y = np.arange(5)
    rows = {"clean": "clean", "test": SimpleNamespace(x=np.zeros((5, 1)), y=y)}
    infected(monkeypatch, i_bau, rows)
    name = ("victim", Infection(trigger="square"), 5, is_infected)
    right = {name: 1, ("tuned", name): 2, ("unlearned", name): 3}

    class Net(Model):
        architecture = "architecture"

        @property
        def parameters(self) -> Any:
            return self.name

        def predict(self, x: Any) -> np.ndarray:
            np.testing.assert_array_equal(x, np.full((5, 1), said("shift", self.name)))
            return np.where(np.arange(5) < right[self.name], y, -1)

    class Ball:
        def __init__(self, radius: float, *, rate: float, rows: int, solver: Any):
            self.given = (radius, rate, rows, solver.steps)

        def worst(self, architecture: str, parameters: Any, clean: str, loss: Any) -> Any:
            assert self.given == (2.5, 1e5, 100, 20)
            assert (architecture, clean, loss is i_bau.LOSS) == ("architecture", "clean", True)
            return np.array([said("shift", parameters)])

    def fitted(kind: str, base: Any) -> Any:
        def fit(clean: str, key: Any) -> Any:
            assert (clean, said(key)) == ("clean", said(jax.random.key(5)))
            return SimpleNamespace(model=Net(name=(kind, base.name)))

        return SimpleNamespace(fit=fit)

    def tune(base: Any, clean: str, tuning: Any) -> Any:
        solver, batch = tuning
        assert (clean, solver, batch) == ("clean", (("sgd", 0.75, 0.9), 20 * (400 // 50)), 50)
        return fitted("tuned", base)

    def unlearn(base: Any, clean: str, ball: Ball, share: float, tuning: Any) -> Any:
        assert ball.given == (2.5, 100.0, 100, 6)
        assert (clean, share) == ("clean", 0.3)
        assert tuning == ((("adam", ("cosine", 0.25, 14)), 14), 100)
        return fitted("unlearned", base)

    rules = SimpleNamespace(
        sgd=lambda rate, momentum: ("sgd", rate, momentum), adam=lambda rate: ("adam", rate),
        cosine_decay_schedule=lambda rate, steps: ("cosine", rate, steps),
    )  # fmt: skip
    put(
        monkeypatch, i_bau, Ball=Ball, FineTune=tune, ImplicitUnlearning=unlearn, optax=rules,
        Fixed=lambda model, loss: model, NetworkModel=Net, Descent=lambda *given: given,
        Tuning=lambda *given: given, Picard=lambda steps: SimpleNamespace(steps=steps),
        victim=lambda *given: Net(name=("victim", *given)),
    )  # fmt: skip
    expected = [
        {
            "trigger": "square", "seed": 5, "network": "backdoor" if is_infected else "clean",
            "defense": defense, "shifted": pytest.approx(right[model] / 5),
            **{
                what: said(what, Model(name=model), ("case", Infection(trigger="square"), 5))
                for what in Figures._fields
            },
        }
        for defense, model in zip(("none", "fine-tuning", "I-BAU"), right, strict=True)
    ]  # fmt: skip
    assert i_bau.make_rows(options, "square", 5, is_infected)["rows"] == expected


def test_slopes_of_small_networks_are_compared_along_one_direction(monkeypatch) -> None:
    """The objective is known: a power of four has the central differences exactly."""
    told = []

    def outer(of: Any, ball: Any, flat: Any) -> Any:
        return jnp.sum(flat**4) * (2 if np.isinf(ball.radius) else 3)

    def slope(of: Any, ball: Any, still: bool) -> Any:
        series = None if still else ball.derivative
        off = 0.5 if still else 0.0 if series is None else 0.125 if series[1] == 1 else 0.25
        told.append(series)
        return (2 if np.isinf(ball.radius) else 3) * 4 * of.flat**3 * (1 - off)

    def by(ball: Any, derivative: Any) -> Any:
        return SimpleNamespace(radius=ball.radius, derivative=derivative)

    flat = jnp.asarray([0.5, -1.0, 2.0])
    put(monkeypatch, i_bau, outer=outer, slope=slope, by=by,
        Implicit=lambda series=None: series, Neumann=lambda terms, rate: (terms, rate),
        small=lambda seed: {5: SimpleNamespace(flat=flat)}[seed])  # fmt: skip
    found = i_bau.small_rows(i_bau.Options(), 5)["rows"]
    offs = {"exact implicit": 0.0, "five terms": 0.125, "five terms of step .1": 0.25, "none": 0.5}
    assert found == [
        {
            "seed": 5, "maximum": place, "derivative": name,
            "off_differences": pytest.approx(off, abs=1e-8),
            "off_exact": pytest.approx(off),
        }
        for place in ("inside", "on the sphere") for name, off in offs.items()
    ]  # fmt: skip
    five, authors = (5, 1.0), [(5, 0.5), (5, pytest.approx(1 / 3))]
    assert told == [None, five, authors[0], None, None, five, authors[1], None]


def test_the_attacker_who_knows_of_overlays_trains_on_covered_copies(monkeypatch) -> None:
    options = strip.Options(defenses=("median", "strip"), passes=7)
    y, labels = np.array([1, 2, 7]), SimpleNamespace(applies=lambda y: y != 7)
    test = SimpleNamespace(x="plain", y=y)
    rows = {"train": "train", "poisoned": "poisoned", "test": test, "shown": "shown",
            "labels": labels}  # fmt: skip
    infected(monkeypatch, strip, rows)
    seen: Any = {"plain": np.array([10, 2, 7]), "shown": np.array([10, 2, 10])}

    def covered(given: Any, of: Any, seed: int) -> Any:
        assert (given, seed, of.name[2]) == (options, 5, 5)
        return SimpleNamespace(**rows | {"poisoned": "covered"}, name="covered case")

    def defended(given: Any, name: str, model: Any, of: Any) -> Any:
        def fit(data: str) -> Any:
            shield = Model(name=(name, model, of.name, data), predict=lambda x: seen[x])
            return SimpleNamespace(model=shield)

        assert given == options
        return SimpleNamespace(fit=fit)

    put(monkeypatch, strip, covered=covered, defended=defended)
    model = Model(name=("trained", "covered", 7, 5))
    shield = Model(name=("strip", model, "covered case", "train"))
    assert strip.make_rows(options, "blended", "covers", 5)["rows"] == [{
        "trigger": "blended", "kind": "covers", "seed": 5, "defense": "strip",
        "success": said("success", model, "covered case"),
        "accuracy": said("accuracy", model, "covered case"),
        "success_after": said("success", shield, "covered case"),
        "accuracy_after": said("accuracy", shield, "covered case"),
        "recovered": said("recovered", shield, "covered case"),
        "refused": pytest.approx(1 / 3), "passed": 0.5,
    }]  # fmt: skip


@pytest.mark.parametrize("kind", ["all to next", "all to one", "blended", "adapted", "clean"])
def test_clusters_are_sought_by_each_rule_in_the_rows_of_their_attack(kind, monkeypatch) -> None:
    options = activation_clustering.Options(
        rules=("silhouette", "small"), components=("independent", "principal"), passes=7
    )  # fmt: skip
    of = Infection(
        "one" if kind == "all to one" else "next",
        "blended" if kind in ("blended", "adapted") else "pattern", passes=7, share=0.2,
    )  # fmt: skip
    train, poisoned = (SimpleNamespace(name=name, rows=rows) for name, rows in (("t", 3), ("p", 5)))
    poison = np.arange(5) >= 3
    rows = {"train": train, "poisoned": poisoned, "poison": poison}
    infected(monkeypatch, activation_clustering, rows)
    moved = SimpleNamespace(**rows, name="adapted case")

    def adapted(given: Any, about: Infection, seed: int) -> Any:
        assert (given, about, seed) == (options, of, 5)
        return activation_clustering.Adapted(moved, -0.75, -0.25)  # pyright: ignore

    def defense(base: Any, rule: Any, whiten: bool) -> Any:
        words = (base.name, type(rule).__name__, whiten)
        return SimpleNamespace(inspect=lambda data: (*words, data.name))

    def found(seen: Any, data: Any, which: Any) -> dict[str, Any]:
        return {"recall": (seen, data.name, which.tolist())}

    def retrained(about: Infection, case: Any, seen: Any, seed: int) -> Figures:
        return figures(("retrained", about, seen, seed), case)

    put(monkeypatch, activation_clustering, adapted=adapted, found=found, retrained=retrained,
        ActivationClustering=defense, Fixed=lambda model: model)  # fmt: skip
    made = activation_clustering.make_rows(options, kind, 0.2, 5)["rows"]
    if kind == "adapted":
        model, case = Model(name=("trained", poisoned, 7, 5)), "adapted case"
    else:
        model, case = Model(name=("victim", of, 5, kind != "clean")), ("case", of, 5)
    which, name = ([False] * 3, "t") if kind == "clean" else (poison.tolist(), "p")
    expected = []
    for rule, rule_name in (("silhouette", "Silhouette"), ("small", "SmallCluster")):
        for components in ("independent", "principal"):
            seen = (model.name, rule_name, components == "independent", name)
            row = {
                "kind": kind, "share": 0.2, "seed": 5, "rule": rule, "components": components,
                "recall": (seen, name, which),
            }  # fmt: skip
            if kind == "adapted":
                row |= {"before": -0.75, "after": -0.25}
            if kind != "clean" and (rule, components) == ("silhouette", "independent"):
                again = ("retrained", of, seen, 5)
                for what in ("success", "accuracy"):
                    row[what] = said(what, model, case)
                    row[f"{what}_after"] = said(what, again, case)
            expected.append(row)
    assert made == expected


def test_an_adapted_trigger_is_of_a_network_of_the_attacker_s_own(monkeypatch) -> None:
    """Features of stamped rows go to the mean of the class whose label they get."""
    y = np.arange(20) % 10
    train = Data(np.arange(20.0)[:, None], y)
    options = activation_clustering.Options(steps=8, step=0.25)
    of = Infection("next", "blended")
    told = []

    class Rows(SimpleNamespace):
        def _replace(self, **parts: Any) -> Any:
            return parts

    reach = SimpleNamespace(
        example=lambda data: "start", project="project",
        inject=lambda z, data: ("inject", z, data is train), present=lambda z, x: (z, x),
    )  # fmt: skip
    rows = Rows(
        train=train, reach=reach, test=SimpleNamespace(x="test"),
        labels=SimpleNamespace(labels=lambda y: (y + 1) % 10),
    )  # fmt: skip

    def victim(given: Infection, seed: int, infected: bool) -> Any:
        assert (given, seed, infected) == (of, 1005, False)
        return SimpleNamespace(features=lambda x: x + 0.5)

    def compose(base: Any, given: Any, goal: Any, data: Any) -> Any:
        assert (given is reach, data is train) == (True, True)
        shown = np.asarray(goal.x)[:, 0].astype(int)
        assert sorted(shown) == list(range(20))
        wanted = (shown + 1) % 10
        np.testing.assert_allclose(goal.means[:, 0], wanted + 5.5)
        return lambda z: {"start": -0.875}[z]

    def maximize(attack: Any, start: str, **settings: Any) -> Any:
        assert (start, settings["project"], settings["steps"]) == ("start", "project", 8)
        told.append(settings["optimizer"])
        return SimpleNamespace(z="end", value=-0.125)

    put(
        monkeypatch, activation_clustering, case=lambda *given: {(of, 5): rows}[given],
        victim=victim, compose=compose, maximize=maximize, Fixed=lambda model: model,
        optax=SimpleNamespace(adam=lambda rate: ("adam", rate)),
    )  # fmt: skip
    found = activation_clustering.adapted.__wrapped__(options, of, 5)
    assert found == (
        {"poisoned": ("inject", "end", True), "shown": ("end", "test")},
        -0.875,
        -0.125,
    )
    assert told == [("adam", 0.25)]
