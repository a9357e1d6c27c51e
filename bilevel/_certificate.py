"""The certificate of a hypergradient: its error bound, margins and condition, as a record."""

import equinox as eqx
from jaxtyping import Array, Float, Int, PyTree

from . import results
from ._tree import norm


class Certificate(eqx.Module):
    """A hypergradient with a bound on its error. All fields but the last two are arrays; `str()`
    explains them.

    - `value`, `gradient`: F(z, w*(z)) and dF/dz.
    - `error_bound`: bound on |gradient - true gradient| (Euclidean, all leaves together); infinite
      where the derivative is not unique (see `degenerate`) or the inner solve failed.
    - `inner_error`: error of the gradient from the distance of the returned point to the exact
      one: |dg . delta| with delta = -A^-1 F, the Newton correction, by the kept factor.
    - `adjoint_error`: error of the gradient from the residual of the adjoint system.
    - `rounding_error`: error of the gradient from the rounding of every array and of every sum,
      sampled.
    - `inner_residual`, `adjoint_residual`: |F| and |r - A v| / |r|.
    - `condition`: condition number of the reduced KKT system, estimated by power iterations on A
      and its factor.
    - `margin`: smallest distance to a change of active set (strict complementarity).
    - `kink_margin`: smallest distance of the outer objective to one of its kinks.
    - `reach`: length that z can move along the gradient's direction (Euclidean) before, to first
      order, an active set changes or an outer kink is crossed. Finite differences must take steps
      well below it.
    - `degenerate`: an active set is about to change, the KKT system is singular or too
      ill-conditioned, or an equality moves with z that no free variable can follow (see
      `undetermined`). The derivative is then one-sided or undefined, and `gradient` is one element
      of a set.
    - `undetermined`: a multiplier has an interval of values: an SVM with no row on the margin has
      an interval of optimal biases. The middle is returned and differentiated. It jumps when a
      single weight moves.
    - `zero`: |gradient| is at most its error bound.
    - `result`: code of the inner solve, or of a training before it that failed.
    - `truth`: the reference of the bound: the gradient at the exact minimiser ("the minimiser"),
      the derivative of the path that the solver follows ("the path"), or of a function without an
      inner problem ("the function"). For the last two `condition`, `kink_margin` and `reach` are
      NaN: not measured.
    - `precision`: dtype of the inner solve.
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
    undetermined: Array
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
                "  DEGENERATE: an active set is about to change, rows are duplicated, an equality "
                "moves that no free variable can follow, or the system is too ill-conditioned to "
                "be solved; the derivative is one-sided or undefined, and this gradient is one "
                "element of a set"
            )
        if bool(self.undetermined):
            lines.append(
                "  NOT DETERMINED: the multiplier of the equality (of an SVM: the bias, as no "
                "row lies on the margin) has an interval of values, of which the middle is "
                "returned; it jumps when a single weight moves"
            )
        if bool(self.zero):
            lines.append(
                "  ZERO: the gradient is not larger than its error. Either the solution depends on "
                "no decision variable (of an SVM: no poison row is a support vector), or it is "
                "flat in them (of an SVM: the margin vectors fix the plane; lower C). Start "
                "elsewhere"
            )
        return "\n".join(lines)
