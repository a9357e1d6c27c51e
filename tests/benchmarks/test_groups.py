"""Groups of one-hot columns, from the names of columns."""

import numpy as np
import pandas as pd

from benchmarks import data
from benchmarks.data._table import named_groups


def test_the_last_colon_of_a_name_ends_its_feature():
    names = ("size", "a:x:1", "a:y:1", "a:x:2", "a:y:2", "b:1", "b:2")
    assert named_groups(names) == (
        data.Group("a:x", (1, 3)), data.Group("a:y", (2, 4)), data.Group("b", (5, 6)),
    )  # fmt: skip


def test_columns_of_a_frame_whose_names_have_a_colon_are_groups_of_their_own():
    frame = pd.DataFrame({
        "rate:day": pd.Categorical(["mon", "sun", "mon"]),
        "rate:night": pd.Categorical(["low", "low", "high"]),
        "y": [1.0, 2.0, 4.0],
    })  # fmt: skip
    table = data.encoded(frame, "y")
    assert [group.name for group in table.groups] == ["rate:day", "rate:night"]
    for group in table.groups:
        np.testing.assert_array_equal(table.x[:, group.columns].sum(axis=1), 1)
