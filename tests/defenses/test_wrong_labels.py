"""The histogram of wrong labels: what it sees, and that clean rows show it nothing."""

import jax.numpy as jnp
import numpy as np
import pytest
from corner import CLASSES, CLEAN, CORNER, HONEST, INFECTED, TARGET

from bilevel import Data
from defenses import WrongLabels
from defenses.models import Plain

NOISE = np.random.default_rng(1).uniform(0, 0.9, size=CLEAN.x.shape) * (np.asarray(CLEAN.x) > 0)
ROWS = Data(
    jnp.where(jnp.asarray(CORNER.mask, bool)[None], 0, NOISE.astype(np.float32)),
    np.roll(np.asarray(CLEAN.y), 1).astype(np.int32),  # some labels are wrong, whatever is read
)


def test_it_counts_the_labels_of_wrong_rows_alone():
    read = np.array([0, 1, 1, 1, 2, 0])
    rows = Data(np.eye(3)[read], [0, 0, 0, 1, 2, 1])
    verdict = WrongLabels(0.6).examine(Plain(lambda x: x), rows)
    np.testing.assert_array_equal(verdict.evidence.wrong, [1, 2, 0])
    np.testing.assert_allclose(verdict.score, 2 / 3)
    assert bool(verdict.flagged)
    assert not bool(WrongLabels(0.7).examine(Plain(lambda x: x), rows).flagged)
    right = Data(rows.x, read)
    assert float(WrongLabels().examine(Plain(lambda x: x), right).score) == 0


def test_on_clean_rows_it_does_not_separate_and_on_stamped_ones_it_does():
    audit = WrongLabels()
    clean = [audit.examine(model, ROWS) for model in (INFECTED, HONEST)]
    np.testing.assert_array_equal(clean[0].evidence.wrong, clean[1].evidence.wrong)
    assert not bool(clean[0].flagged)
    stamped = CORNER.apply(CORNER.like(ROWS.x.dtype), ROWS.x)
    half = Data(jnp.where((jnp.arange(ROWS.rows) % 2 == 0)[:, None, None, None], stamped, ROWS.x),
                CLEAN.y)  # fmt: skip
    infected, honest = (audit.examine(model, half) for model in (INFECTED, HONEST))
    assert bool(infected.flagged)
    assert int(jnp.argmax(infected.evidence.wrong)) == TARGET
    assert not bool(honest.flagged)


def test_what_it_cannot_examine_is_said():
    with pytest.raises(ValueError, match="one of 2 classes, expected 3 or more"):
        WrongLabels().examine(Plain(lambda x: x[:, 0, 0, 0]), CLEAN)
    with pytest.raises(ValueError, match=f"expected class numbers 0 to {CLASSES - 1}"):
        WrongLabels().examine(INFECTED, Data(CLEAN.x, CLEAN.y - 1))
    with pytest.raises(ValueError, match="threshold: got 1"):
        WrongLabels(1.0)
