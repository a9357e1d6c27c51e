"""Defenses, and attackers unaware of them and adapted to them."""
