"""What defenses ask of their arguments, in sentences."""


def _number(value) -> float:
    """The value as a float, NaN if it is not one number: NaN breaks every rule below."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def share_argument(name: str, value: float) -> float:
    """The value as a float; ValueError unless a number in [0, 1)."""
    if not 0 <= _number(value) < 1:
        raise ValueError(
            f"{name}: got {value}, expected a share of the rows in [0, 1), as .2 for a fifth"
        )
    return float(value)


def positive_argument(name: str, value: float) -> float:
    """The value; ValueError unless a number > 0."""
    if not _number(value) > 0:
        raise ValueError(f"{name}: got {value}, expected a number > 0")
    return value


def balance_argument(value: float) -> float:
    """The value as a float; ValueError unless in [0, 1]."""
    if not 0 <= _number(value) <= 1:
        raise ValueError(
            f"balance: got {value}, expected the part of the share kept of other classes that a "
            "class keeps at least, in [0, 1]; 0 sets no quota"
        )
    return float(value)


def dispute_argument(value: float) -> float:
    """The value as a float; ValueError unless a share of the votes in [0, 1)."""
    if not 0 <= _number(value) < 1:
        raise ValueError(
            f"dispute: got {value}, expected a share of the votes in [0, 1), as .5 for most"
        )
    return float(value)


def agreement_argument(value: float) -> float:
    """The value as a float; ValueError unless a share of the votes in (0, 1]."""
    if not 0 < _number(value) <= 1:
        raise ValueError(f"agreement: got {value}, expected a share of the votes in (0, 1]")
    return float(value)
