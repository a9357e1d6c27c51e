"""Pictures draw the columns that their labels name, in the colours of their legends."""

import importlib
import zlib
from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from benchmarks.pictures import style, svm_2d


def of(name: str) -> float:
    """The number of a column, below 1."""
    return zlib.crc32(name.encode()) / 2**32


class Row(dict):
    """A cell that is not given has the number of its column."""

    def __missing__(self, name: str) -> float:
        return of(name)


def rows(**cells: tuple) -> list[Row]:
    """All combinations of these cells."""
    return [Row(zip(cells, each, strict=True)) for each in product(*cells.values())]


def above(*names: str) -> list[float]:
    """First without poison, then with some."""
    return [of(names[0]), of(names[1]), of(names[1])]


def ratio(name: str) -> float:
    return of(name) / of("clean_test_mse")


ONE = ("svm",)
SPAM = [
    *rows(learner=("tokens", "logistic"), attack=("dictionary",), share=(0.0, 0.1, 0.2)),
    *rows(learner=("tokens", "logistic"), attack=("optimised",), share=(0.05,)),
]
TOY = [
    *rows(part=("share",), learner=("ridge", "svm"), l2=(0.1, 1.0), share=(0.1, 0.2)),
    *rows(part=("strength",), strength=(0.1, 1.0), peak=(0.5,)),
    *rows(part=("direction",)),
]
SPONGE = [
    *rows(part=("poisoning",), strength=(0.0, 1.0)),
    *rows(part=("examples",), start=("noise", "digits")),
]
FAIR = rows(share=(0.0, 0.1), seed=(0,), attacker=(
    "none", "impact", "impact-1-point", "hide", "influence", "anchors-popular", "solans",
    "error-generic", "group-flips", "random-flips",
))  # fmt: skip
LOST, LOST_FLIPPED = (of(n) - of("clean_rest_err") for n in ("rest_err", "flip_rest_err"))
CURVES: dict[str, tuple[tuple, dict[int, dict[str, Any]]]] = {
    "restarts": (
        (rows(learner=ONE, split=(0, 1), starts=(1, 2)),),
        {
            0: {"climbed": of("loss"), "not moved": of("start_loss"),
                "no poison": of("clean_loss")},
            1: {"climbed": of("test_err"), "not moved": of("start_test_err"),
                "no poison": of("clean_test_err"),
                "climbed, best by test digits": of("bound_err")},
        },
    ),
    "classifiers": (
        ("data", 9, rows(learner=ONE, points=(1, 2))),
        {0: {"optimised": of("test_err"), "flipped and not moved": of("flip_test_err"),
             "no poison": of("clean_test_err")}},
    ),
    "regression": (
        ("data", rows(learner=ONE, rate=(0.1, 0.2))),
        {0: {"optimised": of("test_mse"), "StatP, not optimised": of("stat_p_test_mse"),
             "rows with flipped targets": of("flip_test_mse"),
             "no poison": of("clean_test_mse")}},
    ),
    "label_flips": (
        ("data", 9, rows(learner=ONE, budget=(1, 2), greedy_trainings=(5,), ranked_trainings=(3,))),
        {0: {"at random": above("clean_test_err", "random_test_err"),
             "by hypergradient, 3 trainings": above("clean_test_err", "ranked_test_err"),
             "greedy, 5 trainings": above("clean_test_err", "greedy_test_err")}},
    ),
    "label_sanitisation": (
        (9, rows(learner=ONE, budget=(1, 2))),
        {0: {"no defense, greedy": above("clean_err", "unaware_err"),
             "defended, greedy unaware of it": above("clean_defended_err", "unaware_defended_err"),
             "defended, greedy on Relabel": above("clean_defended_err", "aware_defended_err"),
             "defended, greedy on SoftRelabel": above("clean_defended_err", "soft_defended_err")}},
    ),
    "lasso_features": (
        ("data", 5, rows(learner=ONE, rate=(0.1, 0.2))),
        {0: {"optimised": above("clean_test_err", "attack_test_err"),
             "random rows and labels": above("clean_test_err", "random_test_err"),
             "rows with flipped labels": above("clean_test_err", "flip_test_err")},
         1: {"optimised": [0.0] + [1 - of("attack_stability")] * 2,
             "random rows and labels": [0.0] + [1 - of("random_stability")] * 2}},
    ),
    "roni_spam": (
        ("data", SPAM),
        {0: {"dictionary mails, no defense": of("ham_lost_err"),
             "dictionary mails, RONI": of("ham_lost_roni_err"),
             "dictionary mails rejected": of("poison_rejected"),
             "optimised poison, no defense": of("ham_lost_err"),
             "optimised poison, RONI": of("ham_lost_roni_err")}},
    ),
    "one_by_one": (
        (rows(points=(1, 2)),),
        {0: {"optimised": of("test_err"), "not moved": of("flip_err")},
         1: {"optimised": of("fresh_err"), "not moved": of("fresh_flip_err")}},
    ),
    "scaling": (
        (rows(learner=ONE, rows=(1, 2)), 5),
        {0: {"training": of("training_ms"), "hypergradient on top": of("hypergradient_ms"),
             "linear in rows": [of("training_ms"), 2 * of("training_ms")]}},
    ),
    "dilemma": (
        (rows(set=("a",), attacker=("plain",), radius=(1, 2)), 0.1, "weak"),
        {0: {"plain attacker, no defense": ratio("test_mse"),
             "plain attacker, behind TRIM": ratio("trimmed_test_mse")}},
    ),
    "trim": (
        ("data", rows(rate=(0.1,), strength=("weak",), attacker=("a", "b"))),
        {0: {"no defense": ratio("test_mse"), "TRIM": ratio("trim_test_mse"),
             "TRIM, restarts": ratio("restarts_test_mse"), "Huber": ratio("huber_test_mse"),
             "RANSAC": ratio("ransac_test_mse")}},
    ),
    "toy_backdoor": (
        (TOY,), {2: {"attack success": of("success"), "clean error": of("test_err")}},
    ),
    "sponge": (
        (SPONGE,),
        {0: {"units that fire": of("fired"), "energy, of full": of("energy"),
             "test error": of("test_err")}},
    ),
    "badnets_mnist": (
        (rows(map=("one",), kind=("backdoor",), share=(0.1, 0.2)),),
        {0: {"all to one": of("success"), ":": of("clean_success")},
         1: {"all to one": of("accuracy"), ":": of("clean_accuracy")}},
    ),
    "last_layer": (
        (rows(levels=(0.5,)),),
        {0: {"influence": of("influence"), "implicit": of("implicit")}},
    ),
    "fairness": (
        ("data", FAIR),
        {0: {"hide": of("impact"), "solans": of("impact")}, 1: {"hide": of("test_err")},
         2: {"hide": of("fnr_0")}},
    ),
    "throughput": (
        (rows(devices=(1,), dtype=("float64",), batch=(1, 2)),),
        {0: {"1 device, float64": of("attacks_per_second")}},
    ),
    "optimised_trigger": (
        (rows(kind=("a", "b")),),
        {0: {"attacked": of("success"), "clean victims": of("clean_success")}},
    ),
    "cnn_mnist": (
        (rows(attacker=("a", "b")),),
        {0: {"known weights": of("same_err"), "fresh weights": of("fresh_err"),
             "dense network": of("other_err")}},
    ),
    "neural_cleanse": (
        (rows(infected=(True, False)), [], []),
        {0: {"infected": [of("median"), of("pixels")], "clean": [of("median"), of("pixels")]}},
    ),
    "targeted_mnist": (
        (rows(keep=(1.0,)), 8, 3, 0.1),
        {0: {"optimised, weight of the rest 1": [LOST, of("success")],
             "labels flipped, not moved": [LOST_FLIPPED, of("flip_success")]}},
    ),
}  # fmt: skip
"""By picture: what it is given, and in each panel what is drawn under each label: heights of lines
and bars, places of dots.
"""


def drawn(axes: Axes) -> dict[Any, Any]:
    """Heights of lines and bars, and places of dots, by label; of lines without one by style."""
    found: dict[Any, Any] = {}
    for line in axes.lines:
        label = str(line.get_label())
        found[line.get_linestyle() if label.startswith("_") else label] = line.get_ydata()
    for bars in axes.containers:
        heights: Any = [bar.get_height() for bar in bars if hasattr(bar, "get_height")]
        found[bars.get_label()] = heights
    for dots in axes.collections:
        if str(dots.get_label())[0] != "_":
            found[dots.get_label()] = np.asarray(dots.get_offsets()).ravel()
    return found


def check_readable(figure: Figure) -> None:
    """No name stands twice in a legend, and all curves and bars lie within their axes."""
    for axes in figure.axes:
        legend = axes.get_legend()
        names = [text.get_text() for text in legend.get_texts()] if legend else []
        assert len(set(names)) == len(names), names
        low, high = sorted(axes.get_ylim())
        edge = 0.01 * (high - low) + 1e-12
        for line in axes.lines:
            if line.get_transform() == axes.transData:
                heights = np.asarray(line.get_ydata(), float)
                assert np.all((heights >= low - edge) & (heights <= high + edge)), line.get_label()


def picture(name: str) -> Callable[..., Figure]:
    return importlib.import_module(f"benchmarks.pictures.{name}").draw


@pytest.mark.parametrize("name", CURVES)
def test_what_is_drawn_is_the_column_that_the_label_names(name: str) -> None:
    given, panels = CURVES[name]
    figure = picture(name)(*given)
    if name != "badnets_mnist":  # whose accuracies begin at 90 %
        check_readable(figure)
    for panel, expected in panels.items():
        found = drawn(figure.axes[panel])
        for label, value in expected.items():
            heights = np.asarray(found[label], float)
            assert heights.size
            np.testing.assert_allclose(heights, value, err_msg=f"{panel}: {label}", atol=1e-12)


MAPS: dict[str, tuple[tuple, list[list[float]]]] = {
    "arena": (
        (rows(rate=(0.1,), defense=("d",), attack=("a",), learner=ONE), "a", "a", ONE, "d"),
        [[100 * of("undefended_err"), 100 * of("unaware_err")],
         [100 * of("undefended_err"), 100 * of("adapted_err")]],
    ),
    "backdoor_arena": (
        (rows(attack=("a",), defense=("d",), knows=(False,)), "d"),
        [[of("success")], [of("accuracy")]],
    ),
    "transfer": (
        (rows(surrogate=ONE, target=ONE), (0, 1), 0.1),
        [[100 * (of("flip_test_err") - of("clean_test_err")),
          100 * (of("test_err") - of("clean_test_err"))]],
    ),
    "toy_backdoor": ((TOY,), [[of("success")] * 4] * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_of_the_columns_that_their_titles_name(name: str) -> None:
    given, expected = MAPS[name]
    panels = [axes for axes in picture(name)(*given).axes if axes.images]
    for axes, values in zip(panels, expected, strict=True):
        np.testing.assert_allclose(np.ravel(axes.images[0].get_array()), values)  # pyright: ignore


IMAGES = np.random.default_rng(0).uniform(size=(4, 1, 28, 28))
ONE_OF_EACH = dict(zip(("a", "b"), IMAGES[:2], strict=True))


def shown(figure: Figure) -> dict[str, Any]:
    """The images under their titles."""
    each = [axes for axes in figure.axes if axes.images and axes.get_title("left")]
    found = {axes.get_title("left"): axes.images[0].get_array() for axes in each}
    return found | {a.get_title(): a.images[0].get_array() for a in figure.axes if a.get_title()}


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("februus", tuple(IMAGES), ("stamped", "heat", "masked", "restored")),
        (
            "clean_label", (IMAGES[:1], IMAGES[1:2], IMAGES[2:3]),
            {"before": 0, "after": 1, "target": 2},
        ),
        ("frogs", (IMAGES[0], {"a": IMAGES[1]}, IMAGES[2]), {"base": 0, "poison": 1, "target": 2}),
        ("hidden_trigger", (ONE_OF_EACH,), ("a", "b")),
        ("trojan_mnist", (ONE_OF_EACH, IMAGES[2:, 0]), ("a", "b", "inverted 0", "inverted 1")),
    ],
)  # fmt: skip
def test_images_have_their_own_titles(name: str, given: tuple, expected: Any) -> None:
    if not isinstance(expected, dict):
        expected = {title: place for place, title in enumerate(expected)}
    found = shown(picture(name)(*given))
    for title, place in expected.items():
        np.testing.assert_array_equal(found[title], IMAGES[place, 0], title)


def colours(figure: Figure) -> dict[str, str]:
    """The colour of each entry of the figure's legend."""
    handles = figure.legends[0].legend_handles
    return {str(h.get_label()): to_hex(h.get_color()) for h in handles}  # pyright: ignore


def test_the_scenes_of_an_svm_are_drawn_as_the_legend_says() -> None:
    axis = np.linspace(-2.0, 2.0, 9)
    plane = np.broadcast_to(axis, (9, 9))
    x, y = np.array([[0.0, 0.1], [1.0, 1.1], [1.5, 0.3]]), np.array([-1, 1, 1])
    hinge, error = plane + 3.0, 0.1 * plane + 0.4
    arrows = np.zeros((4, 2))
    path = np.array([[0.0, 0.0], [0.5, 0.5]])
    scene = svm_2d.Scene(
        x, y, axis, hinge, error, axis[[2, 6]], arrows, [path], axis, plane + 0.7, plane - 0.7
    )
    figure = svm_2d.draw({"Linear": scene})
    says = colours(figure)
    left, right = figure.axes[:2]
    for axes, values in ((left, hinge), (right, error)):
        mesh, *rest = axes.collections
        np.testing.assert_array_equal(np.ravel(np.asarray(mesh.get_array())), values.ravel())
        rows = {to_hex(dots.get_facecolor()[0]): dots.get_offsets() for dots in rest[-2:]}  # pyright: ignore
        np.testing.assert_array_equal(rows[says["attacked class"]], x[:1])
        np.testing.assert_array_equal(rows[says["attacker’s class"]], x[1:])
    bars = [axes.get_ylabel() for axes in figure.axes[2:]]
    assert bars == ["validation hinge loss", "validation error"]
    for contour, where in zip(right.collections[1:3], (-0.7, 0.7), strict=True):
        np.testing.assert_allclose(contour.get_paths()[0].vertices[:, 0], where)  # pyright: ignore
    dashes = [contour.get_linestyle()[0][1] for contour in right.collections[1:3]]  # pyright: ignore
    assert [each is None for each in dashes] == [False, True]  # without the poison, with it


def test_arrows_are_as_long_and_stand_inside_the_frame_and_dots_where_there_is_no_gradient() -> (
    None
):
    axis, places = np.array([-1.5, 0.0, 1.5]), np.array([-2.0, 0.0, 1.0])
    arrows = np.zeros((9, 2))  # row by row, from the left
    arrows[[0, 4, 7]] = [[1.0, 0.0], [3.0, 4.0], [0.0, -1e-9]]
    scene: Any = SimpleNamespace(axis=axis, arrow_axis=places, arrows=arrows)
    axes = style.new_figure(3, 3).subplots()
    svm_2d._arrows(axes, scene)
    (quiver,), (dots,) = axes.collections, axes.lines
    np.testing.assert_array_equal(quiver.get_offsets(), [[0, 0], [0, 1]])
    np.testing.assert_allclose(np.stack([quiver.U, quiver.V], 1), [[0.6, 0.8], [0, -1]])  # pyright: ignore
    np.testing.assert_array_equal(np.asarray(dots.get_xydata()), [[1, 0], [1, 1]])


def test_the_marks_of_gradients_are_those_of_the_legend() -> None:
    cells = {"kind": ("margin",), "points": (1,)}
    figure = picture("svm_gradient")(rows(**cells))
    expected = {
        "bound our certificate gives": "certified_error", "our hypergradient": "ours_error",
        "noise of the differences": "difference_noise",
        "formula that papers print": "printed_error",
    }  # fmt: skip
    found = {to_hex(line.get_color()): float(line.get_ydata()[0]) for line in figure.axes[0].lines}  # pyright: ignore
    assert {label: found[colour] for label, colour in colours(figure).items()} == {
        label: of(name) for label, name in expected.items()
    }


def test_memory_that_was_not_measured_is_the_plan_and_that_of_the_process() -> None:
    """The process has 100 MB beside the plan; ticks go from half the least to twice the most."""

    def row(mode: str, steps: int, planned: float, peak: float | None, cpu: float | None) -> Row:
        return Row(mode=mode, steps=steps, planned_mb=planned, peak_mb=peak, cpu_s=cpu)

    picture = importlib.import_module("benchmarks.pictures.memory").draw([
        row("full", 100, 2_450.0, None, None), row("full", 10, 200.0, 300.0, 6.0),
        row("forward", 10, 50.0, 150.0, 2.0), row("sqrt", 10, 90.0, 195.0, 9.0),
    ])  # fmt: skip
    left, right = picture.axes
    drawn = [np.asarray(line.get_xydata()).tolist() for line in left.lines]
    assert drawn == [
        [[10, 300]], [[10, 300], [100, 2_550]], [[100, 2_550]], [[10, 195]], [[10, 150]],
    ]  # fmt: skip
    assert left.lines[2].get_markerfacecolor() == "white"
    assert left.get_yticks().tolist() == [100, 200, 500, 1_000, 2_000, 5_000]
    assert [np.asarray(line.get_xydata()).tolist() for line in right.lines] == [
        [[10, 3.0]], [[10, 4.5]],
    ]  # fmt: skip


def test_the_curves_of_a_poisoned_svm_have_the_colours_of_their_names() -> None:
    svm_mnist = importlib.import_module("benchmarks.pictures.svm_mnist")
    axes = style.new_figure(2, 2).subplots()
    svm_mnist._share(axes, rows(points=(1, 2), split=(0,)), 9)
    assert axes.get_ylim()[1] == pytest.approx(of("test_err"), rel=0.2)  # the highest
    names = {to_hex(text.get_color()): text.get_text() for text in axes.texts[:2]}
    found: Any = {names[to_hex(line.get_color())]: line.get_ydata() for line in axes.lines}  # pyright: ignore
    np.testing.assert_allclose(found["poisoned"], above("clean_test_err", "test_err"))
    np.testing.assert_allclose(
        found["control: same digits, not moved"], above("clean_test_err", "flip_test_err")
    )
