"""Deep partition aggregation: its vote against scikit-learn, its certificate against attacks."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge as Peer

from attacks import Box, Insert, compose, indiscriminate
from bilevel import Data, append
from bilevel.learners import SVM, LinearModel, Logistic, Ridge
from bilevel.losses import Squares
from defenses import Partition, Sever, SoftPartition, SoftVotingModel, Trim, VotingModel
from defenses._hash import row_hash
from defenses.ensemble._parts import deal, room
from defenses.ensemble.votes import certified as certified_count

N, D, PARTS = 48, 2, 5
RNG = np.random.default_rng(0)
Y = np.where(np.arange(N) % 2, 1.0, -1.0)
X = RNG.normal(size=(N, D)) + 0.6 * Y[:, None]
WEIGHT = RNG.uniform(0.5, 2, N)
DATA = Data(X, Y, WEIGHT)
GIVEN = DATA.x, DATA.y, DATA.weight
AT = jnp.asarray(RNG.normal(size=(30, D)))
HARD = Partition(Ridge(0.1), PARTS)


@eqx.filter_jit
def train(learner, data):
    return learner.fit(data, throw=False)


@eqx.filter_jit
def decide(model, x):
    return model.decision(x)


@eqx.filter_jit
def certify(model, x):
    return model.certify(x)


def test_each_member_is_a_model_of_its_part_and_the_vote_is_theirs():
    part = np.asarray(row_hash(DATA.x)) % PARTS
    predicted = []
    for j in range(PARTS):
        own, weight = part == j, WEIGHT[part == j]
        peer = Peer(alpha=0.1 * weight.sum()).fit(X[own], Y[own], sample_weight=weight)
        predicted.append(peer.predict(AT))
    model = train(HARD, DATA).model
    decisions, votes = eqx.filter_jit(lambda m: (m.decisions(AT), m.votes(AT)))(model)
    np.testing.assert_allclose(decisions, predicted, rtol=1e-9)
    ahead = np.sum(np.array(predicted) > 0, axis=0)
    np.testing.assert_array_equal(votes, [PARTS - ahead, ahead])
    np.testing.assert_allclose(decide(model, AT), 2 * ahead / PARTS - 1, rtol=1e-12)
    assert len(np.unique(ahead)) > 3
    np.testing.assert_array_equal(model.spare, room(N, PARTS) - np.bincount(part))


def constant_members(*signs):
    return eqx.filter_vmap(lambda sign: LinearModel(jnp.zeros(D), sign))(jnp.array(signs))


def voting(*signs):
    return VotingModel(constant_members(*signs), jnp.full(len(signs), 100))


def test_full_parts_count_in_the_certificate():
    roomy = VotingModel(constant_members(*[1.0] * 9), jnp.full(9, 100))
    assert int(certify(roomy, AT[:1])[0]) == 4
    full = VotingModel(constant_members(*[1.0] * 9), jnp.array([0, 0, -3] + [100] * 6))
    assert int(certify(full, AT[:1])[0]) == 1


def test_the_certificate_is_what_every_choice_of_parts_bears():
    """r changes spoil r votes of any parts, and those of all parts with room for fewer than r."""
    rng, found = np.random.default_rng(4), []
    for _ in range(60):
        spare = rng.integers(-1, 4, 9) + rng.choice([0, 9], 9)
        for_minus = (spare > 3) & (rng.random(9) < 0.3)  # a part at risk votes with the winner
        votes = np.array([[for_minus.sum(), (~for_minus).sum()]])
        if votes[0, 0] >= votes[0, 1]:
            continue

        def bears(r, spare=spare, for_minus=for_minus):
            for parts in itertools.combinations(range(9), r):
                spoiled = (spare < r) | np.isin(np.arange(9), parts)
                if np.sum(for_minus | spoiled) >= 5:
                    return False
            return True

        expected = next(r for r in range(10) if not bears(r + 1))
        assert int(certified_count(votes, spare)[0]) == expected
        found.append(expected)
    assert set(found) == {0, 1, 2, 3}


def test_rows_of_weight_zero_take_no_room():
    x, y = np.concatenate([X, np.repeat(X[7:8], 90, axis=0)]), np.append(Y, np.full(90, Y[7]))
    weight = np.append(np.ones(len(Y)), np.zeros(90))
    learner = Partition(Ridge(0.1), 4)
    alone, beside = learner.fit(Data(X, Y)), learner.fit(Data(x, y, weight))
    np.testing.assert_allclose(decide(beside.model, AT), decide(alone.model, AT), rtol=1e-9)
    more = room(len(y), 4) - room(len(Y), 4)
    np.testing.assert_array_equal(beside.model.spare, alone.model.spare + more)


def test_a_tie_is_minus_one_and_the_certificate_knows():
    """Votes that an attacker may win over one by one, until the prediction is another."""
    for against in range(7):
        signs = [-1.0] * against + [1.0] * (6 - against)
        model = voting(*signs)
        mean = (6 - 2 * against) / 6 if against != 3 else -1 / 6  # the least lead
        np.testing.assert_allclose(decide(model, AT[:1]), [mean])
        prediction = mean > 0
        changes = 0
        while True:
            signs = sorted(signs, reverse=prediction)
            signs[0] = -signs[0]
            after = float(decide(voting(*signs), AT[:1])[0]) > 0
            if after != prediction:
                break
            changes += 1
        assert int(certify(model, AT[:1])[0]) == changes


@pytest.fixture(scope="module")
def certified():
    model = train(HARD, DATA).model
    return np.asarray(certify(model, AT)), np.asarray(decide(model, AT)) > 0


def test_no_insertion_within_the_certificate_changes_a_prediction(certified):
    """One or two rows that pull as hard as they can: each reaches a part by its content."""
    certificate, prediction = certified
    assert set(certificate) == {0, 1, 2}
    tries = 300

    @jax.jit
    def predictions(x, y, weight):
        def one(rows):
            x, y, weight = (jnp.concatenate(pair) for pair in zip(GIVEN, rows, strict=True))
            return train(HARD, Data(x, y, weight)).model.decision(AT) > 0

        return jax.lax.map(one, (x, y, weight), batch_size=50)

    # A row pulls the plane through itself: along a point of interest, with the other label.
    point = RNG.integers(len(AT), size=tries)
    label = np.where(prediction[point], -1.0, 1.0)
    x = np.asarray(AT)[point][:, None] * RNG.uniform(2, 20, (tries, 2, 1))
    x = x + 0.01 * RNG.normal(size=x.shape)
    both, one = jnp.ones((tries, 2)), jnp.array([[1.0, 0.0]] * tries)
    for weight, rows in ((one, 1), (both, 2)):
        after = np.asarray(predictions(x, np.stack([label, label], axis=1), weight))
        changed = np.any(after != prediction[None, :], axis=0)
        assert not changed[certificate >= rows].any()
        assert changed[certificate == rows - 1].any()  # nor is there one to spare
    assert changed[certificate == 0].mean() > 0.8


def test_no_removal_within_the_certificate_changes_a_prediction(certified):
    certificate, prediction = certified

    @jax.jit
    def predictions(weight):
        def one(weight):
            return train(HARD, Data(DATA.x, DATA.y, weight)).model.decision(AT) > 0

        return jax.lax.map(one, weight, batch_size=N)

    after = np.asarray(predictions(jnp.asarray(WEIGHT[None, :] * (1 - np.eye(N)))))
    changed = np.any(after != prediction[None, :], axis=0)
    assert not changed[certificate >= 1].any()
    assert changed[certificate == 0].any()
    # Only one member is another without a row.
    before, without = (
        np.asarray(eqx.filter_jit(lambda model: model.decisions(AT))(train(HARD, data).model))
        for data in (DATA, Data(X[1:], Y[1:], WEIGHT[1:]))
    )
    moved = np.any(np.abs(before - without) > 1e-9, axis=1)
    assert moved.sum() == 1


def test_no_order_of_the_rows_matters():
    order = RNG.permutation(N)
    model, same = train(HARD, DATA).model, train(HARD, Data(X[order], Y[order], WEIGHT[order]))
    jax.tree.map(np.testing.assert_array_equal, model, same.model)


def test_a_part_that_is_full_takes_no_more_and_others_do_not_mind():
    many = np.repeat(X[:1], 40, axis=0)
    data = append(DATA, jnp.asarray(many), jnp.full(40, Y[0]))
    part = np.asarray(HARD.places(data))
    members = deal(data, HARD.places(data), PARTS)
    used = np.sum(np.asarray(members.weight) > 0, axis=1)
    expected = np.minimum(np.bincount(part, minlength=PARTS), room(N + 40, PARTS))
    np.testing.assert_array_equal(used, expected)
    assert used.max() == room(N + 40, PARTS) < np.bincount(part).max()
    others = np.arange(PARTS) != part[0]
    a, b = (train(HARD, d).model.members for d in (DATA, data))
    np.testing.assert_allclose(a.w[others], b.w[others], rtol=1e-9)


@pytest.mark.parametrize("name", ["ridge", pytest.param("svm", marks=pytest.mark.slow)])
def test_gradients_of_the_surrogate_are_those_of_central_differences(name):
    learner = {"ridge": Ridge(0.1), "svm": SVM(0.2)}[name]
    soft = SoftPartition(learner, PARTS).prepare(DATA)
    at = {"x": DATA.x, "weight": DATA.weight}

    def loss(at):
        model = train(soft, Data(at["x"], DATA.y, at["weight"])).model
        return jnp.mean(jnp.sin(3 * model.decision(AT)))

    both, h = jax.jit(jax.value_and_grad(loss)), 2e-4
    gradient = both(at)[1]
    for name, leaf in at.items():
        along = np.sin(np.arange(leaf.size)).reshape(leaf.shape) / leaf.size**0.5
        near, far = (
            both({**at, name: leaf + k * h * along})[0]
            - both({**at, name: leaf - k * h * along})[0]
            for k in (1, 2)
        )
        expected = (8 * near - far) / (12 * h)
        assert abs(expected) > 1e-4
        np.testing.assert_allclose(np.sum(np.asarray(gradient[name]) * along), expected, rtol=1e-8)


def test_the_surrogate_is_the_vote_of_cold_members_and_attacks_it_in_one_line():
    votes = train(HARD, DATA).model
    hard = np.asarray(decide(votes, AT))
    soft = SoftVotingModel(votes.members, 1e-6)
    np.testing.assert_allclose(decide(soft, AT), hard, atol=1e-9)

    reach, goal = Insert(np.ones(3), Box(-5.0, 5.0)), indiscriminate(AT, np.sign(hard), Squares())
    soft = SoftPartition(Ridge(0.1), PARTS)
    attack = compose(soft, reach, goal, DATA)
    places = soft.prepare(DATA).places(append(DATA, DATA.x[:7], DATA.y[:7]))
    np.testing.assert_array_equal(places[:N], HARD.places(DATA))
    np.testing.assert_array_equal(places[N:], [0, 1, 2, 3, 4, 0, 1])
    value = jax.jit(jax.value_and_grad(lambda z: attack.evaluate(z)[0]))
    z = -np.ones((3, D))
    before, gradient = map(np.asarray, value(z))
    assert np.all(np.any(gradient != 0, axis=1))
    after, _ = value(z + 0.01 * gradient / np.linalg.norm(gradient))
    np.testing.assert_allclose(after - before, 0.01 * np.linalg.norm(gradient), rtol=0.1)


@pytest.mark.slow
def test_defended_members_and_members_of_a_defense():
    for learner in (Trim(Ridge(0.1), 0.1), Sever(Ridge(0.1), 0.1)):
        model = train(Partition(learner, 3), DATA)
        assert int(model.result) == 0
        part = np.asarray(row_hash(DATA.x)) % 3 == 1
        alone = train(learner, Data(X[part], Y[part], WEIGHT[part])).model
        np.testing.assert_allclose(model.model.members.w[1], alone.w, rtol=1e-9)
    kept = eqx.filter_jit(Trim(HARD, 0.1).inspect)(DATA).kept
    assert int(jnp.sum(kept)) == round(0.9 * N)


def test_sentences():
    one_class = Data(X[:12], np.where(np.arange(12), 1.0, -1.0))
    for make, sentence in (
        (lambda: Partition(Ridge(), 0), r"^partitions: got 0, expected a whole number, at least 1"),
        (lambda: SoftPartition(Ridge(), 5, 0.0), r"^temperature: got 0.0, expected a number > 0"),
        (lambda: HARD.check(Data(X, 3 * Y)), r"^y: got labels"),
        (
            lambda: Partition(Logistic(), 4).check(one_class),
            r"^partitions: got 4 for 12 rows, but on the \d of number \d no model can be trained",
        ),
        (
            lambda: Partition(Ridge(), 40).check(DATA),
            r"on the 0 of number \d+ no model can be trained \(x: got no rows",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            make()
