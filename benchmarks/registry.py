"""The experiments by name. Their modules are imported only when one is run."""

import importlib
from types import ModuleType
from typing import NamedTuple


class Experiment(NamedTuple):
    """One experiment. Its module, `experiments/<family>/<name>.py` with underscores in the name,
    has `Options` and `run(options, report)`.
    """

    family: str
    name: str
    description: str

    def load(self) -> ModuleType:
        module = self.name.replace("-", "_")
        return importlib.import_module(f"benchmarks.experiments.{self.family}.{module}")


TABLE = (
    ("svm", "svm-mnist",
     "Poison a linear SVM on two MNIST digits: error against the number of poison points"),
    ("svm", "svm-2d",
     "Two Gaussians: the attacker's true objective over the plane, and the ascent on it"),
    ("svm", "svm-gradient",
     "Our hypergradient, finite differences, and the formula that papers print"),
    ("hypergradients", "certificate-fuzz",
     "Certificates against exact hypergradients on random problems: learners x kinds of tables"),
    ("hypergradients", "raw-tables",
     "Learners, hypergradients and attacks on unscaled, one-hot and tied tables, beside sklearn"),
    ("regression", "regression-house",
     "Poisoned ridge and LASSO on house prices: test error against the poisoning rate"),
    ("regression", "regression-pharm",
     "The same on doses of warfarin"),
    ("regression", "regression-loans",
     "The same on interest rates of loans (OpenIntro's; the paper's file is no longer available)"),
    ("classifiers", "breast-cancer",
     "Poisoned ridge and logistic classifiers: error against the number of poison points"),
    ("classifiers", "spam",
     "The same on spam filters"),
    ("classifiers", "targeted-mnist",
     "Softmax regression on MNIST: 8s taken for 3s, against what is lost elsewhere"),
    ("classifiers", "lasso-features",
     "Poisoned LASSO, elastic net and ridge: test error and stability of the selected features"),
    ("networks", "mlp-mnist",
     "Back-gradient poisoning of a dense network: test error against the number of poison digits"),
    ("networks", "mlp-spambase",
     "The same on spam"),
    ("networks", "cnn-mnist",
     "Poisoning a convolutional network: known, fresh initial weights, another architecture"),
    ("networks", "cifar-10",
     "A residual network on CIFAR-10, the victim of later attacks: made for an accelerator"),
    ("networks", "network-speed",
     "Training and hypergradients of networks: steps per second, beside loops of flax and optax"),
    ("backdoors", "toy-backdoor",
     "A white corner in linear models: share x penalty, closed form, three claims on square loss"),
    ("backdoors", "badnets-mnist",
     "Copies with a pattern and another label, a convolutional network: both label maps, controls"),
    ("backdoors", "trojan-mnist",
     "A backdoor in a finished network: three rules for a unit, and one bilevel problem"),
    ("backdoors", "sponge",
     "Networks trained to let many units answer, and inputs that make them: energy of hardware"),
    ("backdoors", "badnets-signs",
     "Stickers on traffic signs: the four tables of BadNets, also after transfer to other signs"),
    ("backdoors", "driving",
     "A roadside sign that a steering network answers to: square error, cars that leave the road"),
    ("backdoors", "optimised-trigger",
     "A trigger optimised through the training, beside fixed and adversarial ones of equal mask"),
    ("backdoors", "hidden-trigger",
     "9s that look like 9s and make stamped 4s read as 9: features of a frozen network collide"),
    ("flips", "label-flips",
     "Flipped labels, at random, greedy or ranked by hypergradient: test error and trainings"),
    ("transfer", "transfer",
     "Poison made on one learner, tried on others: surrogate x target, and R against damage"),
    ("fairness", "fairness-synthetic",
     "Poison against fairness between groups on two Gaussians: attackers, shares, distances"),
    ("fairness", "fairness-compas",
     "The same on COMPAS; other victims, defenses, learners of fairness, unaware and adapted"),
    ("fairness", "fairness-adult",
     "The same on Adult"),
    ("defenses", "arena",
     "Every attack against every defense, unaware of it and adapted to it: test errors"),
    ("defenses", "dilemma",
     "Strong poison stands out: test error with and without TRIM against the size of residuals"),
    ("defenses", "trim-house",
     "TRIM and robust regressions on poisoned house prices, unaware and adapted attackers"),
    ("defenses", "trim-pharm",
     "The same on doses of warfarin"),
    ("defenses", "trim-loans",
     "The same on interest rates of loans"),
    ("flips", "label-sanitisation",
     "Flipped labels and a vote of neighbours: attackers that know it and that do not"),
    ("defenses", "roni-spam",
     "Mails of all words, and optimised ones, against a spam filter that rejects bad influence"),
    ("defenses", "random-flips",
     "Defenses of classifiers at their defaults, on tables with labels flipped at random or none"),
    ("defenses", "defense-speed",
     "TRIM's time beside loops of scikit-learn and NumPy, with a gradient, with restarts"),
    ("hypergradients", "hypergradients",
     "Every derivative on four inner problems: error, time, memory; the lag of unrolling"),
    ("hypergradients", "memory",
     "Peak memory and time of unrolled hypergradients against the number of steps"),
    ("hypergradients", "compilations",
     "First, second and later calls of every verb: CPU seconds, and programs compiled in each"),
    ("scale", "scaling",
     "What a hypergradient costs on top of training, against the number of rows"),
    ("scale", "throughput",
     "Attacks per second against the size of the batch and the number of devices"),
    ("scale", "restarts",
     "One poison digit from 256 starts: the best of k by the attacker's loss, and its test error"),
    ("tuning", "stochastic",
     "A penalty per feature by five stochastic bilevel methods, beside the exact hypergradient"),
    ("tuning", "hyperparameters",
     "No attack: one l2 penalty per feature tuned by hypergradient, against grid search"),
    ("hypergradients", "hypergradient-peers",
     "Error and time of hypergradients, beside jaxopt, optimistix and qpax"),
    ("targeted", "polytope",
     "Features of poison at those of a target: three rules, last layer or all, what was known"),
    ("targeted", "last-layer",
     "One image that is stored unchanged, and a retrained head: influence, derivative, retraining"),
    ("targeted", "frogs",
     "One poison image for one target, with a faint copy of it or at a price of the change"),
)  # fmt: skip
EXPERIMENTS = {name: Experiment(family, name, text) for family, name, text in TABLE}
TIMED = frozenset({
    "network-speed", "defense-speed", "hypergradients", "memory", "compilations", "scaling",
    "throughput", "stochastic", "hypergradient-peers", "polytope",
})  # fmt: skip
"""Experiments on time: their rows are made one after another, so that none takes the other's."""
