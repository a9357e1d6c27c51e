"""Letters of 5 x 7 cells, for the words on signs."""

import numpy as np

ROWS = {  # from top to bottom, five bits each
    "0": "0E11131519110E", "1": "040C040404040E", "2": "0E11010204081F", "3": "1F02040201110E",
    "4": "02060A121F0202", "5": "1F101E0101110E", "6": "0608101E11110E", "7": "1F010204080808",
    "8": "0E11110E11110E", "D": "1E11111111111E", "E": "1F10101E10101F", "I": "0E04040404040E",
    "L": "1010101010101F", "M": "111B1515111111", "O": "0E11111111110E", "P": "1E11111E101010",
    "S": "0F10100E01011E", "T": "1F040404040404", "H": "1111111F111111",
}  # fmt: skip


def written(x, y, word: str, width: float, height: float, top: float = 0.0):
    """Where a word is, of so wide and high half sides, centred at (0, top)."""
    rows = np.array([[int(ROWS[c][i : i + 2], 16) for i in range(0, 14, 2)] for c in word])
    bits = (rows[:, :, None] >> np.arange(4, -1, -1)) & 1  # letter, row, column
    cells = np.pad(bits, ((0, 0), (0, 0), (0, 1))).transpose(1, 0, 2).reshape(7, -1)[:, :-1]
    column = np.floor((x + width) / (2 * width) * cells.shape[1]).astype(int)
    row = np.floor((y - top + height) / (2 * height) * 7).astype(int)
    inside = (column >= 0) & (column < cells.shape[1]) & (row >= 0) & (row < 7)
    return inside & (cells[row.clip(0, 6), column.clip(0, cells.shape[1] - 1)] > 0)
