"""Poison crafted on one learner, tried on others."""
