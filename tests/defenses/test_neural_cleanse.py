"""Neural Cleanse on linear models of images, whose smallest triggers are known."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corner import CLASSES, CLEAN, CORNER, GAIN, GAINS, HONEST, INFECTED, OWN, TARGET, X, Y

from attacks import Box
from bilevel import Data
from defenses.audit import NeuralCleanse, TriggerSearch, overlap
from defenses.audit._outliers import low_outliers
from defenses.models import Plain

AUDIT = NeuralCleanse(TriggerSearch(rounds=30, rows=35))
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def verdict():
    return AUDIT.examine(INFECTED, CLEAN, key=KEY)


def test_the_trigger_of_a_label_is_the_same_in_any_order_of_labels(verdict):
    labels = list(range(CLASSES))[::-1]
    found = AUDIT.restore(INFECTED, CLEAN, labels, key=KEY)
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_array_equal(found.mask[::-1], verdict.evidence.triggers.mask)


def test_of_an_infected_model_the_target_is_suspect_and_its_trigger_is_found(verdict):
    compared, found = verdict.evidence, verdict.evidence.triggers
    assert bool(verdict.flagged)
    np.testing.assert_array_equal(np.flatnonzero(compared.suspect), [TARGET])
    np.testing.assert_allclose(verdict.score, compared.index[TARGET])
    np.testing.assert_array_equal(compared.figure, found.size)
    mask, true = found.mask[TARGET], jnp.asarray(CORNER.mask, jnp.float32)
    assert float(overlap(mask, true).precision) > 0.95
    assert np.all(np.asarray(found.success) > 0.95)
    # Each pixel of the mask raises the label by its gain: it is as large as the surest row asks.
    surest = float(np.max(eqx.filter_jit(INFECTED.decision)(CLEAN.x))) / 10
    gains = np.where(np.arange(CLASSES) == TARGET, GAIN, GAINS)
    np.testing.assert_allclose(found.size, surest / gains, rtol=0.1)


def test_the_trigger_of_a_label_is_one_to_be_stamped(verdict):
    triggers = verdict.evidence.triggers
    trigger = triggers.trigger(TARGET)

    @jax.jit
    def read():
        shown = trigger.apply(trigger.like(CLEAN.x.dtype), CLEAN.x)
        return INFECTED.predict(shown), HONEST.predict(shown)

    infected, honest = map(np.asarray, read())
    reached = np.mean(infected == TARGET)
    np.testing.assert_allclose(reached, np.asarray(triggers.success)[TARGET], rtol=1e-6)
    np.testing.assert_array_equal(honest, CLEAN.y)


def test_of_an_honest_model_no_label_is_suspect():
    verdict = AUDIT.examine(HONEST, CLEAN, key=KEY)
    assert not bool(verdict.flagged)
    assert float(verdict.score) < 2


def test_rows_in_another_range_have_the_same_trigger(verdict):
    """The same model and rows, in units of a quarter above one."""
    domain = Box(1.0, 1.25)

    def model(x):
        return INFECTED.decision(4 * (x - 1))

    rows, same = Data(1 + np.asarray(CLEAN.x) / 4, CLEAN.y), verdict.evidence.triggers
    found = NeuralCleanse(AUDIT.search, domain).restore(Plain(model), rows, key=KEY)
    np.testing.assert_allclose(found.size, same.size, rtol=0.06)  # single precision
    np.testing.assert_allclose(found.pattern, 1 + np.asarray(same.pattern) / 4, atol=0.02)


def test_a_table_has_a_mask_for_each_feature_and_labels_can_be_chosen(verdict):
    rows = Data(CLEAN.x.reshape(70, -1), CLEAN.y)
    found = AUDIT.restore(INFECTED, rows, [TARGET], key=KEY)
    assert found.mask.shape == (1, 36)
    np.testing.assert_allclose(found.size, verdict.evidence.triggers.size[TARGET], rtol=0.1)
    with pytest.raises(ValueError, match=r"label: got 0, expected one of \[2\]"):
        found.trigger(0)
    with pytest.raises(ValueError, match="labels: got 7, expected class numbers 0 to 6"):
        AUDIT.restore(INFECTED, rows, [0, 7], key=KEY)


def test_a_label_that_is_never_reached_has_the_size_of_all_pixels():
    deaf = Plain(lambda x: INFECTED.decision(x).at[:, 0].set(-99.0))
    audit = NeuralCleanse(TriggerSearch(rounds=1, rows=35))
    found = audit.restore(deaf, CLEAN, 0, key=KEY)
    assert float(found.size[0]) == 36
    assert float(found.success[0]) == 0


def test_overlap_counts_shares_of_the_masks():
    mask, true = jnp.asarray([1.0, 0.5, 0.5, 0.0]), jnp.asarray([1.0, 1.0, 0.0, 0.0])
    found = overlap(mask, true)
    np.testing.assert_allclose(found, [0.75, 0.75, 0.75])
    np.testing.assert_allclose(overlap(mask, jnp.ones(4)), [1, 0.5, 2 / 3])
    np.testing.assert_array_equal(overlap(1 - true, true), [0, 0, 0])
    with pytest.raises(ValueError, match="true: got shape"):
        overlap(mask, jnp.ones((4, 1)))
    with pytest.raises(ValueError, match="true: is zero everywhere"):
        overlap(mask, jnp.zeros(4))


def test_indices_count_deviations_below_the_median():
    np.testing.assert_allclose(low_outliers(jnp.asarray([1.0, 9.0, 10.0, 11.0, 12.0])),
                               np.array([9, 1, 0, -1, -2]) / 1.4826)  # fmt: skip
    same = low_outliers(jnp.asarray([5.0, 5.0, 5.0, 1.0, 7.0]))
    np.testing.assert_array_equal(same, [0, 0, 0, np.inf, -np.inf])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (dict(clean=Data(X[:9], Y[:9])), "got 9 rows, expected 35 or more"),
        (dict(clean=Data(X[Y == 1], Y[Y == 1])), "all rows have the label 1"),
        (dict(clean=Data(2 * X, Y)), r"has values from 0 to 1.39982, 0.4 outside domain"),
        (dict(clean=Data(X, Y + 1)), r"got labels \[7\], expected class numbers 0 to 6"),
        (dict(clean=Data(X[:, :5], Y)), r"does not accept rows of shape \(5, 6, 1\)"),
        (dict(model=Plain(lambda x: x[:, 0, 0, 0])), "one of 2 classes, expected 3 or more"),
        (
            dict(model=Plain(lambda x: np.dot(np.array(x).reshape(len(x), -1), OWN.T))),
            "cannot differentiate",
        ),
        (dict(key=None), "key: got None"),
        (dict(audit=NeuralCleanse(AUDIT.search, Box(0.0, np.inf))), "domain: is unbounded"),
    ],
)
def test_what_it_cannot_examine_is_said(changed, sentence):
    given = dict(audit=AUDIT, model=INFECTED, clean=CLEAN, key=KEY) | changed
    with pytest.raises(ValueError, match=sentence):
        given["audit"].examine(given["model"], given["clean"], key=given["key"])


def test_settings_out_of_range_are_said():
    for name, value in [("rounds", 0), ("rows", 1.5), ("rate", 0.0), ("success", 1.1)]:
        with pytest.raises(ValueError, match=f"{name}: got"):
            TriggerSearch(**{name: value})
