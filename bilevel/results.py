"""Result codes of inner solves and of outer runs, with a sentence for each."""

from typing import SupportsInt

import numpy as np
from jaxtyping import Array, Int

Code = Int[Array | np.ndarray, ""] | int
"""A result code: an int32 array, or a number where it is known before the solve."""

CONVERGED, MAX_STEPS, NON_FINITE, INFEASIBLE, ACTIVE_SET, LINEAR_SOLVE = range(6)
DEGENERATE, UNBOUNDED, OUT_OF_RANGE, CURVATURE, INVALID = 6, 7, 8, 9, 10
LAST_INNER = INVALID
"""Codes of an inner solve (`Solution.result`, `Info.result`, `Certificate.result`)."""

RUNNING, SETTLED, ZERO_GRADIENT, IDLE, FLAT, INNER_FAILED, NOT_FINITE = range(20, 27)
"""Codes of an outer run (`Optimized.status`)."""

SENTENCES = {
    CONVERGED: "converged",
    MAX_STEPS: "the inner solve stopped at max_steps before reaching tol: raise max_steps, rescale "
    "the data, or regularise the inner problem more",
    NON_FINITE: "the inner solve met NaN or infinity: check the problem's arrays for non-finite "
    "values and rescale features that span many orders of magnitude",
    INFEASIBLE: "the inner problem is infeasible: no point meets all its constraints. Widen or "
    "drop some (BoxQP: no point of the box meets the equality, widen lower/upper or change b)",
    ACTIVE_SET: "the active set could not be settled to working precision (a degenerate solution): "
    "perturb or drop duplicated rows or features, or use float64",
    LINEAR_SOLVE: "a linear system could not be solved to its tolerance: raise max_steps of the "
    "linear solver, precondition it, or choose a direct one",
    DEGENERATE: "the minimiser is degenerate, so its derivative is not unique: active constraints "
    "depend on each other, one has a zero multiplier, or curvature is missing along them. Drop "
    "redundant constraints or add a little strong convexity; throw=False returns the point "
    "without an error",
    UNBOUNDED: "the inner problem appears to be unbounded: its objective keeps falling along "
    "feasible points. Bound the variables or regularise it",
    OUT_OF_RANGE: "the weights left the range of fixed-point arithmetic or met NaN: check the "
    "problem's arrays for non-finite values, lower the rate, or rescale the loss",
    CURVATURE: "the solve ended where the gradient vanishes and the Hessian is not positive "
    "definite: a saddle, a maximum or a flat point. Start elsewhere, or add a little strong "
    "convexity",
    INVALID: "the data or a strength of the learner is out of range: it needs a finite strength "
    "> 0, finite rows, weights >= 0 of which some are positive, and for a classifier labels -1 and "
    "+1 (Softmax: class numbers) with rows of each. Call the learner outside jit for the argument",
    RUNNING: "used all its steps: raise steps to see whether the value still improves",
    SETTLED: "stopped early: no further progress at the smallest step length",
    ZERO_GRADIENT: "stopped: the hypergradient is zero here: start elsewhere or pass reseed=",
    IDLE: "stopped: the hypergradient is zero because the solution depends on no poison row: none "
    "is a support vector. Start elsewhere, nearer to the other class, or pass reseed=",
    FLAT: "stopped: the hypergradient is zero although the solution depends on poison rows (they "
    "are support vectors): either there are as many margin vectors as the rank of the rows plus "
    "one, so that they fix the plane, or no validation row has a loss. Take a smaller C, more "
    "features than margin vectors, or pass reseed=",
    INNER_FAILED: "stopped: the inner problem could not be solved at a step",
    NOT_FINITE: "stopped: the objective or its hypergradient is NaN or infinite",
}


def sentence(code: SupportsInt) -> str:
    """The sentence of one result code."""
    return SENTENCES[int(code)]
