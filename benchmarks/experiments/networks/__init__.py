"""Poisoning of networks."""
