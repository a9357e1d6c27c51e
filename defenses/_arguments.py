"""What defenses ask of their arguments, in sentences."""


def share_argument(name: str, value: float) -> float:
    """ValueError unless a number in [0, 1)."""
    if not 0 <= float(value) < 1:
        raise ValueError(
            f"{name}: got {value}, expected a share of the rows in [0, 1), as .2 for a fifth"
        )
    return float(value)


def count_argument(name: str, value: int, least: int) -> int:
    """ValueError unless a whole number, and large enough."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}: got {value!r}, expected a whole number >= {least}")
    return value


def positive_argument(name: str, value: float) -> float:
    """ValueError unless a number > 0."""
    if not value > 0:
        raise ValueError(f"{name}: got {value}, expected a number > 0")
    return value
