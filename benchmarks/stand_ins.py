"""What an attacker differentiates in place of a victim that has no useful derivative."""

from bilevel.learners import SVM, AbstractLearner

from .twins import CLASSIFIERS, DEFAULT, Strengths


def smooth(learner: AbstractLearner, rows: int, strengths: Strengths = DEFAULT) -> AbstractLearner:
    """Of an SVM, whose hinge loss has kinks, the logistic regression with its C; any other learner
    is smooth itself.
    """
    if isinstance(learner, SVM):
        return CLASSIFIERS["logistic"].ours(strengths, rows)
    return learner
