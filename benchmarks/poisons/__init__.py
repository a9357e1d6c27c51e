"""The field's benchmark of clean-label poison (Schwarzschild et al., "Just how toxic is data
poisoning?", ICML 2021): settings, files of poison, a judge of any such file, and the board.
"""

from .judging import Judged, judge
from .layout import Poisons
from .page import board
from .setting import SETTINGS, Setting
