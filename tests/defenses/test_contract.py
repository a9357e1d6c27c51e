"""What every defense keeps, one row each: order, derivatives, jit and vmap, pinning."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attacks import Box, Insert, compose, indiscriminate
from bilevel import AbstractSolver, Data, certify
from bilevel.derivatives import Implicit, Unroll
from bilevel.learners import SVM, AbstractLearner, Logistic
from bilevel.results import CONVERGED
from bilevel.solvers import Descent, Each
from defenses import (
    AbstractHardSanitiser,
    ConfidentLearning,
    Filter,
    MicroModels,
    Partition,
    Relabel,
    Roni,
    Sever,
    SoftFilter,
    SoftTrim,
    Trim,
    VotingModel,
)
from defenses.ensemble._ensemble import OfMembers

N, D = 40, 3
RNG = np.random.default_rng(4)
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
X = RNG.normal(size=(N, D)) + 1.2 * Y[:, None]
FLIPPED = RNG.permutation(N)[:5]
Y[FLIPPED] *= -1
WEIGHT = RNG.uniform(0.7, 1.5, N)
WEIGHT[11] = 0
DATA = Data(X, Y, WEIGHT)
AT = jnp.asarray(RNG.normal(size=(12, D)))
PLAIN = Logistic(0.05)


def hard(learner) -> dict[str, AbstractLearner]:
    return {
        "trim": Trim(learner, 0.2),
        "trim from random sets": Trim(learner, 0.2, restarts=3),
        "filter": Filter(learner, contamination=0.2),
        "sever": Sever(learner, 0.2, rounds=2),
        "roni": Roni(learner, draws=1, train=6, validation=10),
        "relabel": Relabel(learner, 5, agreement=0.7),
        "micro-models": MicroModels(learner, 3),
        "confident learning": ConfidentLearning(learner, 3),
        "partition": Partition(learner, 3),
        "filter and trim": Filter(Trim(learner, 0.1), contamination=0.1),
    }


HARD = hard(PLAIN)
SMOOTH = ("trim", "filter", "sever", "relabel", "micro-models", "partition", "filter and trim")
ALL = {**HARD, **{f"soft {name}": HARD[name].surrogate(DATA).prepare(DATA) for name in SMOOTH}}
SLOW = {"trim from random sets", "soft sever", "soft filter and trim"}


def rows(names, slow=SLOW):
    return [pytest.param(n, marks=pytest.mark.slow if n in slow else ()) for n in names]


def loss(leaves, learner):
    fitted = learner.fit(Data(*leaves), throw=False)
    f = fitted.model.decision(AT)
    return jnp.mean(jnp.cos(f)), (f, fitted.result)


@eqx.filter_jit
def studied(learner, leaves):
    """Loss, its gradient, decisions and codes, for a batch of data sets."""
    return jax.vmap(jax.value_and_grad(lambda leaves: loss(leaves, learner), has_aux=True))(leaves)


DRAWN = {"roni", "micro-models", "confident learning", "partition"}
H = 1e-3
ORDER = RNG.permutation(N)
ALONG = {  # unit directions, in rows that count
    0: np.sin(np.arange(N * D)).reshape(N, D) * (WEIGHT > 0)[:, None] / (N * D) ** 0.5,
    2: np.cos(3.0 * np.arange(N)) * (WEIGHT > 0) / N**0.5,
}
STEPS = (H, -H, 2 * H, -2 * H)


def lanes():
    """The data, the data in another order, and moved along each direction."""
    leaves = X, Y, WEIGHT
    cases = [leaves, tuple(leaf[ORDER] for leaf in leaves)]
    for place, along in ALONG.items():
        for step in STEPS:
            moved = list(leaves)
            moved[place] = moved[place] + step * along
            cases.append(tuple(moved))
    return tuple(jnp.stack([jnp.asarray(c[i]) for c in cases]) for i in range(3))


@pytest.mark.parametrize("name", rows(ALL))
def test_order_batches_and_derivatives(name):
    defense = ALL[name]
    (values, (decisions, codes)), gradients = studied(defense, lanes())
    alone = defense.fit(DATA)
    assert not np.any(codes)
    np.testing.assert_allclose(decisions[0], alone.model.decision(AT), rtol=1e-8, atol=1e-11)
    known = name in ("soft micro-models", "soft partition")  # they hold rows in their parts
    if not known:
        np.testing.assert_allclose(decisions[1], decisions[0], rtol=1e-8, atol=1e-11)
    for number, (place, along) in enumerate(ALONG.items()):
        if name in DRAWN and place == 0:
            continue  # a row that moves is in another part, or tried with other rows
        near_up, near_down, far_up, far_down = values[2 + 4 * number : 6 + 4 * number]
        expected = (8 * (near_up - near_down) - (far_up - far_down)) / (12 * H)
        ours = jnp.sum(gradients[place][0] * along)
        if name == "partition":  # votes have none
            assert ours == expected == 0
            continue
        assert abs(expected) > 1e-5
        np.testing.assert_allclose(ours, expected, rtol=1e-8)
    if isinstance(defense, AbstractHardSanitiser):
        dropped = ~np.asarray(alone.report.kept) & (WEIGHT > 0)
        assert not np.any(np.asarray(gradients[0][0])[dropped])
    elif name.startswith("soft"):
        assert np.all(np.any(np.asarray(gradients[0][0])[WEIGHT > 0] != 0, axis=1))


@pytest.mark.parametrize(
    "name", rows([n for n in ALL if "partition" not in n], slow=SLOW | {"soft trim"})
)
def test_a_pinned_training_is_the_training_without_a_search(name):
    defense = ALL[name]

    @eqx.filter_jit
    def gradients(leaves):
        data = Data(*leaves)
        pinned = defense.pinned(defense.training(data))
        (value, (f, code)), slopes = jax.value_and_grad(
            lambda leaves: loss(leaves, pinned), has_aux=True
        )(leaves)
        return (value, f, code, slopes), pinned

    leaves = tuple(jnp.asarray(leaf) for leaf in (X, Y, WEIGHT))
    (value, f, code, slopes), pinned = gradients(leaves)
    (values, (decisions, _)), expected = studied(defense, lanes())
    assert int(code) == CONVERGED
    np.testing.assert_allclose(value, values[0], rtol=1e-10)
    np.testing.assert_allclose(f, decisions[0], rtol=1e-8, atol=1e-11)
    for ours, theirs in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(ours, theirs[0], rtol=1e-7, atol=1e-12)
    if name in HARD:
        assert loops(pinned) == loops(PLAIN)


def loops(learner) -> int:
    """Of a training, without its solve."""

    def problem(leaves):
        return jax.tree.leaves(eqx.filter(learner.training(Data(*leaves)).problem, eqx.is_array))

    return str(jax.make_jaxpr(problem)((DATA.x, DATA.y, DATA.weight))).count("while[")


PATH = Logistic(0.3, solver=Descent(optax.sgd(0.7), steps=150, tol=1e-6), derivative=Unroll())


@pytest.mark.parametrize(
    "name", ["trim", "filter", "partition", pytest.param("sever", marks=pytest.mark.slow)]
)
def test_learners_that_follow_a_path_are_defended_too(name):
    defense = hard(PATH)[name]
    fitted = defense.fit(DATA)
    assert fitted.warm is None
    exact = hard(Logistic(0.3))[name].fit(DATA)
    np.testing.assert_allclose(fitted.model.decision(AT), exact.model.decision(AT), atol=1e-4)
    (value, _), slopes = jax.value_and_grad(lambda leaves: loss(leaves, defense), has_aux=True)(
        (DATA.x, DATA.y, DATA.weight)
    )
    assert np.isfinite(value)
    assert np.any(np.asarray(slopes[0])) or name == "partition"


class Counted(AbstractSolver):
    """Another solver; counts how often it is part of a program."""

    solver: AbstractSolver
    runs: list = eqx.field(static=True)

    def cold(self, problem):
        return self.solver.cold(problem)

    def run(self, problem, warm):
        self.runs.append(1)
        return self.solver.run(problem, warm)

    def conditions(self, problem, unknowns, frozen):
        return self.solver.conditions(problem, unknowns, frozen)

    def value(self, problem, unknowns, frozen):
        return self.solver.value(problem, unknowns, frozen)

    def backsolve(self, problem, frozen, rhs):
        return self.solver.backsolve(problem, frozen, rhs)

    def slack(self, problem, unknowns, frozen):
        return self.solver.slack(problem, unknowns, frozen)


@pytest.mark.parametrize("name", [n for n in HARD if "random" not in n and n != "partition"])
def test_a_certificate_searches_once(name):
    """It costs what the undefended one does and one inspection, whose trainings are one loop."""
    z = jnp.ones((1, D))

    def solves(make) -> int:
        learner = SVM(1.0)
        counted = Counted(learner.solver, [])
        learner = make(learner.using(counted, learner.derivative))
        attack = compose(
            learner, Insert(np.array([1.0]), Box(-3.0, 3.0)), indiscriminate(X[:9], Y[:9]), DATA
        )
        counted.runs.clear()
        jax.make_jaxpr(lambda z: certify(attack, z).error_bound)(z)
        return len(counted.runs)

    undefended = solves(lambda learner: learner)
    assert undefended >= 1
    assert solves(lambda learner: hard(learner)[name]) <= 3 * undefended


def test_a_surrogate_keeps_the_learner_and_softens_what_is_defended():
    svm = SVM(1.0)
    assert Trim(svm).surrogate(DATA).learner is svm  # its hypergradient is exact
    nested = Filter(Trim(svm, 0.1)).surrogate(DATA)
    assert isinstance(nested, SoftFilter)
    assert isinstance(nested.learner, SoftTrim)
    roni = Roni(svm)
    assert roni.surrogate(DATA) is roni
    micro = MicroModels(svm, 4, 0.3, seed=2).surrogate(DATA)
    assert (micro.models, micro.dispute, micro.seed) == (4, 0.3, 2)


def test_a_report_holds_those_inside():
    fitted = HARD["filter and trim"].fit(DATA)
    assert int(np.sum(fitted.report.kept)) > int(np.sum(fitted.report.inner.kept))
    assert fitted.report.inner.inner is None


def test_the_solver_of_an_ensemble_can_be_replaced():
    other = Partition(Logistic(0.3), 3).using(Each(PATH.solver), Unroll())
    same = hard(PATH)["partition"]
    model, expected = other.fit(DATA).model, same.fit(DATA).model
    assert isinstance(model, VotingModel)
    assert isinstance(expected, VotingModel)
    np.testing.assert_allclose(model.decisions(AT), expected.decisions(AT), rtol=1e-12)


def test_an_ensemble_s_own_solver_and_derivative_are_those_of_its_members():
    """Whether they come as those of a member, or as those of the whole."""
    ensemble, path, twice = Partition(Logistic(0.3), 3), Unroll(), Unroll(2)
    for solver in (PATH.solver, Each(PATH.solver)):
        for derivative in (path, OfMembers(path)):
            member: Any = ensemble.using(solver, derivative).learner
            assert (member.solver, member.derivative) == (PATH.solver, path)
    other = ensemble.using(PATH.solver, twice)
    again: Any = other.using(other.solver, other.derivative)
    assert isinstance(again.derivative, OfMembers)
    assert (again.learner.solver, again.learner.derivative) == (PATH.solver, twice)
    assert (again.partitions, again.seed) == (3, ensemble.seed)
    exact: Any = ensemble.using(ensemble.solver, ensemble.derivative)
    assert isinstance(exact.derivative, Implicit)
    assert exact.derivative is exact.learner.derivative
