"""Quadratic programs with a box and one equality: active sets, an interior point in reserve."""
