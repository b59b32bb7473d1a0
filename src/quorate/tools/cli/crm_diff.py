"""crm_diff: the difference of two configurations as a patch set, and a patch applied to a configuration."""

from __future__ import annotations

from quorate.model.cib import Cib, CibError, diff, parse_fragment, patch

from ..failure import CommandFailed, Exit
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, Parsed, Table, begin, opt
from .output import serialize

TABLE = Table(
    "crm_diff",
    "Compare two Pacemaker configurations (in XML format) to produce a custom diff-like output, or apply "
    "such an output as a patch",
    (
        opt("o original", "XML is contained in the named file (- for stdin)", "FILE", group="Original XML"),
        opt("O original-string", "XML is contained in the supplied string", "STRING", group="Original XML"),
        opt(
            "n new",
            "Compare the original XML to the contents of the named file (- for stdin)",
            "FILE",
            group="Operation",
        ),
        opt(
            "N new-string",
            "Compare the original XML with the contents of the supplied string",
            "STRING",
            group="Operation",
        ),
        opt(
            "p patch",
            "Patch the original XML with the contents of the named file (- for stdin)",
            "FILE",
            group="Operation",
        ),
        opt("c cib", "Compare/patch the inputs as a CIB (includes versions details)", group="Additional Options"),
        opt("s stdin", "Read from standard input what is not given otherwise", group="Additional Options"),
        opt("u no-version", "Generate the difference without versions details", group="Additional Options"),
        *APPLICATION_OPTIONS,
    ),
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    original = _read(call, parsed, "original", "Could not parse the first XML fragment")
    if "patch" in parsed:
        return _patch(call, original, _bytes(call, parsed, "patch"))
    new = _read(call, parsed, "new", "Could not parse the second XML fragment")
    bare = "no-version" in parsed
    if bare:  # what differs but for the versions
        for name in ("admin_epoch", "epoch", "num_updates"):
            if (value := original.root.get(name)) is not None:
                new.root.set(name, value)
    found = parse_fragment(diff(original, new, with_digest="cib" in parsed))
    if found.find("change") is None:
        return 0
    if bare and (version := found.find("version")) is not None:
        found.remove(version)
    call.out.write(serialize(found))
    return Exit.ERROR  # as diff: there is a difference


def _bytes(call: Invocation, parsed: Parsed, option: str) -> bytes:
    text = parsed.get(f"{option}-string")
    if text is not None:
        return text.encode(errors="surrogateescape")
    name = parsed.get(option)
    if name is None:
        if "stdin" in parsed:
            return call.read_input()
        raise CommandFailed(Exit.USAGE, f"Give the {option} XML with --{option} or --{option}-string")
    return call.read_file(name)


def _read(call: Invocation, parsed: Parsed, option: str, problem: str) -> Cib:
    try:
        return Cib(parse_fragment(_bytes(call, parsed, option)))
    except CibError as error:
        raise CommandFailed(Exit.DATAERR, f"{problem} ({error})") from None


def _patch(call: Invocation, original: Cib, data: bytes) -> int:
    outcome = patch(original, data)
    if outcome.rc:
        raise CommandFailed(outcome.rc, f"Could not apply patch: {outcome.message}")
    call.out.write(original.serialize(pretty=True).decode())
    return 0
