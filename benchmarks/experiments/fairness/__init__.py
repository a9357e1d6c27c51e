"""Poisoning fairness between groups."""
