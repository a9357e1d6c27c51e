"""Flipped labels, and a vote of neighbours against them."""
