"""Targeted attacks: chosen rows are misread, and no training label is wrong."""
