"""What problems refuse."""

from typing import Any

import numpy as np
import pytest

from bilevel.problems import QP, BoxQP

N = 3
EYE: Any = np.eye(N)
ROW: Any = np.ones(N)
BOX, QUADRATIC = (EYE, -ROW, 0 * ROW, ROW), (EYE, -ROW)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: BoxQP(*BOX, e=ROW), "e and b: give both"),
        (lambda: BoxQP(*BOX, b=1.0), "e and b: give both"),
        (lambda: QP(*QUADRATIC, A=EYE), "A, b: got one of the two"),
        (lambda: QP(*QUADRATIC, b=ROW), "A, b: got one of the two"),
        (lambda: QP(*QUADRATIC, G=EYE), "G, h: got one of the two"),
        (lambda: QP(*QUADRATIC, h=ROW), "G, h: got one of the two"),
    ],
)  # fmt: skip
def test_half_a_constraint_is_refused_whichever_half(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("Q", [np.diag([1.0, -1.0]), np.array([[0.0, 1.0], [1.0, 0.0]])])
def test_an_indefinite_matrix_is_refused_and_a_singular_one_is_not(Q):
    rest = np.zeros(2), -np.ones(2), np.ones(2)
    with pytest.raises(ValueError, match="Q: got an indefinite matrix, of least eigenvalue -1"):
        BoxQP(Q, *rest)
    for fine in (np.diag([1.0, 0.0]), np.zeros((2, 2)), np.ones((2, 2)), -1e-15 * np.eye(2) + 1):
        BoxQP(fine, *rest)
