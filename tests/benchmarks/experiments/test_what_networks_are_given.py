"""Defenses of networks say which model they are of and which rows they see; figures, of which rows
they are.
"""

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from given import CASE, Model, figures, rows_of, stub, whose

from benchmarks.experiments.model_defenses import (
    activation_clustering,
    feature_sanitisers,
    februus,
    fine_pruning,
    i_bau,
    neural_cleanse,
    strip,
    tabor,
)
from benchmarks.experiments.model_defenses._infected import TARGET, Figures
from bilevel import Data


def defense(name: str) -> Any:
    """A defense of a model, which sees clean rows alone."""

    class Defense:
        def __init__(self, base: Any, clean: Data, *arguments: Any, **settings: Any):
            assert clean is CASE.clean
            self.base = base

        def fit(self, data: Data, key: Any = None) -> Any:
            assert data is CASE.clean
            kept = SimpleNamespace(kept=jnp.arange(6) > 1)
            return SimpleNamespace(model=Model(f"{name} of {self.base.name}"), report=kept)

    return Defense


class Base(Model):
    """`Fixed` of a model."""

    def __init__(self, model: Model, *others: Any):
        super().__init__(model.name, model.right)

    def fit(self, data: Data, key: Any = None) -> Any:
        return SimpleNamespace(model=self)


def test_pruned_networks_are_those_that_rows_name(monkeypatch) -> None:
    names = ("FineTune", "FinePrune", "Prune")
    stub(
        monkeypatch, fine_pruning, Fixed=Base, hidden=lambda *a: Model("knows"),
        curve=lambda model, of, layer: SimpleNamespace(_asdict=lambda: {"of": model.name}),
        **{name: defense(name) for name in names},
    )  # fmt: skip
    options = fine_pruning.Options(networks=2, others=1)
    found = fine_pruning.make_rows(options, "pattern", 0)
    made = {
        "none": "", "fine-tuning": "FineTune of ", "pruning": "Prune of ",
        "fine-pruning": "FinePrune of ", "fine-pruning by drop": "FinePrune of ",
    }  # fmt: skip
    assert len(found["rows"]) == 3 * 6
    for row in found["rows"]:
        name = made[row["defense"]] + row["network"]
        assert (row["accuracy"], row["success"]) == (name, f"success of {name}")
        assert row["pruned"] == (None if row["layer"] is None else 2)
    assert found["curves"] == {layer: {"of": "backdoor"} for layer in fine_pruning.LAYERS}
    later = fine_pruning.make_rows(options, "pattern", 1)["rows"]
    assert {row["network"] for row in later} == {"backdoor"}


def test_the_worst_shift_is_of_clean_rows_and_is_borne_by_test_rows(monkeypatch) -> None:
    class Ball:
        def __init__(self, radius: float, **settings: Any):
            del radius, settings

        def worst(self, architecture: Any, parameters: Any, data: Data, loss: Any) -> Any:
            assert data is CASE.clean
            right = {"backdoor": (0,), "tuned": (0, 1), "unlearned": (0, 1, 2)}
            models[parameters].right = right[parameters]
            return jnp.ones((1, 1, 1))

    models = {name: Model(name) for name in ("backdoor", "tuned", "unlearned")}

    def repair(name: str) -> Any:
        def made(base: Base, clean: Data, *others: Any) -> Any:
            assert (base.name, clean is CASE.clean) == ("backdoor", True)
            return SimpleNamespace(fit=lambda data, key: SimpleNamespace(model=models[name]))

        return made

    stub(
        monkeypatch, i_bau, Fixed=Base, Ball=Ball, FineTune=repair("tuned"),
        ImplicitUnlearning=repair("unlearned"), victim=lambda *a: models["backdoor"],
    )  # fmt: skip
    rows = i_bau.make_rows(i_bau.Options(), "pattern", 0, True)["rows"]
    assert [(r["defense"], r["accuracy"], round(7 * r["shifted"])) for r in rows] == [
        ("none", "backdoor", 1), ("fine-tuning", "tuned", 2), ("I-BAU", "unlearned", 3),
    ]  # fmt: skip


def test_strip_passes_stamped_rows_that_the_trigger_is_for(monkeypatch) -> None:
    """And refuses a share of all clean test rows."""

    class Shield(Model):
        def predict(self, x: Any) -> np.ndarray:
            refused = {3.0: [0, 3, 4], 3.5: [0, 1, 2, 3]}[whose(x)]
            return np.where(np.isin(np.arange(7), refused), 10, 0)

    def defended(options: Any, name: str, model: Model, rows: Any) -> Any:
        def fit(data: Data) -> Any:
            assert data is CASE.train
            return SimpleNamespace(model=Shield(f"{name} of {model.name}"))

        return SimpleNamespace(fit=fit)

    stub(monkeypatch, strip, defended=defended)
    options = strip.Options(defenses=("strip", "median"))
    for kind in ("infected", "clean"):
        row, other = strip.make_rows(options, "pattern", kind, 0)["rows"]
        name = "backdoor" if kind == "infected" else "clean"
        assert row["refused"] == pytest.approx(3 / 7)
        assert row["passed"] == pytest.approx(3 / 4)  # of 1, 2, 3 and 4; 7s are the target
        assert (row["accuracy"], row["accuracy_after"]) == (name, f"strip of {name}")
        assert other["success_after"] == f"success of median of {name}"
        assert "passed" not in other


def inspecting(options: Any, name: Any, model: Model) -> Any:
    def inspect(data: Data) -> Any:
        of = model.name, data is CASE.train, data.rows
        dropped = 3 if of == ("clean", True, 12) else 0
        return SimpleNamespace(kept=np.arange(data.rows) >= dropped, of=of)

    return SimpleNamespace(inspect=inspect)


def found(seen: Any, data: Data, poison: np.ndarray) -> dict[str, Any]:
    """What is counted: what the defense saw, and which of its rows are poison."""
    return {"seen": seen.of, "rows": data.rows, "poison": int(poison.sum())}


def retrained(of: Any, rows: Any, seen: Any, seed: int) -> Figures:
    assert rows is CASE
    return figures(Model(f"{seen.of[0]} retrained"), CASE)


def test_sanitisers_of_features_see_the_poisoned_rows_and_as_control_the_clean_ones(
    monkeypatch,
) -> None:
    stub(monkeypatch, feature_sanitisers, defense=inspecting, found=found, retrained=retrained)
    options = feature_sanitisers.Options(defenses=("spectral",))
    (row,) = feature_sanitisers.make_rows(options, "one", 0)["rows"]
    assert (row["seen"], row["rows"], row["poison"]) == (("backdoor", False, 15), 15, 3)
    assert (row["accuracy"], row["accuracy_after"]) == ("backdoor", "backdoor retrained")
    assert row["dropped_of_clean_rows"] == 3 / 12


@pytest.mark.parametrize("kind", ["all to one", "clean"])
def test_clusters_are_of_the_rows_that_the_network_was_trained_on(monkeypatch, kind) -> None:
    stub(
        monkeypatch, activation_clustering, Fixed=Base, found=found, retrained=retrained,
        ActivationClustering=lambda base, *a, **k: inspecting(None, None, base),
    )  # fmt: skip
    options = activation_clustering.Options(rules=("small",), components=("principal",))
    (row,) = activation_clustering.make_rows(options, kind, 0.1, 0)["rows"]
    if kind == "clean":
        assert (row["seen"], row["rows"], row["poison"]) == (("clean", True, 12), 12, 0)
        assert "success" not in row
    else:
        assert (row["seen"], row["rows"], row["poison"]) == (("backdoor", False, 15), 15, 3)
        assert row["success_after"] == "success of backdoor retrained"


def test_februus_paints_with_clean_rows_and_meets_both_networks(monkeypatch) -> None:
    def painting(x: Any) -> str:
        assert whose(x) == 2.0
        return "mean"

    stub(
        monkeypatch, februus, Fixed=Base, MeanFill=painting, inpainting=lambda *a: "inpainter",
        Februus=lambda base, fill, threshold, heat: f"{fill} {threshold} of {base.name}",
        PurifiedModel=lambda model, defense: Model(f"{model.name} behind {defense}"),
    )  # fmt: skip
    options = februus.Options(thresholds=(0.7,), heats=("places",))
    rows = februus.make_rows(options, 0)["rows"]
    for row, name in zip(rows, ["backdoor"] * 3 + ["clean"] * 3, strict=True):
        assert row["infected"] == (name == "backdoor")
        behind = "" if row["fill"] == "none" else f" behind {row['fill']} 0.7 of {name}"
        assert row["accuracy"] == f"{name}{behind}"


def test_februus_is_pictured_on_a_stamped_digit_of_each_class(monkeypatch) -> None:
    """What is cut out is grey, and only that."""
    y = np.array([TARGET, 1, 1, 2, 3, 4, 5, 6])
    mask = np.array([1.0, 0.0]).reshape(1, 2, 1, 1) * np.ones((5, 1, 1, 1))
    test = SimpleNamespace(y=y, x=None)
    labels = SimpleNamespace(applies=lambda y: y != TARGET)
    of = SimpleNamespace(test=test, labels=labels, shown=np.arange(16.0).reshape(8, 2, 1, 1))

    def defense(base: Base, fill: str, threshold: float) -> Any:
        assert (base.name, fill, threshold) == ("backdoor", "inpainter", 0.7)

        def masked(model: Any, x: Any) -> np.ndarray:
            assert model.name == "backdoor"
            return mask

        return SimpleNamespace(mask=masked, purify=lambda model, x: x + 0.125, heat="heat")

    stub(
        monkeypatch, februus, Fixed=Base, Februus=defense, inpainting=lambda *a: "inpainter",
        case=lambda *a: of, heat_map=lambda model, x, heat: x[..., 0] + 0.25,
    )  # fmt: skip
    stamped, heat, masked, restored = februus.pictured(februus.Options(thresholds=(0.5, 0.7)))
    expected = np.array([[2, 3], [6, 7], [8, 9], [10, 11], [12, 13]])[..., None]
    np.testing.assert_array_equal(stamped, expected)
    np.testing.assert_array_equal(masked[:, 0], 0.5)
    np.testing.assert_array_equal(masked[:, 1], expected[:, 1])
    np.testing.assert_array_equal(restored, expected + 0.125)
    np.testing.assert_array_equal(heat, expected + 0.25)


@pytest.mark.parametrize("others", [[], [3]])
@pytest.mark.parametrize("infected", [True, False])
def test_what_an_audit_says_of_the_target_is_not_of_other_labels(
    monkeypatch, infected, others
) -> None:
    sizes = np.arange(10.0) + 5
    sizes[TARGET] = 2.0
    index = jnp.arange(10.0)
    masks = jnp.arange(10.0)[:, None, None, None] * jnp.ones((10, 2, 2, 1))

    class Audit:
        def __init__(self, *settings: Any, **more: Any):
            del settings, more

        def examine(self, model: Model, data: Data, key: Any) -> Any:
            assert data is CASE.clean
            seen = SimpleNamespace(mask=masks, size=sizes)
            suspect = np.isin(np.arange(10), [TARGET] * (model.name == "backdoor") + others)
            return SimpleNamespace(
                evidence=SimpleNamespace(triggers=seen, index=index, suspect=suspect)
            )

        def restore(self, model: Model, data: Data, label: int, key: Any) -> Any:
            assert (data is CASE.clean, label) == (True, TARGET)
            return SimpleNamespace(mask=masks[TARGET][None], size=sizes[TARGET][None])

    class Wrong:
        def examine(self, model: Model, data: Data) -> Any:
            return SimpleNamespace(score=whose(data.x))

    def overlap(mask: Any, true: Any) -> Any:
        assert np.all(np.asarray(mask) == TARGET)
        return SimpleNamespace(precision=0.25, recall=0.5, f1=0.75)

    monkeypatch.setattr(tabor, "METHODS", {"tabor": Audit})
    for module in (neural_cleanse, tabor):
        stub(
            monkeypatch, module, NeuralCleanse=Audit, WrongLabels=Wrong, overlap=overlap,
            figures=lambda model, of: Figures(0.5, float(model.name == "backdoor"), 0.0),
            half_stamped=lambda of: rows_of("clean", 0.25),
            trigger=lambda of: SimpleNamespace(mask=jnp.ones((2, 2, 1))),
        )  # fmt: skip
    (row,) = neural_cleanse.make_rows(neural_cleanse.Options(), "square", 4, infected, 0)["rows"]
    suspects = [*map(str, others)] + [str(TARGET)] * infected
    assert row["suspects"] == (" ".join(suspects) or "none")
    assert row["right"] == (not others)
    assert (row["pixels"], row["least_of_others"], row["median"]) == (2.0, 5.0, 8.5)
    assert (row["index"], row["success"]) == (TARGET, float(infected))
    assert (row["precision"], row["recall"], row["f1"]) == (0.25, 0.5, 0.75)
    assert (row["wrong_clean"], row["wrong_stamped"]) == (2.0, 2.25)
    (row,) = tabor.make_rows(tabor.Options(), 4, 0)["rows"]
    assert (row["pixels"], row["success"], row["recall"]) == (2.0, 1.0, 0.5)
