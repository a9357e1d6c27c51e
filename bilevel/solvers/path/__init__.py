"""Solvers whose answer is the end of a path of a given number of steps."""
