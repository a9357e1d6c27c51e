"""Solutions of learners in extended precision, on a given active set, to judge certificates by.

Every function is analytic in its arrays, which may be complex: a tiny imaginary step in an input
gives the exact derivative (complex step, Squire & Trapp 1998). Nothing is shared with the package.
"""

from .linear import huber, logistic, ridge, softmax, sparse
from .svm import svm

__all__ = ["huber", "logistic", "ridge", "softmax", "sparse", "svm"]
