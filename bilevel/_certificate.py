"""What is known of a hypergradient's error, and how it reads."""

import equinox as eqx
from jaxtyping import Array, Float, Int, PyTree

from . import results
from ._tree import norm


class Certificate(eqx.Module):
    """A hypergradient and what is known of its error. All fields are arrays; `str()` explains.

    - `value`, `gradient`: F(z, w*(z)) and dF/dz.
    - `error_bound`: bound on |gradient - true gradient| (Euclidean, all leaves together); infinite
      where the derivative is not unique (see `degenerate`) or the inner solve failed.
    - `inner_error`: what the distance of the returned point from the exact one does to the
      gradient: |dg . delta| with delta = -A^-1 F, the Newton correction, by the kept factor.
    - `adjoint_error`: what the residual of the adjoint system does to the gradient.
    - `rounding_error`: what rounding does to it, of every array and of every sum, sampled.
    - `inner_residual`, `adjoint_residual`: |F| and |r - A v| / |r|.
    - `condition`: of the reduced KKT system, estimated by power iterations on A and its factor.
    - `margin`: least distance to a change of active set (strict complementarity).
    - `kink_margin`: least distance of the outer objective to one of its own kinks.
    - `reach`: how far z may move along the gradient's direction (Euclidean) before, to first
      order, an active set or an outer kink changes: finite differences must stay well within.
    - `degenerate`: an active set is on the point of changing or the KKT system is singular.
      The derivative is then one-sided, and `gradient` is one element of a set.
    - `zero`: the gradient is zero, exactly or as far as its error bound can tell.
    - `result`: the inner solve's code, or that of a training made on the way to it.
    - `truth`: what the gradient is measured against: the gradient at the exact minimiser, or the
      derivative of the path that the solver follows, or of a function without an inner problem.
      For the last two `condition`, `kink_margin` and `reach` are NaN: not measured.
    - `precision`: dtype that the inner problem is solved in.
    """

    value: Float[Array, ""]
    gradient: PyTree
    error_bound: Float[Array, ""]
    inner_error: Float[Array, ""]
    adjoint_error: Float[Array, ""]
    rounding_error: Float[Array, ""]
    inner_residual: Float[Array, ""]
    adjoint_residual: Float[Array, ""]
    condition: Float[Array, ""]
    margin: Float[Array, ""]
    kink_margin: Float[Array, ""]
    reach: Float[Array, ""]
    degenerate: Array
    zero: Array
    result: Int[Array, ""]
    truth: str = eqx.field(static=True, default="the minimiser")
    precision: str = eqx.field(static=True, default="float64")

    def __str__(self) -> str:
        size = float(norm(self.gradient))
        bound = float(self.error_bound)
        dtype = str(self.value.dtype)
        if self.precision != dtype:
            dtype += f", inner problem in {self.precision}"
        lines = [
            f"value {float(self.value):.6g}, |gradient| {size:.6g} ({dtype}), "
            f"error at most {bound:.2g}" + (f" ({bound / size:.1g} of it)" if size > 0 else "")
        ]
        if self.truth == "the minimiser":
            lines += [
                f"  inner residual {float(self.inner_residual):.1e} "
                f"(moves the gradient by {float(self.inner_error):.1e}), "
                f"adjoint residual {float(self.adjoint_residual):.1e} "
                f"(by {float(self.adjoint_error):.1e}), rounding by "
                f"{float(self.rounding_error):.1e}",
                f"  condition {float(self.condition):.1e}, active-set margin "
                f"{float(self.margin):.1e}, kink margin {float(self.kink_margin):.1e}, smooth "
                f"along the gradient for a step of {float(self.reach):.1e}",
            ]
        else:
            lines.append(
                f"  derivative of {self.truth}: off by {float(self.adjoint_error):.1e} along "
                f"random directions, rounding by {float(self.rounding_error):.1e}, inner residual "
                f"{float(self.inner_residual):.1e}"
            )
        if int(self.result) != results.CONVERGED:
            lines.append(f"  NOT SOLVED: {results.sentence(self.result)}")
        if bool(self.degenerate):
            lines.append(
                "  DEGENERATE: an active set is about to change or rows are duplicated; the "
                "derivative is one-sided and this gradient is one element of a set"
            )
        if bool(self.zero):
            lines.append(
                "  ZERO: the gradient is zero to its error. Either no decision variable touches "
                "the solution (an SVM: no poison row is a support vector), or the solution is flat "
                "(an SVM: the margin vectors fix the plane). Start elsewhere, or lower C"
            )
        return "\n".join(lines)
