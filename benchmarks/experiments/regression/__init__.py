"""Poisoned ridge and LASSO regressions of real tables."""
