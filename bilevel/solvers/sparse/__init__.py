"""Penalised problems: working sets, accelerated proximal gradients that end on the exact face."""
