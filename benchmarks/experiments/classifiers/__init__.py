"""Poisoned ridge, logistic, softmax and LASSO classifiers."""
