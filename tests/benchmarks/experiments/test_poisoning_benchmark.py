"""The field's benchmark in small: its rows, its files, and the shapes of the paper's settings."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import Box, Perturb, compose
from attacks.goals import Align
from benchmarks.clean_label import Reach
from benchmarks.experiments.targeted import poisoning_benchmark
from benchmarks.experiments.targeted.poisoning_benchmark import Options, _notes, run
from benchmarks.poisons import SETTINGS, networks
from benchmarks.poisons.layout import load
from benchmarks.poisons.setting import ALL, Setting, trials
from benchmarks.pretraining import images
from benchmarks.report import Report, UsageError
from bilevel import Data
from bilevel.learners import Fixed, NetworkModel
from bilevel.losses import CrossEntropy
from bilevel.networks import ConvNet
from bilevel.tools import unstacked

IMAGE = jax.ShapeDtypeStruct((28, 28, 1), jnp.float32)


@pytest.fixture
def untrained(monkeypatch):
    """Networks with their initial weights, in settings of few digits."""

    def extractor(setting, known):
        of = ConvNet((8,), 5, (16,), 8, jax.nn.relu, stride=2)
        row = jax.ShapeDtypeStruct(images(setting.data)[0].x.shape[1:], jnp.float32)
        return NetworkModel(of.init(jax.random.key(KEYS[known]), row), of)

    for made in (
        poisoning_benchmark.crafted, poisoning_benchmark.without, poisoning_benchmark.certified,
        networks.members,
    ):  # fmt: skip
        made.cache_clear()
    for module in (networks, poisoning_benchmark):
        monkeypatch.setattr(module, "extractor", extractor)
    monkeypatch.setitem(SETTINGS, "small", Setting("small", "mnist", (9, 4), 100, 3, 102, 6))
    tiny = Setting("small-scratch", "mnist", ALL, 100, 3, 77, 2, scratch=True)
    monkeypatch.setitem(SETTINGS, "small-scratch", tiny)


KEYS = {"white": 0, "grey": 1, "black": 0}


@pytest.mark.slow
def test_every_attack_meets_every_defense_and_its_files_are_judged_alike(untrained, tmp_path):
    options = Options(
        attacks=("bullseye", "through the head"), defenses=("none", "partition"),
        victims=("white", "black"), steps=3,
    )  # fmt: skip
    report = Report("poisoning-benchmark", options, out=tmp_path)
    run(options, report)
    assert len(report.rows) == 8
    for row in report.rows:
        assert 0 <= row["low"] <= row["success"] <= row["high"] <= 1
        assert (row["certified"] is not None) == (row["defense"] == "partition")
        knows = row["attack"] == "through the head" and row["defense"] != "none"
        assert (row["adaptive"] is not None) == knows
    for attack in ("bullseye", "through-the-head"):
        held = load(tmp_path / f"small-{attack}-0.npz")
        digests = {r["digest"] for r in report.rows if r["attack"] == attack.replace("-", " ")}
        assert digests == {held.digest()}
        assert np.any(held.images != images("mnist")[0].x[held.base])


@pytest.mark.slow
def test_from_scratch_gradients_are_aligned(untrained):
    options = Options("small-scratch", steps=4, members=2)
    report = Report("poisoning-benchmark", options)
    run(options, report)
    assert [(r["attack"], r["victim"]) for r in report.rows] == [
        ("bullseye", "grey"), ("bullseye", "black"), ("alignment", "grey"), ("alignment", "black"),
    ]  # fmt: skip
    setting = SETTINGS["small-scratch"]
    models = unstacked(networks.members(setting, 0, 2))
    keys = jax.random.split(jax.random.key(0), setting.trials)
    (train, test), loss = images("mnist"), CrossEntropy()
    poison = poisoning_benchmark.crafted(options, "alignment", "none", 0).poisons
    for trial in range(setting.trials):
        wish = Data(test.x[poison.target[trial]][None], poison.wanted[trial][None])
        base = Data(train.x[poison.base[trial]], poison.y[trial])
        low, high = (jnp.clip(base.x + s * setting.eps, 0, 1) for s in (-1, 1))
        reach = Perturb(range(setting.poisons), Box(0.0, 1.0))
        around = [compose(Fixed(m, loss), reach, Align(wish, loss), base) for m in models]
        starts = Reach(reach.rows, low, high).starts(keys[trial], poisoning_benchmark.RESTARTS)
        before = [np.mean([float(cosine(start)) for cosine in around]) for start in starts]
        after = np.mean([float(cosine(jnp.asarray(poison.images[trial]))) for cosine in around])
        assert after > max(before)


def test_what_a_setting_does_not_admit_is_refused():
    for wrong, sentence in (
        ({"attacks": ("alignment",)}, "--attacks: got alignment, expected some of frogs, "),
        ({"attacks": ()}, "--attacks: got none"),
        (
            {"setting": "transfer", "defenses": ("trim",)},
            "--defenses: got trim, expected some of none",
        ),
        (
            {"setting": "scratch", "victims": ("white",)},
            "--victims: got white, expected some of grey",
        ),
    ):
        with pytest.raises(UsageError, match=sentence):
            Options(**wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transfer", "scratch"])
def test_the_paper_s_victims_have_their_shapes(name, monkeypatch):
    """A dry run: the programs for CIFAR-10 are traced, and nothing is computed."""
    image = jax.ShapeDtypeStruct((32, 32, 3), jnp.float32)
    of = networks.ResNet((4, 8), 1, outputs=10)
    start = of.init(jax.random.key(0), image)
    monkeypatch.setattr(networks, "extractor", lambda *_: NetworkModel(start, of))
    monkeypatch.setattr(networks, "architecture", lambda *_: of)
    setting = SETTINGS[name]
    learner = networks.victim(setting, "grey")

    def trained(x, y, key):
        return learner.fit(Data(x, y), key=key, throw=False).model.decision(x[:5])

    rows = jax.ShapeDtypeStruct((setting.rows, *image.shape), image.dtype)
    y = jax.ShapeDtypeStruct((setting.rows,), jnp.int32)
    out = jax.eval_shape(trained, rows, y, jax.random.key(0))
    assert out.shape == (5, 10)
    steps = learner.solver.steps  # pyright: ignore[reportAttributeAccessIssue]
    assert steps == 40 * (setting.rows // 128)


def test_networks_of_the_attacker_and_victims_have_different_keys(monkeypatch):
    """Whatever the seed of the trials: 2 is that of the victims."""
    monkeypatch.setattr(networks, "ensemble", lambda _, data, keys: SimpleNamespace(model=keys))
    mine = networks.members.__wrapped__(SETTINGS["small-scratch"], 2, 4)
    theirs = jax.random.key_data(jax.random.split(jax.random.key(2), 30)).tolist()
    own = jax.random.key_data(mine)  # pyright: ignore[reportArgumentType]
    assert not any(key in theirs for key in own.tolist())


def test_notes_stand_where_no_target_counts():
    row = {"attack": "frogs", "victim": "white", "adaptive": None, "clean_test_err": 0.5}
    report = Report("poisoning-benchmark", Options())
    for defense in ("none", "trim"):
        report.row(**row, defense=defense, success=None, random=None)
    _notes(Options(), report)
    assert "white: frogs nan; random changes nan" in report.notes
    assert any(note.startswith("trim, white: at most nan") for note in report.notes)


def test_notes_on_defenses_are_of_the_first_victim_and_its_worst_attack():
    report = Report("poisoning-benchmark", Options())
    for victim, rise in (("white", 0.0), ("grey", 0.25)):
        for attack, success in (("frogs", 0.25), ("bulls", 0.5)):
            for defense, less in (("none", 0.0), ("trim", 0.125)):
                report.row(
                    victim=victim, attack=attack, defense=defense, success=success + rise - less,
                    random=0.125 + rise, adaptive=success + rise if less else None,
                    clean_test_err=success / 4 + rise,
                )  # fmt: skip
    _notes(Options(), report)
    assert "white: frogs 0.25, bulls 0.50; random changes 0.12" in report.notes
    assert "grey: frogs 0.50, bulls 0.75; random changes 0.38" in report.notes
    assert report.notes[-1] == (
        "trim, white: at most 0.38 by those that do not know it, 0.38 by the attacker who knows "
        "it; error without poison 9.4 %"
    )


def test_all_trials_have_the_same_training_images():
    drawn = trials(SETTINGS["small"])
    sets = {tuple(sorted([*b, *c])) for b, c in zip(drawn.base, drawn.clean, strict=True)}
    assert len(sets) == 1
