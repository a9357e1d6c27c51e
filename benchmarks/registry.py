"""The experiments by name. Their modules are imported only when one is run."""

import importlib
from types import ModuleType
from typing import NamedTuple


class Experiment(NamedTuple):
    """Where an experiment lives: a module with `Options` and `run(options, report)`."""

    module: str
    description: str

    def load(self) -> ModuleType:
        return importlib.import_module(f"benchmarks.{self.module}")


EXPERIMENTS = {
    "svm-mnist": Experiment(
        "svm_mnist",
        "Poison a linear SVM on two MNIST digits: error against the number of poison points",
    ),
    "svm-2d": Experiment(
        "svm_2d",
        "Two Gaussians: the attacker's true objective over the plane, and the ascent on it",
    ),
    "svm-gradient": Experiment(
        "svm_gradient",
        "Our hypergradient, finite differences, and the formula that papers print",
    ),
    "regression-house": Experiment(
        "regression_house",
        "Poisoned ridge and LASSO on house prices: test error against the poisoning rate",
    ),
    "regression-pharm": Experiment(
        "regression_pharm",
        "The same on doses of warfarin",
    ),
    "regression-loans": Experiment(
        "regression_loans",
        "The same on interest rates of loans (OpenIntro's; the paper's file is not to be had)",
    ),
    "breast-cancer": Experiment(
        "breast_cancer",
        "Poisoned ridge and logistic classifiers: error against the number of poison points",
    ),
    "spam": Experiment(
        "spam",
        "The same on spam filters",
    ),
    "targeted-mnist": Experiment(
        "targeted_mnist",
        "Softmax regression on MNIST: 8s taken for 3s, against what is lost elsewhere",
    ),
    "lasso-features": Experiment(
        "lasso_features",
        "Poisoned LASSO, elastic net and ridge: test error and stability of the selected features",
    ),
    "label-flips": Experiment(
        "label_flips",
        "Flipped labels, at random, greedy or ranked by hypergradient: test error and trainings",
    ),
    "transfer": Experiment(
        "transfer",
        "Poison made on one learner, tried on others: surrogate x target, and R against damage",
    ),
    "arena": Experiment(
        "arena",
        "Every attack against every defense, unaware of it and adapted to it: test errors",
    ),
    "dilemma": Experiment(
        "dilemma",
        "Strong poison stands out: test error with and without TRIM against the size of residuals",
    ),
    "trim-house": Experiment(
        "trim_house",
        "TRIM and robust regressions on poisoned house prices, unaware and adapted attackers",
    ),
    "trim-pharm": Experiment(
        "trim_pharm",
        "The same on doses of warfarin",
    ),
    "trim-loans": Experiment(
        "trim_loans",
        "The same on interest rates of loans",
    ),
    "label-sanitisation": Experiment(
        "label_sanitisation",
        "Flipped labels and a vote of neighbours: attackers who know of it and who do not",
    ),
    "roni-spam": Experiment(
        "roni_spam",
        "Mails of all words, and optimised ones, against a spam filter that rejects bad influence",
    ),
    "defense-speed": Experiment(
        "defense_speed",
        "TRIM's time beside loops of scikit-learn and NumPy, with a gradient, with restarts",
    ),
    "hypergradients": Experiment(
        "hypergradients",
        "Every derivative on four inner problems: error, time, memory; the lag of unrolling",
    ),
    "scaling": Experiment(
        "scaling",
        "What a hypergradient costs on top of training, against the number of rows",
    ),
    "memory": Experiment(
        "memory",
        "Peak memory and time of unrolled hypergradients against the number of steps",
    ),
    "stochastic": Experiment(
        "stochastic",
        "A penalty per feature by five stochastic bilevel methods, beside the exact hypergradient",
    ),
    "hyperparameters": Experiment(
        "hyperparameters",
        "No attack: one l2 penalty per feature tuned by hypergradient, against grid search",
    ),
    "hypergradient-peers": Experiment(
        "hypergradient_peers",
        "Error and time of hypergradients, beside jaxopt, optimistix and qpax",
    ),
}
