"""What a low-rank picture of the class leaves of a row (Koh, Steinhardt & Liang 2018: "SVD")."""

import equinox as eqx

from ._score import AbstractScore


class Residual(AbstractScore):
    """|x - its projection on the top right singular vectors of the class|, squared: as few of them
    as hold the share `spectrum` of the sum of squares (.95 as published). Rows are not centred.

    It has no derivative where singular values coincide.
    """

    spectrum: float = eqx.field(static=True, default=0.95)

    def __check_init__(self):
        if not 0 < self.spectrum < 1:
            raise ValueError(f"spectrum: got {self.spectrum}, expected a share between 0 and 1")

    def __call__(self, x, own, other):
        xp = x.__array_namespace__()
        values, vectors = xp.linalg.eigh((x * own[:, None]).T @ x)
        values, vectors = xp.flip(values), xp.flip(vectors, axis=1)
        values = xp.where(values > 0, values, xp.zeros_like(values))
        before = xp.cumulative_sum(values) - values
        top = before < self.spectrum * xp.sum(values)
        seen = (x @ vectors) * xp.astype(top, x.dtype)[None, :]
        return xp.sum((x - seen @ vectors.T) ** 2, axis=1)
