"""Clean-label attacks on networks of digits: what their experiments share.

A network is trained from scratch on MNIST. The attacker moves some training digits of one class,
each pixel by little, and no label. What counts is what fresh networks, with other initial weights
and batches, make of it.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray
from scipy.special import stdtrit

from attacks import AbstractCapability, Box, Perturb, compose
from attacks.goals import Align
from attacks.goals.cancelling import gradient
from benchmarks.data import mnist
from benchmarks.options import Count, Positive, Share, check, refuse
from bilevel import Data, Members, batch, maximize
from bilevel.learners import AbstractModel, Fitted, Fixed, Network, ensemble
from bilevel.losses import CrossEntropy
from bilevel.networks import ConvNet
from bilevel.solvers import Descent
from bilevel.tools import dot, program

SHAPE = (28, 28, 1)
LOSS = CrossEntropy()
BATCH, RATE = 50, 0.05


@dataclasses.dataclass(frozen=True)
class Setting:
    """The digits, the poison and the victims."""

    pairs: Count = 10
    """Attacks for each seed."""
    seeds: Count = 2
    """Splits of the digits, each with networks of its own."""
    victims: Count = 5
    """Fresh networks that judge an attack."""
    train: Count = 1000
    """Training digits; the others of 5,000 are test digits."""
    share: Share = 0.02
    """Training digits that are moved, all of one class."""
    eps: Positive = 0.3
    """Largest change of a pixel."""
    passes: Count = 30
    """Passes of the training."""

    def __post_init__(self):
        check(self)
        if not 100 <= self.train <= 4000:
            refuse("train", self.train, "100 to 4000 of 5,000 digits")
        if self.share > 0.05 or self.poisons < 1:
            refuse("share", self.share, "at least one digit, and at most .05: half of a class")

    @property
    def poisons(self) -> int:
        """Training digits that are moved."""
        return round(self.share * self.train)


class Digits(NamedTuple):
    """Training and test digits of a seed, and networks trained on them: `models` of the attacker,
    `clean` with the keys (victims,) of the victims.
    """

    train: Data
    test: Data
    models: AbstractModel
    clean: Fitted
    keys: Key[Array, " victims"]


def network(setting: Setting) -> Network:
    """A small convolutional network, and its training."""
    steps = setting.passes * (setting.train // BATCH)
    rate = optax.cosine_decay_schedule(RATE, steps)
    architecture = ConvNet((8, 16), 5, (32,), 10, jax.nn.relu, stride=2)
    solver = Descent(optax.sgd(rate, momentum=0.9), steps)
    return Network(architecture, LOSS, l2=1e-4, batch=BATCH, solver=solver)


def digits(setting: Setting, seed: int, members: int) -> Digits:
    """A random split; so many networks of the attacker, and the clean victims. UsageError if a
    class has fewer training digits than are to be moved.
    """
    held, order = mnist(), np.random.default_rng(seed).permutation(5000)
    x = (held.images[order] / 255.0).astype(np.float32).reshape(-1, *SHAPE)
    y = held.labels[order].astype(np.int32)
    train, test = (Data(x[part], y[part]) for part in np.split(np.arange(5000), [setting.train]))
    fewest = np.min(np.bincount(y[: setting.train], minlength=10))
    if setting.poisons > fewest:
        refuse("share", setting.share, f"at most {fewest} digits, as many as each class has")
    mine, theirs = jax.random.split(jax.random.key(seed))
    keys = jax.random.split(theirs, setting.victims)
    models, clean = (
        ensemble(network(setting), train, of) for of in (jax.random.split(mine, members), keys)
    )
    return Digits(train, test, models.model, clean, keys)


def predictions(models: AbstractModel, x: Float[Array, "n ..."]) -> Int[Array, "k n"]:
    """Labels of rows by each of k models."""
    return batch(lambda model: model.predict(x))(models)


@program
def steepest(
    models: AbstractModel, data: Data, labels: Int[Array, " p"], count: int
) -> Int[Array, "p count"]:
    """For each label the rows of that label with the largest gradients in the parameters, by the
    mean of their norms over the models (Souri et al. 2022).
    """

    def sizes(model: AbstractModel) -> Float[Array, " n"]:
        def size(row):
            slope = gradient(model, Data(row.x[None], row.y[None]), LOSS)
            return jnp.sqrt(dot(slope, slope))

        return jax.lax.map(size, data, batch_size=100)

    mean = jnp.mean(batch(sizes)(models), axis=0)
    of_label = jnp.where(data.y[None] == labels[:, None], mean[None], -jnp.inf)
    return jax.lax.top_k(of_label, count)[1]


class Reach(NamedTuple):
    """Rows whose pixels may change by eps, within [0, 1], and the ends of their intervals."""

    rows: Int[Array, " n"]
    low: Float[Array, "n ..."]
    high: Float[Array, "n ..."]

    def perturb(self) -> Perturb:
        """The capability."""
        return Perturb(self.rows, Box(self.low, self.high))

    def starts(self, key: PRNGKeyArray, count: int) -> Float[Array, "k n ..."]:
        """Random points of the intervals."""
        share = jax.random.uniform(key, (count, *self.low.shape), self.low.dtype)
        return self.low[None] + share * (self.high - self.low)[None]

    def noise(self, key: PRNGKeyArray) -> Float[Array, "n ..."]:
        """Random changes of the largest size: each pixel at an end of its interval."""
        return jnp.where(jax.random.bernoulli(key, shape=self.low.shape), self.low, self.high)


def near(setting: Setting, data: Data, rows: Int[Array, " n"]) -> Reach:
    """What the attacker may do to these rows."""
    x = data.x[rows]
    return Reach(rows, jnp.maximum(x - setting.eps, 0), jnp.minimum(x + setting.eps, 1))


def sign_adam(step: float, steps: int) -> optax.GradientTransformation:
    """Steps of one length in every pixel, along the sign of Adam's direction; a tenth of it from
    3/8, 5/8 and 7/8 of the steps on (Geiping et al. 2021).
    """
    pace = optax.piecewise_constant_schedule(step, {steps * k // 8: 0.1 for k in (3, 5, 7)})
    return optax.chain(
        optax.scale_by_adam(),
        optax.stateless(lambda updates, _: jax.tree.map(jnp.sign, updates)),
        optax.scale_by_learning_rate(pace),
    )


def aligned(
    reach: AbstractCapability,
    target: Data,
    models: AbstractModel,
    data: Data,
    starts: Float[Array, "k n ..."],
    step: float,
    steps: int,
) -> tuple[Float[Array, "n ..."], Float[Array, ""]]:
    """Rows whose gradients are aligned with those of `target`, by the mean over the models: the
    best of the ascents from several starts, and its alignment.
    """
    goal, optimizer = Align(target, LOSS), sign_adam(step, steps)

    def around(model):
        return compose(Fixed(model, LOSS), reach, goal, data)

    def climb(start):
        attack = Members(around, models)
        return maximize(attack, start, steps=steps, optimizer=optimizer, patience=steps)

    runs = batch(climb)(starts)
    best = jnp.argmax(runs.value)
    return runs.z[best], runs.value[best]


def retrained(
    setting: Setting, of: Digits, rows: Int[Array, "p n"], z: Float[Array, "p n ..."]
) -> Fitted:
    """The victims (p, victims) of each of p attacks, trained from scratch; one program."""
    net = network(setting)

    def fit(rows, z):
        return ensemble(net, near(setting, of.train, rows).perturb().inject(z, of.train), of.keys)

    return batch(fit)(rows, z)


def with_interval(values: Sequence[float] | np.ndarray) -> str:
    """The mean with its 95 % interval, by Student's t, which is about other pairs; of one value the
    value.
    """
    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return f"{mean:.3f}"
    half = float(stdtrit(count - 1, 0.975)) * float(np.std(values, ddof=1)) / count**0.5
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"
