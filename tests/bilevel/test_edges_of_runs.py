"""Edges of runs: lengths of steps, what is best, what is drawn, and the kinds of what is given."""

import functools
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel import (
    Ascent,
    Checkpoint,
    Data,
    Expected,
    Frozen,
    Info,
    Members,
    Solution,
    SolveError,
    Together,
    append,
    maximize,
)
from bilevel._bilevel import AbstractObjective, Bilevel, Function
from bilevel._devices import free_bytes, local_devices
from bilevel._maximize import Optimized
from bilevel._program import closed, compiler_options, opened
from bilevel._rounding import Noise, rounded
from bilevel._solution import checked
from bilevel._tree import require_count, require_floating
from bilevel.derivatives import ApproximateReversal, Implicit, Unroll
from bilevel.linear import Dense, Factor
from bilevel.losses import CarliniWagner, CrossEntropy
from bilevel.results import CONVERGED, INNER_FAILED, MAX_STEPS, RUNNING, SETTLED, sentence
from bilevel.solvers import Descent, Newton

KEY = jax.random.key(2)


@pytest.mark.parametrize(
    "wrong",
    [{"first": 0.0}, {"last": -1.0}, {"last": 0}, {"share": np.inf}, {"first": np.nan},
     {"momentum": 1.0}, {"momentum": -0.1}],
)  # fmt: skip
def test_lengths_of_an_ascent_are_positive_and_its_momentum_a_share(wrong) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"^{name}: got {value}, expected a s"):
        Ascent(**wrong)


@pytest.mark.stand_ins
def test_an_ascent_carries_its_steps_on_at_the_length_of_now() -> None:
    along: Any = SimpleNamespace(scale=lambda z: jnp.asarray(10.0), direction=lambda g: 2 * g)
    z = jnp.zeros(2)
    for steps, over in ((3, None), (1, 3)):
        optimizer = Ascent(share=0.2, momentum=0.5, over=over).optimizer(along, steps)
        state, updates = optimizer.init(z), []
        for gradient in ([1.0, 0.0], [0.0, 1.0], [0.0, 0.0]):
            update, state = optimizer.update(jnp.array(gradient), state, z)
            updates.append(update)
        # lengths 2, .2 and .02: a hundredth at the end
        np.testing.assert_allclose(updates, [[-4, 0], [-0.2, -0.4], [-0.01, -0.02]], rtol=1e-12)


class Turned(AbstractObjective):
    """Of its own units and directions, and one value; it fails above 1."""

    factor: Any = eqx.field(default=3.0)
    ready: bool = False
    key: Any = None

    def prepared(self):
        return Turned(self.factor, True, self.key)

    def keyed(self, key):
        return Turned(self.factor, self.ready, key)

    def project(self, z):
        return self.factor * z

    def scale(self, z):
        return self.factor + z[0]

    def direction(self, gradient):
        return -self.factor * gradient

    def cold(self, z):
        return None

    def evaluate(self, z, warm=None):
        code = jnp.where(z[0] > 1, MAX_STEPS, CONVERGED).astype(jnp.int32)
        more = 0 if self.key is None else jax.random.uniform(self.key)
        return jnp.sum(z) + more, (None, Info(code, {}))


def test_several_objectives_step_as_the_first() -> None:
    keys, z = jax.random.split(KEY, 2), jnp.array([1.0])
    expected, both = Expected(Turned(), keys), Together([Turned(), Turned(5.0)])
    members = Members(lambda factor: Turned(factor), jnp.array([3.0, 5.0]), keys)
    for objective in (expected, both, members):
        steps = objective.project(z)[0], objective.scale(z), objective.direction(z)[0]
        assert steps == (3, 4, -3)
    assert expected.prepared().objective.ready  # pyright: ignore[reportAttributeAccessIssue]
    assert [part.ready for part in both.prepared().objectives] == [True, True]  # pyright: ignore
    with pytest.raises(ValueError, match=r"members: got arrays with leading axes \[\(2,\), \(3,"):
        Members(Turned, jnp.ones(3), keys)


def test_nothing_has_a_size_of_one_and_no_direction() -> None:
    function = Function(lambda z: jnp.argmax(z))
    assert function.scale(jnp.zeros(2)) == 1
    assert function.scale(jnp.array([3.0, 4.0])) == 5
    np.testing.assert_array_equal(function.direction(jnp.zeros(2)), [0, 0])
    with pytest.raises(ValueError, match=r"^objective: returned .* expected"):
        function.evaluate(jnp.zeros(2))  # a whole number
    problem = Bilevel(lambda z: z, lambda z, w: w, Newton(), Unroll())
    assert isinstance(problem.linear, Factor)
    other = problem.using(Newton(max_steps=3), Implicit(Dense()))
    assert isinstance(other.linear, Dense)
    assert other.solver == Newton(max_steps=3)


def test_a_point_of_a_failed_solve_is_not_the_best() -> None:
    run = maximize(
        Turned(1.0), jnp.array([0.75]), steps=4, optimizer=optax.sgd(0.5), draws=Frozen(KEY)
    )
    assert (int(run.status), int(run.steps)) == (INNER_FAILED, 2)
    same = float(jax.random.uniform(KEY))
    np.testing.assert_allclose([run.z[0], run.value], [0.75, 0.75 + same])
    np.testing.assert_allclose(run.history, [0.75 + same, 1.25 + same, np.nan, np.nan])


def test_ten_steps_in_vain_end_where_it_was_best() -> None:
    """Of an optimiser that goes down; then its steps are half as long."""
    run = maximize(
        lambda z: jnp.sum(z), jnp.zeros(1), steps=12, optimizer=optax.sgd(-1.0),
        record=lambda step: step.z[0],
    )  # fmt: skip
    np.testing.assert_array_equal(run.history, [*np.arange(0, -11, -1), -0.5])


@pytest.mark.parametrize(
    "wrong",
    [{"shrink": 1.0}, {"shrink": 0.0}, {"floor": 1.5}, {"tol": np.inf}, {"tol": -1e-9},
     {"patience": 0}],
)  # fmt: skip
def test_settings_of_a_run_out_of_range_are_named(wrong) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=rf"^{name}: got {value}"):
        maximize(jnp.sum, jnp.ones(2), **wrong)


def test_a_gain_below_the_tolerance_is_no_progress() -> None:
    """Two steps of .09 are less than .1 each; the third evaluation is the second in vain."""
    run = maximize(
        lambda z: jnp.sum(z), jnp.zeros(1), steps=9, optimizer=optax.sgd(0.09), tol=0.1,
        patience=1, floor=1.0, record=lambda step: jnp.int32(7),
    )  # fmt: skip
    assert (int(run.status), int(run.steps)) == (SETTLED, 2)
    assert run.value == 0
    np.testing.assert_array_equal(run.history, [7, 7, 0, 0, 0, 0, 0, 0, 0])


def test_what_is_stuck_is_moved_from_the_new_point_by_the_slope_of_the_user() -> None:
    def redrawn(key, z, gradient):
        drawn = 0.5 * jax.random.uniform(key, (1,))
        return {"a": z["a"], "b": gradient["a"] * z["a"], "c": drawn}

    run = maximize(
        lambda z: 3 * jnp.sum(z["a"]), {name: jnp.zeros(1) for name in "abc"}, steps=3,
        optimizer=optax.sgd(0.1), project=lambda z: jax.tree.map(lambda a: jnp.minimum(a, 1), z),
        reseed=redrawn, record=lambda step: step.z,
    )  # fmt: skip
    np.testing.assert_allclose(run.history["a"][:, 0], [0, 0.3, 0.6])
    np.testing.assert_allclose(run.history["b"][:, 0], [0, 0.9, 1])
    assert len(set(run.history["c"][:, 0].tolist())) == 3
    assert int(run.status) == RUNNING


@pytest.mark.stand_ins
def test_a_message_counts_the_runs_of_each_ending() -> None:
    def told(status, inner):
        state: Any = SimpleNamespace(inner_result=np.array(inner))
        zero: Any = np.zeros(())
        return Optimized(zero, zero, zero, np.array(status), None, state).message  # pyright: ignore

    failed = f"{sentence(INNER_FAILED)}: {sentence(MAX_STEPS)}"
    assert told(RUNNING, MAX_STEPS) == sentence(RUNNING)
    assert told([RUNNING] * 3, [CONVERGED] * 3) == f"3 of 3 runs {sentence(RUNNING)}"
    assert told([SETTLED, INNER_FAILED, SETTLED], [0, MAX_STEPS, 0]).split("\n") == [
        f"2 of 3 runs {sentence(SETTLED)}", f"1 of 3 runs {failed}",
    ]  # fmt: skip


def test_the_worst_of_a_batch_is_told() -> None:
    codes = jnp.array([CONVERGED, MAX_STEPS], jnp.int32)
    assert Solution(None, codes, {}, None).message == sentence(MAX_STEPS)
    with pytest.raises(SolveError, match="max_steps"):
        checked(None, codes)


def test_a_file_of_another_structure_or_of_another_precision_is_refused(tmp_path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.npz")
    checkpoint.remove()  # there is none
    half = jnp.ones(2, jnp.bfloat16)
    checkpoint.save({"half": half})
    with pytest.raises(ValueError, match=r"at tree\['half'\], expected float32"):
        checkpoint.load({"half": jnp.ones(1, jnp.float32)})
    checkpoint.save({name: half for name in "abcde"})
    with pytest.raises(ValueError, match=r"has: tree\['b'\], tree\['c'\], tree\['d'\]\)"):
        checkpoint.load({"a": half})


def test_rows_keep_their_kinds() -> None:
    x = np.ones((3, 2), np.float32)
    data = Data(x, np.array([True, False, True]), np.arange(3))
    kinds = [a.dtype for a in (data.y, data.weight, data.targets())]
    assert kinds == ["int32", "float32", "float32"]
    more = append(data, jnp.array([[1.0, 2.0]]), jnp.array([1.9999999]))
    assert (more.y[-1], more.weight[-1]) == (2, 1)
    assert Data(x.astype(object), [1, 2, 3]).x.dtype == "float64"
    x[1], x[2, 1] = np.nan, np.inf
    for wrong, words in (
        (lambda: Data(x, np.ones(3)), r"^x: 3 of 6 values are .* the first at index \(1, 0\);"),
        (lambda: Data(x[:1], [1], [1.0, 2.0]), r"^weight: got shape \(2,\), expected \(1,\)"),
        (lambda: Data(x[0], [1, 2]), r"^x: got shape \(2,\), expected \(rows, features\)"),
        (lambda: CarliniWagner(np.inf), "^margin: got inf"),
        (
            lambda: CrossEntropy().check(jnp.arange(9.0) + 0.5),
            r"labels \[0.5 1.5 2.5 3.5 4.5\], ex",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()


def test_counts_and_trees_of_numbers() -> None:
    assert require_count("n", np.int64(3)) == require_count("n", 3.0) == 3
    assert require_count("n", 0, least=0) == 0
    for whole in (3, 3.0, np.int64(3), np.uint8(3), np.float64(3)):
        found = require_count("n", whole)
        assert (type(found), found) == (int, 3)
    for wrong, least in (
        (1, 2), (True, 1), (np.inf, 1), (np.nan, 1), (2.5, 1), ("3", 1), (None, 1)
    ):  # fmt: skip
        with pytest.raises(ValueError, match=rf"^n: got {wrong!r}, .* at least {least}$"):
            require_count("n", wrong, least)
    assert require_floating("z", {"a": np.arange(2)})["a"].dtype == "float64"
    for leaf, words in (("word", "got a str"), (np.array([True]), "got bool"), (1j, "got complex")):
        with pytest.raises(ValueError, match=rf"^z\['a'\]: {words}"):
            require_floating("z", {"a": leaf})


def test_a_function_comes_back_with_its_defaults() -> None:
    shift = jnp.ones(2)

    def shifted(x, by=shift, *, times=3.0):
        return times * x + by

    np.testing.assert_array_equal(closed(opened(shifted))(jnp.ones(2)), [4, 4])
    part = functools.partial(shifted, times=5.0)
    np.testing.assert_array_equal(closed(opened(part))(jnp.ones(2)), [6, 6])


def test_options_that_the_user_has_set_stay(monkeypatch) -> None:
    names = compiler_options.__wrapped__(1).keys()
    taken = "xla_cpu_use_fusion_emitters xla_backend_optimization_level "
    monkeypatch.setenv("XLA_FLAGS", taken + "xla_cpu_parallel_codegen_split_count")
    assert compiler_options.__wrapped__(1) == {}
    assert "xla_backend_optimization_level" not in names  # set by the suite


def test_the_memory_of_a_device() -> None:
    told = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 9, "bytes_in_use": 2})
    assert free_bytes(told) == 7
    assert free_bytes(SimpleNamespace(memory_stats=lambda: None)) is None
    with jax.default_device("cpu"):  # pyright: ignore[reportArgumentType]
        assert local_devices() == jax.local_devices(backend="cpu")


def test_rounding_is_drawn_for_each_term_that_is_added() -> None:
    noise = Noise(jnp.uint32(3), jnp.asarray(1e-3))
    assert np.any(noise(1.0, (8,)) != noise(1.0, (8,)))
    ones = jnp.ones(8)
    for function in (lambda x: x - x, jax.jit(lambda x: x - x)):
        np.testing.assert_allclose(np.abs(rounded(function, ones, noise)), 2e-3, rtol=1e-9)
    added = rounded(lambda x: jnp.zeros(8).at[jnp.arange(8)].add(x), ones, noise)
    np.testing.assert_allclose(np.abs(added - 1), 1e-3)
    rows = rounded(lambda A: A @ ones[:4], jnp.ones((8, 4)), noise)
    assert len(set(rows.tolist())) > 2
    columns = rounded(lambda A: ones[:4] @ A, jnp.ones((4, 8)), noise)
    assert len(set(columns.tolist())) > 2


@pytest.mark.parametrize(
    ("labels", "moved"),
    [([1.0, 2.5, 0.0], True), ([0.25, 0.5, 0.75], True), ([1.0, 2, 0], False), ([1, 2, 0], False)],
)
def test_targets_of_which_some_are_no_whole_numbers_are_all_rounded(labels, moved) -> None:
    """Zero stays zero; classes are compared, and stay."""
    y = np.array(labels)
    data = {"rows": Data(np.ones((3, 2)), y, np.full(3, 2.0)), "also": (jnp.ones(2), 7, "word")}
    found = Noise(jnp.uint32(3), jnp.asarray(1e-3)).arrays(data)
    rows = found["rows"]
    np.testing.assert_allclose(np.abs(rows.x - 1), 1e-3)
    np.testing.assert_allclose(np.abs(rows.weight - 2), 2e-3)
    np.testing.assert_allclose(np.abs(rows.y - y), 1e-3 * y * moved, rtol=1e-9)
    assert rows.y.dtype == y.dtype
    np.testing.assert_allclose(np.abs(found["also"][0] - 1), 1e-3)
    assert found["also"][1:] == (7, "word")


@pytest.mark.parametrize(
    ("rate", "solver"), [(0.1, optax.sgd(0.1, momentum=0.5)), (1e-7, optax.sgd(2e-7))]
)
def test_an_approximate_reversal_is_of_plain_steps_of_its_rate(rate, solver) -> None:
    with pytest.raises(ValueError, match=rf"^rate: got {rate} with an optimiser that steps"):
        ApproximateReversal(rate)._check(Descent(solver, 3))
    ApproximateReversal(2e-7)._check(Descent(optax.sgd(2e-7), 3))
