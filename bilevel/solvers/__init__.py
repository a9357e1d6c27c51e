"""Solvers of inner problems. Each states the conditions its minimiser satisfies."""

from .active_set import ActiveSet
