"""Learners: inner problems made of data. Each turns data into a model, differentiably."""

from . import kernels
from ._ensemble import ensemble
from ._learner import AbstractLearner
from ._linear_model import LinearModel
from ._model import AbstractDeepModel, AbstractModel
from ._training import Fitted, Trained, Training
from ._wrapper import AbstractWrapper
from .fair_logistic import Equal, FairLogistic, Within
from .fixed import Fixed
from .huber import Huber
from .lasso import ElasticNet, Lasso
from .logistic import Logistic
from .network import Network, NetworkModel
from .on_features import OnFeatures, OnFeaturesModel
from .ridge import Ridge
from .softmax import Softmax, SoftmaxModel
from .svm import SVM, SVMModel
