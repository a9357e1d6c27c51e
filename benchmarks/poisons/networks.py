"""Networks whose features are frozen, and victims: who is trained on poison, and how."""

import functools
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from bilevel import Data
from bilevel.learners import (
    AbstractDeepModel,
    AbstractLearner,
    AbstractModel,
    Logistic,
    Network,
    OnFeatures,
    ensemble,
)
from bilevel.networks import AbstractArchitecture, ConvNet, Outputs, ResNet
from bilevel.solvers import Descent

from ..augment import augmented
from ..pretraining import OTHER, WIDE, Pretraining, images, pretrained
from .setting import Setting, own, trials

Known = Literal["white", "grey", "black"]
KNOWN: tuple[Known, ...] = ("white", "grey", "black")
"""What the attacker's network has in common with the victim's: weights, architecture, nothing."""
BATCH = 128
"""Images of a step of networks for CIFAR-10."""
CROPPED = functools.partial(augmented, edges="constant")
"""The paper's random change of the images of each step."""


def admitted(setting: Setting) -> tuple[Known, ...]:
    """Victims of a setting: from scratch no weights are known."""
    return KNOWN[1:] if setting.scratch else KNOWN


def architecture(setting: Setting, known: Known) -> AbstractArchitecture:
    """A network of ten classes: the attacker's, or another for the black box."""
    other = known == "black"
    if setting.data == "cifar":
        return ResNet((48, 96, 192) if other else (64, 128, 256), 1)
    channels, kernel, units = ((12, 24), 3, 48) if other else ((8, 16), 5, 32)
    return ConvNet(channels, kernel, (units,), 10, jax.nn.relu, stride=2)


def extractor(setting: Setting, known: Known) -> AbstractDeepModel:
    """A trained network whose features stay: of the classes that do not take part; if all do, of
    the images that no victim has.
    """
    seed = {"white": 0, "grey": 1, "black": 0}[known]
    if setting.pairwise:
        base, target = setting.classes
        of = Pretraining(setting.data, base, target, 8 if setting.data == "mnist" else 20)
        return pretrained(of, OTHER if known == "black" else WIDE, seed).model
    return _residual(setting, known, seed)


@functools.lru_cache(4)
def _residual(setting: Setting, known: Known, seed: int) -> AbstractDeepModel:
    train, _ = images(setting.data)
    rest = train.take(np.setdiff1d(np.arange(len(train.y)), own(setting)))
    steps = 20 * (len(rest.y) // BATCH)
    rate = optax.cosine_onecycle_schedule(steps, 0.2, pct_start=0.2)
    learner = Network(
        architecture(setting, known), l2=5e-4, batch=BATCH, augment=CROPPED,
        solver=Descent(optax.sgd(rate, momentum=0.9, nesterov=True), steps),
    )  # fmt: skip
    model = learner.fit(Data(rest.x, rest.y), key=jax.random.key(seed)).model
    assert isinstance(model, AbstractDeepModel)
    return model


class Head(AbstractArchitecture):
    """A new last layer of a network that stays: the victim of the paper's transfer setting.

    - `model`: the trained network. `outputs`: number of classes.
    """

    model: AbstractDeepModel
    outputs: int = eqx.field(static=True)

    def init(self, key, row):
        zero = jax.ShapeDtypeStruct((1, *row.shape), row.dtype)
        features = jax.eval_shape(self.model.features, zero)
        weight = jax.random.normal(key, (features.shape[1], self.outputs), row.dtype)
        return {
            "weight": weight / features.shape[1] ** 0.5,
            "bias": jnp.zeros(self.outputs, row.dtype),
        }

    def apply(self, parameters, x, key=None):
        del key
        features = self.model.features(x)
        return Outputs(features @ parameters["weight"] + parameters["bias"][None, :])


@functools.lru_cache(4)
def members(setting: Setting, seed: int, count: int) -> AbstractModel:
    """The attacker's networks from scratch, as one model with a leading axis: trained on the clean
    images of the trials, with initial weights of their own.
    """
    drawn = trials(setting, seed)
    train = images(setting.data)[0].take(np.concatenate([drawn.base[0], drawn.clean[0]]))
    # Away from the keys of the victims, which are of whatever seed.
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), setting.rows), count)
    return ensemble(victim(setting, "grey"), Data(train.x, train.y), keys).model


def victim(setting: Setting, known: Known) -> AbstractLearner:
    """Who is trained on the images of a trial.

    Two classes, labels -1 and +1: logistic regression on frozen features. Ten: the paper's last
    layer (SGD of momentum .9 and rate .01, a tenth from pass 30 of 40, batches of 128, weight decay
    2e-4, shifted and mirrored images). From scratch a network whose rate falls to zero, for images
    of CIFAR-10 after one rise.
    """
    if setting.pairwise:
        return OnFeatures(extractor(setting, known), Logistic(1e-2))
    if setting.scratch and setting.data == "mnist":
        steps = 30 * (setting.rows // 50)
        rate = optax.cosine_decay_schedule(0.05, steps)
        return Network(
            architecture(setting, known), l2=1e-4, batch=50,
            solver=Descent(optax.sgd(rate, momentum=0.9), steps),
        )  # fmt: skip
    if setting.scratch:
        steps = 40 * (setting.rows // BATCH)
        rate = optax.cosine_onecycle_schedule(steps, 0.2, pct_start=0.2)
        return Network(
            architecture(setting, known), l2=5e-4, batch=BATCH,
            augment=CROPPED, solver=Descent(optax.sgd(rate, momentum=0.9, nesterov=True), steps),
        )  # fmt: skip
    passes = setting.rows // BATCH
    rate = optax.piecewise_constant_schedule(0.01, {30 * passes: 0.1})
    return Network(
        Head(extractor(setting, known), len(setting.classes)), l2=2e-4, batch=BATCH,
        augment=CROPPED, solver=Descent(optax.sgd(rate, momentum=0.9), 40 * passes),
    )  # fmt: skip
