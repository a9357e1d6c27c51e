"""One function over many settings, on many processes or machines, with results that survive."""

from ._swept import Item, Swept
from .sweep import sweep
