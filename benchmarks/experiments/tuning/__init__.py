"""Hyper-parameters tuned by hypergradient; no attack."""
