"""Learners: inner problems that ship. Each turns data into a model, differentiably."""

from . import kernels
from ._learner import AbstractLearner, AbstractModel
from .svm import SVM, SVMModel
