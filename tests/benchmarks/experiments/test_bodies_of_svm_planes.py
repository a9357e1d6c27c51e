"""Surfaces and ascents of `svm-2d`: retrained where, climbed from where, and shown as what."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import put, said

from benchmarks.experiments.svm import svm_2d
from benchmarks.experiments.svm.svm_2d import View
from bilevel import Data
from bilevel.results import ACTIVE_SET, CONVERGED, RUNNING, ZERO_GRADIENT

pytestmark = pytest.mark.stand_ins
MAP = SimpleNamespace(
    map=lambda call, places: jax.tree.map(lambda *a: jnp.stack(a), *[call(z) for z in places])
)


def test_the_attacked_class_is_on_the_left() -> None:
    x, y = (np.asarray(part) for part in (lambda d: (d.x, d.y))(
        svm_2d.gaussians(np.random.default_rng(0), 5000)
    ))  # fmt: skip
    assert np.unique(y, return_counts=True)[1].tolist() == [5000, 5000]
    for label in (-1.0, 1.0):
        np.testing.assert_allclose(x[y == label].mean(0), [1.5 * label, 0], atol=0.05)
        np.testing.assert_allclose(np.cov(x[y == label].T), 0.6 * np.eye(2), atol=0.05)
    assert np.all(np.diff(y) >= 0)


def test_places_of_the_box_go_row_by_row() -> None:
    axis, places = svm_2d.square(3)
    np.testing.assert_allclose(axis, [-5.0, 0.0, 5.0])
    assert places.shape == (9, 1, 2)
    np.testing.assert_allclose(places[:4, 0], [[-5, -5], [0, -5], [5, -5], [-5, 0]])


def test_a_view_is_of_validation_rows_after_training_with_the_poison(monkeypatch) -> None:
    validation = Data(np.array([[1.0], [2.0], [-1.0], [0.0]]), np.array([1.0, -1.0, -1.0, 1.0]))

    def fit(train: Any, throw: bool) -> Any:
        assert not throw
        failed = train[0, 0] > 2
        model = SimpleNamespace(decision=lambda x: x[:, 0] * train[0, 0])
        return SimpleNamespace(model=model, result=jnp.where(failed, ACTIVE_SET, CONVERGED))

    attack: Any = SimpleNamespace(
        world=lambda z: SimpleNamespace(train=z), learner=SimpleNamespace(fit=fit),
        goal=SimpleNamespace(score=lambda model, world: model.decision(world.train)[0]),
    )  # fmt: skip
    put(monkeypatch, svm_2d, lax=MAP)
    places = jnp.asarray([[[1.0, 0.0]], [[-2.0, 0.0]], [[3.0, 0.0]]])
    seen = svm_2d.views.__wrapped__(attack, validation, places)  # pyright: ignore
    np.testing.assert_allclose(seen.hinge, [1.0, 4.0, np.nan])
    np.testing.assert_allclose(seen.error, [0.5, 0.75, np.nan])
    assert np.asarray(seen.failed).tolist() == [False, False, True]


def test_arrows_are_certified_gradients_with_their_bounds(monkeypatch) -> None:
    put(monkeypatch, svm_2d, lax=MAP, certify=lambda attack, z: SimpleNamespace(
        gradient=2 * z, error_bound=attack + z[0, 0]
    ))  # fmt: skip
    places = jnp.asarray([[[1.0, 2.0]], [[3.0, 4.0]]])
    gradient, bound = svm_2d.hypergradients.__wrapped__(0.5, places)  # pyright: ignore
    np.testing.assert_allclose(gradient, 2 * np.asarray(places))
    np.testing.assert_allclose(bound, [1.5, 3.5])


def test_steps_have_their_length_along_the_gradient_or_anywhere() -> None:
    step: Any = svm_2d.unit_or_wander(lambda count: 0.5 / (count.astype(float) + 1))
    state = step.init(jnp.zeros((1, 2)))
    moved, state = step.update(jnp.asarray([[3.0, -4.0]]), state)
    np.testing.assert_allclose(moved, [[-0.3, 0.4]])
    lost = []
    for count in (2, 3):
        moved, state = step.update(jnp.full((1, 2), 1e-13), state)
        np.testing.assert_allclose(np.linalg.norm(moved), 0.5 / count)
        lost.append(np.asarray(moved)[0] * count)
    assert int(state) == 3
    assert np.linalg.norm(lost[0] - lost[1]) > 0.01  # in another direction each time
    assert abs(lost[0][0] - lost[0][1]) > 0.01  # which is not the rounding's


def test_ascents_shrink_their_steps_and_go_on_where_it_is_flat(monkeypatch) -> None:
    lengths: list[Any] = []

    def maximize(attack: str, z: Any, **settings: Any) -> Any:
        assert (attack, settings["steps"], settings["patience"]) == ("attack", 10, 10)
        assert settings["reseed"]("key", z, "gradient") is z
        step = SimpleNamespace(value="value", z="place", gradient="gradient")
        assert settings["record"](step) == ("value", "place")
        lengths.extend(float(settings["optimizer"](jnp.int32(k))) for k in (0, 5, 10))
        return z + 1

    put(monkeypatch, svm_2d, lax=MAP, maximize=maximize, unit_or_wander=lambda lengths: lengths)
    starts = jnp.asarray([[[1.0, 2.0]]])
    found = svm_2d.ascents.__wrapped__("attack", starts, 10)  # pyright: ignore
    np.testing.assert_allclose(found, starts + 1)
    np.testing.assert_allclose(lengths, [0.6, np.sqrt(0.6 * 0.01), 0.01])


CLIMBED: Any = SimpleNamespace(
    value=np.array([0.5, 0.75]), steps=np.array([4, 3]), z=np.array([[[1.0, 1]], [[2, 2]]]),
    status=np.array([RUNNING, RUNNING]), message="said", history=(
        np.array([[0.25, 0.125, 0.5, 0.75, 9], [0.25, 0.25, 0.5, 9, 9]]),
        np.arange(20.0).reshape(2, 5, 1, 2),
    ),
)  # fmt: skip


def test_a_path_is_of_the_places_better_than_all_before() -> None:
    np.testing.assert_allclose(svm_2d._path(CLIMBED, 0), [[0, 1], [4, 5], [6, 7]])
    np.testing.assert_allclose(svm_2d._path(CLIMBED, 1), [[10, 11], [14, 15]])


def test_rows_of_ascents_stand_beside_the_top_of_the_surface() -> None:
    surface = View(
        jnp.asarray([0.5, jnp.nan, 2.0]), jnp.asarray([0.3, jnp.nan, 0.25]),
        jnp.asarray([False, True, False]),
    )  # fmt: skip
    ends = View(
        jnp.asarray([0.1, 0.2, 1.0, 1.5]), jnp.asarray([0.01, 0.02, 0.11, 0.12]), jnp.zeros(4, bool)
    )
    made = svm_2d._rows("RBF", CLIMBED, surface, ends)
    assert made["rows"] == [
        {
            "kernel": "RBF", "start": i, "start_hinge": ends.hinge[i], "hinge": ends.hinge[2 + i],
            "start_val_err": ends.error[i], "val_err": ends.error[2 + i],
            "steps": CLIMBED.steps[i], "grid_hinge": 2.0, "share_of_grid": ends.hinge[2 + i] / 2,
            "grid_val_err": np.float64(0.3),
        }
        for i in (0, 1)
    ]  # fmt: skip
    assert made["notes"] == ["RBF: 1 of 3 retrainings did not converge"]
    ended = SimpleNamespace(**{**vars(CLIMBED), "status": jnp.asarray([RUNNING, ZERO_GRADIENT])})
    whole = View(*(part[2:] for part in surface))
    assert svm_2d._rows("RBF", ended, whole, ends)["notes"] == ["RBF: said"]  # pyright: ignore


@pytest.mark.parametrize("drawn", [False, True])
def test_starts_ends_and_the_surface_are_retrained_in_one_go(drawn, monkeypatch) -> None:
    options = svm_2d.Options(grid=3, arrows=2, starts=2, steps=9, C=0.5, seed=4)
    rng = np.random.default_rng(4)
    train, validation = svm_2d.gaussians(rng, 25), svm_2d.gaussians(rng, 500)
    starts = train.x[:2, None]
    composed = (
        ("svm", 0.5, "rbf"), ("insert", [1.0], ("box", -5.0, 5.0)),
        ("goal", said(validation.x, validation.y)), said(train.x, train.y),
    )  # fmt: skip

    def compose(learner: Any, reach: Any, goal: Any, data: Data) -> Any:
        assert (learner, reach, goal, said(data.x, data.y)) == composed
        return SimpleNamespace(prepared=lambda: "prepared")

    def ascents(attack: str, given: Any, steps: int) -> Any:
        assert (attack, said(given), steps) == ("prepared", said(starts), 9)
        return SimpleNamespace(z=2 * given)

    def views(attack: str, held: Data, places: Any) -> View:
        assert (attack, said(held.x)) == ("prepared", said(validation.x))
        assert said(places) == said(np.concatenate([starts, 2 * starts, svm_2d.square(3)[1]]))
        return View(*(jnp.arange(13.0) + 100 * k for k in range(3)))

    def scene(attack: str, axis: Any, surface: View, coarse: Any, paths: list[Any]) -> Any:
        assert (attack, said(axis)) == ("prepared", said(svm_2d.square(3)[0]))
        assert said(coarse) == said(svm_2d.square(2))
        return SimpleNamespace(_asdict=lambda: {"surface": said(surface), "paths": paths})

    put(
        monkeypatch, svm_2d, compose=compose, ascents=ascents, views=views, _scene=scene,
        SVM=lambda C, kernel: ("svm", C, kernel), KERNELS={"RBF": lambda: "rbf"},
        Insert=lambda labels, box: ("insert", labels, box), Box=lambda *ends: ("box", *ends),
        indiscriminate=lambda x, y: ("goal", said(x, y)),
        _path=lambda climbed, start: ("path", said(climbed.z), start),
        _rows=lambda kernel, climbed, surface, ends: {
            "rows": [kernel, said(climbed.z), said(surface), said(ends)]
        },
    )  # fmt: skip
    climbed = said(2 * starts)
    ends, surface = (
        said([np.arange(13.0)[part] + 100 * k for k in range(3)])
        for part in (slice(4), slice(4, None))
    )
    expected = {"rows": ["RBF", climbed, surface, ends]}
    paths = [("path", climbed, 0), ("path", climbed, 1)]
    shown = {"scene": {"surface": surface, "paths": paths}} if drawn else {}
    assert svm_2d.make_rows(options, "RBF", drawn) == expected | shown


def test_a_scene_has_the_strongest_poison_and_arrows_that_are_sure(monkeypatch) -> None:
    """Boundaries without poison and with it; an arrow that its bound exceeds is none."""
    data = Data(np.array([[0.5, 1.0], [2.0, 3.0]]), np.array([-1.0, 1.0]))

    def fit(data: Any) -> Any:
        level = data if isinstance(data, float) else 0.25
        return SimpleNamespace(
            model=SimpleNamespace(decision=lambda x: level + x[:, 0] + 9 * x[:, 1])
        )

    attack: Any = SimpleNamespace(
        data=data, learner=SimpleNamespace(fit=fit),
        evaluate=lambda z: (-abs(z[0, 0] - 2), None),
        world=lambda z: SimpleNamespace(train=float(100 * z[0, 0])),
    )  # fmt: skip
    paths = [
        np.array([[2.0, 0.0], [9.0, 0.0]]),
        np.array([[9.0, 0], [3.0, 0]]),
        np.array([[8.0, 0]]),
    ]
    places = svm_2d.square(2)
    gradient = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.5], [6.0, 8.0]])[:, None]

    def hypergradients(given: Any, at: Any) -> Any:
        assert (given is attack, said(at)) == (True, said(places[1]))
        return gradient, np.array([4.0, 2.0, 0.25, 11.0])

    put(monkeypatch, svm_2d, hypergradients=hypergradients)
    axis = np.array([-1.0, 0.0, 2.0])
    surface = View(*(jnp.arange(9.0) + 10 * k for k in range(3)))
    scene = svm_2d._scene(attack, axis, surface, places, paths)
    assert said(scene.x, scene.y) == said(data.x, data.y)
    np.testing.assert_allclose(scene.hinge, np.arange(9).reshape(3, 3))
    np.testing.assert_allclose(scene.error, 10 + np.arange(9).reshape(3, 3))
    np.testing.assert_allclose(scene.arrows, [[3, 4], [0, 0], [0, 0.5], [0, 0]])
    assert (said(scene.axis), said(scene.arrow_axis)) == (said(axis), said(places[0]))
    assert scene.paths is paths
    plane = np.linspace(-1, 2, 160)
    np.testing.assert_allclose(scene.plane, plane)
    expected = plane + 9 * plane[:, None]
    np.testing.assert_allclose(scene.clean, 0.25 + expected)
    np.testing.assert_allclose(scene.poisoned, 300 + expected)


def test_scenes_are_under_the_names_of_their_kernels(monkeypatch) -> None:
    from benchmarks.pictures import svm_2d as picture

    shown: list[Any] = []
    units: list[Any] = []

    def each(make: Any, options: str, given: Any, title: str) -> Any:
        assert (make, options, title) == (svm_2d.make_rows, "options", "svm-2d")
        units.append(given)
        fields = picture.Scene._fields
        return [{"scene": dict.fromkeys(fields, unit["kernel"])} for unit in given]

    put(monkeypatch, picture, draw=lambda scenes: {k: s.clean for k, s in scenes.items()})
    for out in (None, "folder"):
        report: Any = SimpleNamespace(out=out, each=each, figure=lambda *given: shown.append(given))
        svm_2d.run("options", report)  # pyright: ignore
    assert units == [
        [{"kernel": kernel, "drawn": drawn} for kernel in ("Linear", "RBF")]
        for drawn in (False, True)
    ]
    assert shown == [("svm-2d", {"Linear": "Linear", "RBF": "RBF"})]
