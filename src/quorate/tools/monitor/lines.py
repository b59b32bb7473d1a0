"""Nested lists as text: `* item`, two blanks deeper for each level, headed sections with an empty line between."""

from __future__ import annotations


class Lines:
    """Collects lines. A section (level 0) is set off from what stands before it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._level = 0

    def section(self, title: str) -> None:
        if self.lines:
            self.lines.append("")
        self.lines.append(f"{title}:")
        self._level = 1

    def heading(self, title: str) -> None:
        """A section that is not set off by an empty line."""
        self.lines.append(f"{title}:")
        self._level = 1

    def end_section(self) -> None:
        self._level = 0

    def item(self, text: str) -> None:
        self.lines.append(f"{'  ' * self._level}* {text}")

    def raw(self, text: str) -> None:
        self.lines.append(text)

    def begin(self, title: str) -> None:
        """A nested list's head."""
        self.item(title)
        self._level += 1

    def deeper(self) -> None:
        """A nested list without a head."""
        self._level += 1

    def end(self) -> None:
        self._level -= 1

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n" if self.lines else ""
