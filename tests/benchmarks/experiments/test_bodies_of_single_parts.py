"""Single parts of experiments and of what they share: grids, slopes, faces, digests, seeds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pooch
import pytest
from roles import drawn
from saying import put, said, tells

from attacks import XY, triggers
from benchmarks import clean_label
from benchmarks.data import _source
from benchmarks.data._source import Converted, Original
from benchmarks.data.scenes._shapes import ellipse
from benchmarks.data.scenes._warp import grid
from benchmarks.experiments.backdoors import optimised_trigger, toy_backdoor
from benchmarks.experiments.classifiers import lasso_features
from benchmarks.experiments.defenses import _trim_on_table
from benchmarks.experiments.hypergradients import hypergradient_peers
from benchmarks.experiments.regression import _poisoned_regression
from benchmarks.experiments.scale import restarts
from benchmarks.experiments.svm._finite_differences import STEPS, _slope
from benchmarks.experiments.transfer import _network
from benchmarks.fuzz import learners, programs
from benchmarks.fuzz.exact import linear
from benchmarks.fuzz.tables import Table
from benchmarks.peers import Dual, qpax_peer
from benchmarks.pictures import svm_gradient, svm_mnist
from benchmarks.poisons import Poisons
from benchmarks.pretraining import Pretraining
from benchmarks.report import UsageError
from benchmarks.twins import Strengths
from bilevel import Data
from bilevel.learners import LinearModel

pytestmark = pytest.mark.stand_ins
TARGETS = drawn(targets=True)


def test_an_empty_folder_of_data_is_one_that_is_not_set(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("BILEVEL_DATA", "")
    put(monkeypatch, pooch, retrieve=tells("retrieved"), os_cache=tells("cache"))
    put(monkeypatch, _source, Path=lambda found: found if found[0] != "a" else Path(found))
    found: Any = Original("a/b.npz", "https://there/c", "123").path()
    assert found == ("retrieved", "https://there/c", "sha256:123", "b.npz", ("cache", "bilevel"))
    with pytest.raises(UsageError, match=r"^BILEVEL_DATA: set it to a folder with a/b.npz in it"):
        Converted("a/b.npz", "numbers").path()
    put(monkeypatch, _source, Path=Path)
    monkeypatch.setenv("BILEVEL_DATA", str(tmp_path))
    (tmp_path / "a").mkdir()
    for name in ("b.npz.gz", "b.npz"):  # the file as it is comes first
        (tmp_path / "a" / name).touch()
        for kind in (Original("a/b.npz", "https://there/c", "123"), Converted("a/b.npz", "it")):
            assert kind.path() == tmp_path / "a" / name


@pytest.mark.parametrize(
    ("height", "width", "x", "y"),
    [
        (4, 2, [-0.25, 0.25], [-0.75, -0.25, 0.25, 0.75]),
        (2, 4, [-0.75, -0.25, 0.25, 0.75], [-0.25, 0.25]),
        (1, 1, [0], [0]),
    ],
)
def test_the_longer_side_of_a_grid_is_two(height, width, x, y) -> None:
    across, down = grid(height, width)
    np.testing.assert_array_equal(across, np.broadcast_to(x, (height, width)))
    np.testing.assert_array_equal(down, np.broadcast_to(y, (width, height)).T)
    assert across.dtype == down.dtype == np.float32


@pytest.mark.parametrize("powers", [(1, 3, 5), (1, 2, 3)])
def test_the_doubt_of_a_slope_is_three_standard_errors_of_least_squares(powers) -> None:
    counts = np.arange(len(STEPS)) % 3 > 0
    h = STEPS[counts] / STEPS[1]
    rise = np.zeros(len(STEPS))
    rise[~counts] = np.nan
    rise[counts] = 0.25 * h - 0.5 * h ** powers[1] + 1e-3 * np.cos(9 * np.arange(len(h)))
    terms = h[:, None] ** np.array(powers)
    normal = np.linalg.inv(terms.T @ terms)
    fitted = normal @ terms.T @ rise[counts]
    square = np.sum((rise[counts] - terms @ fitted) ** 2) / (len(h) - 3)
    slope, doubt = _slope(rise, counts, powers)
    assert slope == pytest.approx(fitted[0] / STEPS[1], rel=1e-6)
    assert doubt == pytest.approx(3 * np.sqrt(square * normal[0, 0]) / STEPS[1], rel=1e-6)


@pytest.mark.parametrize(
    ("sign", "w", "slack"),
    [
        ([1, 0], [1.5, 0], 1 - 0.25 / 0.5),
        ([0, 0], [0, 0], 1 - 2 / 0.5),
        ([0, -1], [0, 0.25], 1 - 2 / 0.5),
        ([1, -1], [1.5, 0.25], -0.25 / 1.5),
    ],
)
@pytest.mark.parametrize("flip", [1, -1])
def test_a_sparse_model_is_that_of_its_signs_and_its_slack_tells_wrong_ones(
    sign, w, slack, flip
) -> None:
    """Two features that are not correlated, with slopes 2 and -1/4, and l1 = 1/2: the right signs
    are (1, 0). Slack is negative for a sign against its weight, and for a feature that should be
    in, by its pull.
    """
    x = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    y = flip * (x @ [2.0, -0.25]) + 3
    found = linear.sparse(x, y, np.full(4, 2.0), 0.5, 0.0, flip * np.array(sign))
    bias = np.real(found.decision(np.zeros((1, 2)))[0])
    np.testing.assert_allclose(bias, 3)
    np.testing.assert_allclose(np.real(found.decision(np.eye(2))) - bias, flip * np.array(w))
    assert found.slack == pytest.approx(slack)


def test_rows_of_huber_s_set_are_within_delta_on_both_sides(monkeypatch) -> None:
    """Of our model, whatever the rows' weights; their signs are those of f - y."""
    put(monkeypatch, learners.exact, huber=tells("huber"))
    x, weight = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]), np.array([1.0, 2, 0, 1, 1])
    off = np.array([-0.5, -0.125, 0.125, 0.5, 0.0])
    table = Table(x, 2 * x[:, 0] + 1 - off, weight, x, x[:, 0], 1.0)
    face: Any = SimpleNamespace(model=LinearModel(jnp.array([2.0]), jnp.asarray(1.0)))
    name, *given = learners.huber(0.25)(face)(table, 0.75)  # pyright: ignore
    expected = (x, table.y, weight, 0.75, 0.25, np.abs(off) < 0.25, np.sign(off))
    assert name == "huber"
    for one, other in zip(given, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_kind_is_called_degenerate_if_no_case_of_it_has_a_bound(missing) -> None:
    cells = {"difference_noise": 1e-9, "ours_error": 1e-10, "printed_error": 1.0, "points": 1}
    rows = [
        {"kind": kind, "certified_error": None if kind == "margin" and i < missing else 1e-8}
        | cells
        for kind in ("error", "margin")
        for i in range(2)
    ]
    (axes,) = svm_gradient.draw(rows).axes
    texts = [text.get_text().split(":")[0] for text in axes.texts]
    assert texts == ["no bound"] * (missing == 2)
    assert [text.get_position()[0] for text in axes.texts] == [0.7] * (missing == 2)
    marks = [line for line in axes.lines if line.get_marker() == "_"]
    assert len(marks) == 4 - missing + 4


def test_a_digest_is_of_numbers_and_not_of_how_they_lie_in_memory() -> None:
    x = np.arange(24, dtype=np.uint8).reshape(2, 1, 2, 2, 3)
    rows = np.array([[3], [5]])
    poisons = Poisons("small", rows[:, 0], rows[:, 0] % 2, rows, rows + 1, x, rows % 2)
    digest = poisons.digest()
    swapped = [np.asarray(part).astype(np.asarray(part).dtype.newbyteorder(">"))
               for part in poisons[1:]]  # fmt: skip
    assert Poisons("small", *swapped).digest() == digest
    assert poisons._replace(x=np.asfortranarray(x)).digest() == digest
    for other in (
        poisons._replace(setting="large"), poisons._replace(x=x[:, :, ::-1]),
        poisons._replace(x=x.reshape(2, 1, 2, 3, 2)), poisons._replace(y=1 - rows % 2),
        poisons._replace(x=x.astype(np.int16)), poisons._replace(base=rows + 1, clean=rows),
    ):  # fmt: skip
        assert other.digest() != digest


@pytest.mark.parametrize("seed", [0, 3])
def test_a_network_s_victim_has_a_key_that_no_attacker_has(seed, monkeypatch) -> None:
    told: list[Any] = []

    def fit(data, key):
        told.append((data, key))
        return SimpleNamespace(model=SimpleNamespace(predict=lambda x: jnp.sign(x[:, 0])))

    def network(strengths, rows):
        told.append((strengths, rows))
        return SimpleNamespace(fit=fit)

    put(monkeypatch, _network, network=network)
    strengths = Strengths(C=0.5)
    found = _network.NetworkClassifier(strengths, seed).fit([[1], [2], [3]], np.array([1, -1, 1]))
    (asked, (data, key)) = told
    assert asked == (strengths, 3)
    assert said(jax.random.key_data(key)) == said(jax.random.key_data(jax.random.key(1000 + seed)))
    np.testing.assert_array_equal(data.x, [[1.0], [2.0], [3.0]])
    np.testing.assert_array_equal(data.y, [1, -1, 1])
    np.testing.assert_array_equal(found.classes_, [-1, 1])
    np.testing.assert_array_equal(found.predict([[2], [-3]]), [1, -1])


@pytest.mark.parametrize("seed", [0, 4])
def test_a_case_of_a_trigger_is_drawn_by_its_seed(seed, monkeypatch) -> None:
    """Digits are of one grey level each, their number."""
    digits = SimpleNamespace(
        images=np.arange(40)[:, None] * np.ones((1, 784), int), labels=np.arange(40) % 10
    )
    put(monkeypatch, optimised_trigger, mnist=lambda: digits, stamp=tells("stamp"))
    options = optimised_trigger.Options(train=3, validation=2, share=0.25, size=2, distance=5)
    of = optimised_trigger.case(options, seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation([3, 7, 13, 17, 23, 27, 33, 37])
    for data, rows in zip(of[:3], np.split(order, [3, 5]), strict=True):
        assert isinstance(data, Data)
        np.testing.assert_allclose(data.x[:, 9] * 255, rows)
        np.testing.assert_array_equal(data.y, np.where(rows % 10 == 3, 1, -1))
    name, key, trigger, train, share, labels = of.reach  # pyright: ignore
    assert (name, share, labels) == ("stamp", 0.25, optimised_trigger.LABELS)
    assert said(jax.random.key_data(key)) == said(jax.random.key_data(jax.random.key(seed)))
    assert train is of.train
    assert isinstance(trigger, triggers.Patch)
    np.testing.assert_allclose(trigger.pattern, rng.uniform(size=784))
    mask = np.zeros((28, 28))
    mask[22:24, 22:24] = 1  # the fifth pixel from either edge is its last
    np.testing.assert_array_equal(trigger.mask, mask.ravel())


@pytest.mark.parametrize("attacker", ["plain", "hard", "soft"])
def test_poison_against_trim_is_made_for_a_ridge_as_strong_on_all_rows(
    attacker, monkeypatch
) -> None:
    """Of 25 clean and 6 poison rows; each split has its strength, and its share is told to TRIM."""

    def attack(victim, reach, train, held, start, steps):
        learner = victim if attacker == "plain" else victim.learner
        return XY(start.x, jnp.full(6, learner.l2) * steps)

    def one_by_one(call, *splits):
        made = [call(*split) for split in zip(*splits, strict=True)]
        return XY(jnp.stack([p.x for p in made]), jnp.stack([p.y for p in made]))

    x = jnp.asarray(TARGETS.train.x[:6])
    begin = {"b-flip": XY(x, jnp.ones(6)), "stat-p": XY(x, jnp.zeros(6))}
    put(monkeypatch, _trim_on_table, attack=attack, starts=lambda *given: begin,
        _for_all=one_by_one)  # fmt: skip
    options = _trim_on_table.Options(seeds=2, train=25, steps=4)
    args = options, [TARGETS, TARGETS], 0.2, [0.5, 2.0]
    made = _trim_on_table.made(attacker, *args)
    for poison, alpha in zip(made, (0.5, 2.0), strict=True):
        np.testing.assert_allclose(poison.y, 4 * alpha / 31)
    assert _trim_on_table.made("stat-p", *args) == [begin["stat-p"]] * 2


@pytest.mark.parametrize(("train", "steps"), [(149, 6), (150, 9), (999, 57)])
def test_a_network_of_clean_labels_takes_whole_batches(train, steps, monkeypatch) -> None:
    schedules = SimpleNamespace(sgd=tells("sgd"), cosine_decay_schedule=tells("cosine"))
    put(monkeypatch, clean_label, optax=schedules, Descent=tells("descent"),
        Network=lambda architecture, loss, **settings: settings)  # fmt: skip
    found: Any = clean_label.network(clean_label.Setting(train=train, passes=3))
    rate = ("cosine", 0.05, steps)
    assert found["solver"] == ("descent", ("sgd", rate, ("momentum", 0.9)), steps)
    assert (found["batch"], found["l2"]) == (50, 1e-4)


@pytest.mark.parametrize(("width", "height"), [(2.0, 0.5), (0.5, 2.0), (1.0, 1.0)])
def test_an_ellipse_is_negative_inside_in_units_of_its_shorter_axis(width, height) -> None:
    x, y = np.array([0.0, width, 0, 2 * width, 0]), np.array([0.0, 0, -height, 0, 3 * height])
    short = min(width, height)
    np.testing.assert_allclose(ellipse(x, y, width, height), short * np.array([-1, 0, 0, 1, 2]))


def test_as_many_as_there_are_is_not_too_many(monkeypatch) -> None:
    assert toy_backdoor.Options(train=900).train == 900
    with pytest.raises(UsageError, match=r"^--train: got 901, expected at most 900"):
        toy_backdoor.Options(train=901)
    rows = SimpleNamespace(x=np.arange(3.0)[:, None], y=np.array([-1, 1, -1]))
    more = SimpleNamespace(x=rows.x + 5, y=-rows.y)
    split = SimpleNamespace(train=rows, validation=more)
    put(monkeypatch, restarts, mnist=tells("mnist"),
        drawn_splits=lambda *given: {("mnist",): {6: split}}[given[0]])  # fmt: skip
    for many in (2, 3):
        options: Any = SimpleNamespace(pair="7v1", starts=many)
        of, starts = restarts.begin(options, 6)
        pool = np.array([[0.0], [2.0], [6.0]])
        expected = np.random.default_rng([1, 6]).permutation(pool)[:many]
        assert of is split
        np.testing.assert_array_equal(starts, expected)
    with pytest.raises(UsageError, match=r"^--starts: got 4, expected at most 3, the attacked"):
        restarts.begin(SimpleNamespace(pair="7v1", starts=4), 6)  # pyright: ignore


@pytest.mark.parametrize("count", [5, 6, 7])
def test_rows_are_copied_once_each_as_long_as_they_suffice(count) -> None:
    options: Any = SimpleNamespace(train=6)
    drawn_rows, flipped = lasso_features.starts(options, TARGETS, count, 2)
    rng = np.random.default_rng([1, 2])
    rows = rng.choice(6, count, replace=count == 7)
    np.testing.assert_array_equal(flipped.x, TARGETS.train.x[rows])
    np.testing.assert_array_equal(flipped.y, -TARGETS.train.y[rows])
    np.testing.assert_array_equal(drawn_rows.x, rng.uniform(size=(count, 3)))
    np.testing.assert_array_equal(drawn_rows.y, rng.choice([-1.0, 1], count))


def test_the_first_core_may_be_asked_for(monkeypatch) -> None:
    cores = [{0, 3}]
    backend = SimpleNamespace(clear_backends=lambda: None)
    extend = SimpleNamespace(backend=backend)
    system = SimpleNamespace(
        sched_getaffinity=lambda process: cores[-1],
        sched_setaffinity=lambda process, given: cores.append(given),
    )
    put(monkeypatch, hypergradient_peers, jax=SimpleNamespace(extend=extend), os=system)
    for core, kept in ((0, {0}), (None, {3}), (3, {3})):
        with hypergradient_peers.one_core(core):
            assert cores[-1] == kept
        assert cores[-1] == {0, 3}


def test_each_split_of_a_regression_has_its_own_starts(monkeypatch) -> None:
    """Errors tell which rows were judged, of which split, and on which part."""

    def split(train, validation, test, seed):
        return ("split", seed, train, validation, test)

    def starts(learner, options, parts, count, seed):
        assert (learner, parts[1], count) == ("ridge", seed, 5)
        return {kind: XY(jnp.full((5, 1), 10.0 * place + seed), jnp.zeros(5))
                for place, kind in enumerate(("inv-flip", "b-flip", "stat-p"))}  # fmt: skip

    def attacks_of(learner, options, parts, begin):
        assert [float(start.x[0, 0]) for start in begin] == [0, 1]
        return lambda: XY(jnp.array([[[50.0]], [[51.0]]]), jnp.zeros((2, 1)))

    def judge(learner, options, parts, rows):
        which = float(rows.x[0, 0]) if len(rows.x) else -1.0
        return (parts[1], "validation", which), (parts[1], "test", which)

    table = SimpleNamespace(split=split)
    put(monkeypatch, _poisoned_regression, TABLES={"house": lambda: table}, starts=starts,
        attacks_of=attacks_of, judge=judge, warm=lambda program: (program(), 3.0, 7.0))  # fmt: skip
    options: Any = SimpleNamespace(train=20, validation=4, test=3, seeds=2, start="inv-flip")
    rows = _poisoned_regression.make_rows(options, "house", "ridge", 0.2)["rows"]
    for seed, row in enumerate(rows):
        assert row == {
            "learner": "ridge", "rate": 0.2, "seed": seed, "points": 5,
            "clean_val_mse": (seed, "validation", -1), "clean_test_mse": (seed, "test", -1),
            "flip_test_mse": (seed, "test", 10 + seed),
            "stat_p_test_mse": (seed, "test", 20 + seed),
            "val_mse": (seed, "validation", 50 + seed), "test_mse": (seed, "test", 50 + seed),
            "cpu_seconds": 1.5, "compile_seconds": 7.0,
        }  # fmt: skip


def test_the_sets_of_an_interior_program_are_its_lower_bounds_then_its_upper(monkeypatch) -> None:
    warm = SimpleNamespace(active=np.array([1, 0, 0, 0, 1, 1], bool), lower="lower", upper="upper")
    put(monkeypatch, programs, solved=lambda objective, z: ((objective, z), warm))
    lower, upper = programs._active("objective", "z")  # pyright: ignore
    np.testing.assert_array_equal(lower, [True, False, False])
    np.testing.assert_array_equal(upper, [False, True, True])
    assert programs._sets("objective", "z") == ("lower", "upper")  # pyright: ignore


def test_qpax_has_the_dual_with_its_bounds_as_inequalities(monkeypatch) -> None:
    """min 1/2 a'Qa + q'a with Aa = b, Ga <= h: a point meets them if it meets the dual's."""
    told: list[Any] = []

    def solve(*given, **settings):
        told.append((given, settings))
        return "a"

    module = SimpleNamespace(solve_qp_primal=solve)
    put(monkeypatch, qpax_peer, load=lambda name: {"qpax": module}[name])
    labels, quadratic = jnp.array([1.0, -1, 1]), jnp.eye(3) + 1
    for method in qpax_peer.duals():
        assert method.solve(Dual(quadratic, labels, jnp.asarray(2.0))) == ("a", None)
    settings = {"solver_tol": 1e-15, "target_kappa": 1e-20, "max_iter": 10}
    assert [kept for _, kept in told] == [{}, settings]
    for (Q, q, A, b, G, h), _ in told:
        np.testing.assert_array_equal(Q, quadratic)
        np.testing.assert_array_equal(q, -np.ones(3))
        np.testing.assert_array_equal(A, [[1, -1, 1]])
        np.testing.assert_array_equal(b, [0])
        for a, fits in (([0, 1, 2], 1), ([-0.1, 1, 1], 0), ([0, 2.1, 1], 0), ([2, 2, 2], 1)):
            assert np.all(np.asarray(G) @ a <= np.asarray(h)) == fits
    assert qpax_peer.logistics() == qpax_peer.lassos() == []


@pytest.mark.parametrize(("points", "words"), [
    (1, "1 real digit 8, inserted"), (10, "10 real digits 8, inserted"),
    (11, "11 real digits 8, the first 10 shown, inserted"),
])  # fmt: skip
def test_a_head_says_how_many_digits_are_not_shown(points, words) -> None:
    told: list[str] = []
    figure: Any = SimpleNamespace(text=lambda x, y, text, **settings: told.append(text))
    svm_mnist._head(figure, points, (3, 8))
    assert told[0] == "Poisoning a linear SVM that tells 3 from 8 (MNIST)"
    assert told[1].startswith(f"{words} with the label 3 and moved")


@pytest.mark.parametrize(("base", "target", "sentence"), [
    (10, 4, "two classes from 0 to 9; the base is 10"),
    (-1, 4, "two classes from 0 to 9; the base is -1"),
    (4, 10, "two classes from 0 to 9; the base is 4"),
    (4, -1, "two classes from 0 to 9; the base is 4"),
    (4, 4, "another class than --base"),
])  # fmt: skip
def test_pretraining_leaves_out_two_classes_that_exist(base, target, sentence) -> None:
    with pytest.raises(UsageError, match=f"^--target: got {target}, expected {sentence}"):
        Pretraining(base=base, target=target)
    assert Pretraining(base=0, target=9).base == 0
