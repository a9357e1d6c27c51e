"""Defenses without training: they examine a model that is given."""

from ._audit import AbstractAudit, Verdict
