"""Audit of a user's own table: how much could poisoned rows do, and which defense pays?
Needs the extra `audit`.
"""

from .audit import audit
from .leaving_out import leave_one_out
from .pairs import Pairs, influence_pairs
from .reading import TableError
from .report import Report
