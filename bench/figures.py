"""What a measurement gives: samples with their unit, the bar it is held against, the method in a sentence."""

from __future__ import annotations

import statistics
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """`bar`: what this stack shall reach; `peer`: what Corosync 3.1.7 with Pacemaker 2.1.5 gave when the bar was
    set."""

    name: str
    unit: str
    samples: tuple[float, ...]
    method: str
    bar: float | None = None
    higher_is_better: bool = False
    peer: str = ""
    digits: int = 2

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def verdict(self) -> str:
        if self.bar is None:
            return ""
        good = self.median >= self.bar if self.higher_is_better else self.median <= self.bar
        return "within the bar" if good else "MISSES the bar"

    def text(self, against_bar: bool) -> str:
        value = f"{self.median:.{self.digits}f} {self.unit}"
        if len(self.samples) > 1:
            value += f"  (median of {len(self.samples)}: {min(self.samples):.{self.digits}f} to {max(self.samples):.{self.digits}f})"
        line = f"{self.name}: {value}"
        if against_bar and self.bar is not None:
            word = "at least" if self.higher_is_better else "at most"
            line += f"\n    {self.verdict()}: {word} {self.bar:g} {self.unit}" + (
                f" (peer then: {self.peer})" if self.peer else ""
            )
        return f"{line}\n    {self.method}"
