"""Command line options as tables: parsing, help and version come from the same rows.

Long options take `--name=VALUE` or `--name VALUE`; short ones may be clustered (`-Ql`) and carry their value (`-oX`).
An option with an optional value takes the next word unless that begins with a dash, as GLib does. Long options may
be abbreviated while that is unambiguous. Words that are no options are kept in order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .failure import CommandFailed, Exit
from .invocation import Invocation

NONE, REQUIRED, OPTIONAL = "none", "required", "optional"
VERSION = "2.1.5"  # of Pacemaker's command line interface that is implemented here


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """`names`: without dashes; the first one is the key under which the value is found. `hidden`: an old alias row."""

    names: tuple[str, ...]
    text: str
    value: str = ""  # metavariable; empty: a flag
    optional: bool = False
    group: str = "Options"
    hidden: bool = False

    @property
    def key(self) -> str:
        return next((n for n in self.names if len(n) > 1), self.names[0])


def opt(
    names: str, text: str, value: str = "", *, optional: bool = False, group: str = "Options", hidden: bool = False
) -> Option:
    """`names` separated by spaces: "Q query"."""
    return Option(names=tuple(names.split()), text=text, value=value, optional=optional, group=group, hidden=hidden)


@dataclass(slots=True)
class Parsed:
    """Options in the order given, with their values ("" for a flag or an optional value left out)."""

    items: list[tuple[str, str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __contains__(self, key: str) -> bool:
        return any(k == key for k, _ in self.items)

    def get(self, key: str, default: str | None = None) -> str | None:
        """The last value given, as getopt users expect."""
        for k, value in reversed(self.items):
            if k == key:
                return value
        return default

    def text(self, key: str, default: str = "") -> str:
        value = self.get(key)
        return default if value is None else value

    def all(self, key: str) -> list[str]:
        return [value for k, value in self.items if k == key]

    def count(self, key: str) -> int:
        return sum(1 for k, _ in self.items if k == key)

    def last_of(self, *keys: str) -> tuple[str, str] | None:
        for k, value in reversed(self.items):
            if k in keys:
                return k, value
        return None


OUTPUT_OPTIONS = (
    opt("output-as", "Specify output format as one of: text (default), xml", "FORMAT", group="Output Options"),
    opt("output-to", 'Specify file name for output (or "-" for stdout)', "DEST", group="Output Options"),
    opt(
        "text-fancy",
        "Use more highly formatted output (requires --output-as=text)",
        group="Output Options",
        hidden=True,
    ),
)
APPLICATION_OPTIONS = (
    opt("$ version", "Display software version and exit", group="Application Options"),
    opt("V verbose", "Increase debug output (may be specified multiple times)", group="Application Options"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """All options of one command."""

    command: str
    summary: str
    options: tuple[Option, ...]
    usage: str = "[OPTION?]"
    notes: str = ""

    def parse(self, args: list[str]) -> Parsed:
        """Raises CommandFailed with Exit.USAGE."""
        return _Parser(self).run(args)

    def help(self) -> str:
        lines = ["Usage:", f"  {self.command} {self.usage}", "", self.summary, ""]
        groups: dict[str, list[Option]] = {}
        for option in self.options:
            if not option.hidden:
                groups.setdefault(option.group, []).append(option)
        lines += [
            "Help Options:",
            "  -?, --help                        Show help options",
            "  --help-all                        Show all help options",
            "",
        ]
        for group, options in groups.items():
            lines.append(f"{group}:")
            for option in options:
                lines += _help_lines(option)
            lines.append("")
        if self.notes:
            lines += [self.notes, ""]
        return "\n".join(lines)


def _help_lines(option: Option) -> list[str]:
    shorts = [f"-{n}" for n in option.names if len(n) == 1]
    longs = [f"--{n}" for n in option.names if len(n) > 1]
    if option.value:
        longs = [f"{n}={option.value}" for n in longs[:1]] or [f"{n}={option.value}" for n in longs]
        shorts = shorts[:1] if longs else [f"{shorts[0]} {option.value}"]
    head = "  " + ", ".join(shorts[:1] + longs[:1])
    lines: list[str] = []
    words = option.text.split()
    current = head.ljust(36) if len(head) < 36 else head + "\n" + " " * 36
    width = 36
    for word in words:
        if width + len(word) + 1 > 118:
            lines.append(current.rstrip())
            current, width = " " * 36, 36
        current += word + " "
        width += len(word) + 1
    lines.append(current.rstrip())
    return lines


class _Parser:
    def __init__(self, table: Table) -> None:
        self.table = table
        self.by_name = {name: option for option in table.options for name in option.names}

    def run(self, args: list[str]) -> Parsed:
        parsed = Parsed()
        index = 0
        while index < len(args):
            arg = args[index]
            index += 1
            if arg == "--":
                parsed.words += args[index:]
                break
            if arg.startswith("--"):
                index = self._long(parsed, arg[2:], args, index)
            elif arg.startswith("-") and len(arg) > 1:
                index = self._short(parsed, arg[1:], args, index)
            else:
                parsed.words.append(arg)
        return parsed

    def _long(self, parsed: Parsed, body: str, args: list[str], index: int) -> int:
        name, equals, value = body.partition("=")
        if name.startswith("help"):
            parsed.items.append(("help", ""))
            return index
        option = self.by_name.get(name) if len(name) > 1 else None
        if option is None:
            option = self._abbreviated(name, body)
        if not option.value:
            if equals:
                raise CommandFailed(Exit.USAGE, f"Option --{name} does not take a value")
            parsed.items.append((option.key, ""))
            return index
        if equals:
            parsed.items.append((option.key, value))
            return index
        return self._value(parsed, option, f"--{name}", args, index)

    def _abbreviated(self, name: str, body: str) -> Option:
        matches = {o.key: o for n, o in self.by_name.items() if len(n) > 1 and n.startswith(name)}
        if len(matches) == 1:
            return next(iter(matches.values()))
        if matches:
            candidates = ", ".join(f"--{key}" for key in sorted(matches))
            raise CommandFailed(Exit.USAGE, f"Option --{name} is ambiguous ({candidates})")
        raise CommandFailed(Exit.USAGE, f"Unknown option --{body}")

    def _value(self, parsed: Parsed, option: Option, spelled: str, args: list[str], index: int) -> int:
        if index < len(args) and not (option.optional and args[index].startswith("-") and len(args[index]) > 1):
            parsed.items.append((option.key, args[index]))
            return index + 1
        if option.optional:
            parsed.items.append((option.key, ""))
            return index
        raise CommandFailed(Exit.USAGE, f"Missing argument for {spelled}")

    def _short(self, parsed: Parsed, cluster: str, args: list[str], index: int) -> int:
        position = 0
        while position < len(cluster):
            letter = cluster[position]
            position += 1
            option = self.by_name.get(letter)
            if option is None:
                if letter in "?h":
                    parsed.items.append(("help", ""))
                    continue
                raise CommandFailed(Exit.USAGE, f"Unknown option -{letter}")
            if not option.value:
                parsed.items.append((option.key, ""))
                continue
            rest = cluster[position:]
            if rest and not (option.optional and rest[0] in self.by_name and not rest[0].isdigit()):
                parsed.items.append((option.key, rest[1:] if rest.startswith("=") else rest))
                return index
            if rest:
                parsed.items.append((option.key, ""))
                continue
            return self._value(parsed, option, f"-{letter}", args, index)
        return index


def begin(call: Invocation, table: Table) -> Parsed | None:
    """Parse; serve --help and --version. None: done, exit with 0."""
    parsed = table.parse(call.args)
    if "help" in parsed:
        call.out.write(table.help())
        return None
    if "version" in parsed:
        call.print(f"Pacemaker {VERSION}")
        call.print("Written by the quorate contributors (a replacement with Pacemaker's command line)")
        return None
    return parsed
