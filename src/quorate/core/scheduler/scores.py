"""Score arithmetic: integers between -INFINITY and INFINITY, where minus infinity wins over everything."""

from __future__ import annotations

from typing import Final

INFINITY: Final = 1_000_000  # Source: Pacemaker Explained, "Scores"


def add_scores(a: int, b: int) -> int:
    """Sum with Pacemaker's rules for the infinities."""
    if a <= -INFINITY or b <= -INFINITY:
        return -INFINITY
    if a >= INFINITY or b >= INFINITY:
        return INFINITY
    total = a + b
    if total >= INFINITY:
        return INFINITY
    if total <= -INFINITY:
        return -INFINITY
    return total


def clamp(value: int) -> int:
    if value >= INFINITY:
        return INFINITY
    if value <= -INFINITY:
        return -INFINITY
    return value


def parse_score(text: str | None, default: int = 0) -> int | None:
    """The score that `text` stands for, `default` when absent, None when it is not a score."""
    if text is None:
        return default
    text = text.strip()
    if text in ("INFINITY", "+INFINITY", "infinity", "+infinity"):
        return INFINITY
    if text in ("-INFINITY", "-infinity"):
        return -INFINITY
    if text == "red":
        return -INFINITY
    if text in ("yellow", "green"):
        return 0
    sign = 1
    digits = text
    if digits[:1] in "+-" and digits:
        sign = -1 if digits[0] == "-" else 1
        digits = digits[1:]
    if digits.isascii() and digits.isdigit():
        return clamp(sign * int(digits))
    end = 0
    while end < len(digits) and digits[end].isdigit():
        end += 1
    if end:
        return clamp(sign * int(digits[:end]))
    return None


def score_text(value: int) -> str:
    if value >= INFINITY:
        return "INFINITY"
    if value <= -INFINITY:
        return "-INFINITY"
    return str(value)
