"""Bugs of experiments that take rows of another role, or count among other rows."""

MUTANTS = ()
