"""Poisoned support vector machines."""
