"""Smooth problems and fixed points: Newton, Newton-CG, L-BFGS, Anderson."""
