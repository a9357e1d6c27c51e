"""Label maps: what becomes of which rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attacks import AllToNext, AllToOne, Given, ToRandom

LABELS = jnp.asarray([0, 1, 2, 2, 1, 0])
MAPS = {
    "all to one": (AllToOne(1), [1] * 6, [1, 0, 1, 1, 0, 1]),
    "of one class": (AllToOne(1, sources=[2]), [1] * 6, [0, 0, 1, 1, 0, 0]),
    "next": (AllToNext(3), [1, 2, 0, 0, 2, 1], [1] * 6),
    "next of two": (AllToNext(3, sources=[0, 1]), [1, 2, 0, 0, 2, 1], [1, 1, 0, 0, 1, 1]),
    "given": (Given([0, 2, 2, 0, 1, 1]), [0, 2, 2, 0, 1, 1], [0, 1, 0, 1, 0, 1]),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_label_map_says_what_becomes_of_which_rows(name):
    labels, wanted, applies = MAPS[name]
    labels.check(LABELS)
    np.testing.assert_array_equal(labels.labels(LABELS), wanted)
    np.testing.assert_array_equal(labels.applies(LABELS), np.array(applies, bool))
    predicted = jnp.asarray(wanted).at[0].add(1)
    np.testing.assert_array_equal(labels.reached(LABELS, predicted), [False] + [True] * 5)


def test_signs_are_classes_too():
    y = jnp.asarray([1.0, -1.0])
    np.testing.assert_array_equal(AllToNext([1, -1]).labels(y), [-1.0, 1.0])
    np.testing.assert_array_equal(AllToOne(1, sources=-1).applies(y), [False, True])


def test_a_random_label_is_any_other_class_and_any_wrong_prediction_a_success():
    y = jnp.asarray(np.arange(3000) % 3)
    labels = ToRandom(3, jax.random.key(0))
    drawn = np.asarray(labels.labels(y))
    counts = [[np.sum(drawn[np.asarray(y) == i] == j) for j in range(3)] for i in range(3)]
    assert [counts[i][i] for i in range(3)] == [0, 0, 0]
    assert min(counts[i][j] for i in range(3) for j in range(3) if i != j) > 400
    np.testing.assert_array_equal(
        labels.reached(y[:3], jnp.asarray([0, 2, 1])), [False, True, True]
    )


def test_a_trigger_is_for_rows_of_a_source_whose_label_changes():
    y, same = jnp.asarray([0, 1, 2, 1]), jnp.asarray([0, 2, 2, 1])
    np.testing.assert_array_equal(Given(same).applies(y), [False, True, False, False])
    np.testing.assert_array_equal(AllToOne(0, sources=[2]).applies(y), [False, False, True, False])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: AllToOne(7).check(LABELS),
            r"^labels: got the class 7, which no row has; .* 0, 1, 2",
        ),
        (lambda: AllToOne(1, sources=[5]).check(LABELS), r"^labels: got the class 5"),
        (lambda: AllToOne(1, sources=[0, 1]), r"^sources: contain the target 1"),
        (lambda: AllToNext(4).check(LABELS), r"^labels: got the class 3, which no row has"),
        (lambda: AllToNext([0, 1]).check(LABELS), r"^classes: got \[0, 1\], expected also 2"),
        (lambda: ToRandom([0, 1], jax.random.key(0)).check(LABELS), r"^classes: got \[0, 1\]"),
        (lambda: AllToNext(1), r"^classes: got 1, expected two classes or more"),
        (lambda: Given([1, 2]).check(LABELS), r"^labels: got \(2,\) labels for \(6,\) rows"),
        (lambda: Given(LABELS).check(LABELS), r"^labels: no row is of a source class"),
    ],
)
def test_impossible_label_maps_are_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
