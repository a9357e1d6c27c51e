"""Defenses of networks: on features, on models, on inputs, and attackers who know them."""
