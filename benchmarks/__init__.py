"""Reproductions of published experiments, and hypergradients timed beside other libraries.

`python -m benchmarks list`, `python -m benchmarks run NAME --help`.
"""
