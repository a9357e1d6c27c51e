"""Learners: inner problems that ship. Each turns data into a model, differentiably."""

from . import kernels
from ._learner import AbstractLearner, AbstractModel
from ._linear_model import LinearModel
from .huber import Huber
from .lasso import ElasticNet, Lasso
from .logistic import Logistic
from .ridge import Ridge
from .softmax import Softmax, SoftmaxModel
from .svm import SVM, SVMModel
