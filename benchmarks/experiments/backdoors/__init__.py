"""Backdoors: triggers that trained models answer to."""
