"""crm_verify: whether a configuration is valid, and what in it is unwise."""

from __future__ import annotations

from quorate.core.scheduler import unpack
from quorate.model.cib import Cib, CibError, validate
from quorate.model.reports import Severity

from ..backends import open_backend
from ..failure import CommandFailed, Exit
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, OUTPUT_OPTIONS, Parsed, Table, begin, opt
from .output import Output, run_with_output

_DATA, _MORE = "Data sources", "Additional options"
TABLE = Table(
    "crm_verify",
    "Check a Pacemaker configuration for errors\n\nCheck the well-formedness of a complete Pacemaker "
    "XML configuration,\nits conformance to the configured schema, and the presence of common\n"
    "misconfigurations. Problems reported as errors must be fixed before the\ncluster will work properly. It is "
    "left to the administrator to decide\nwhether to fix problems reported as warnings.",
    (
        *OUTPUT_OPTIONS,
        opt("L live-check", "Check the configuration used by the running cluster", group=_DATA),
        opt("x xml-file", "Check the configuration in the named file", "FILE", group=_DATA),
        opt("p xml-pipe", "Check the configuration piped in via stdin", group=_DATA),
        opt("X xml-text", "Check the configuration in the supplied string", "XML", group=_DATA),
        opt("S save-xml", "Save verified XML to named file (most useful with -L)", "FILE", group=_MORE),
        opt("Q quiet", "Print nothing, only the exit code tells", group=_MORE),
        *APPLICATION_OPTIONS,
    ),
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    return run_with_output(call, parsed, lambda output: _run(call, parsed, output))


def _run(call: Invocation, parsed: Parsed, output: Output) -> int:
    data = _source(call, parsed)
    if (name := parsed.get("save-xml")) is not None:
        with open(call.path(name), "wb") as file:
            file.write(data)
    errors, warnings = findings(data, call.wall())
    verbose = parsed.count("verbose")
    for text in errors + warnings if verbose > 0 else []:
        level = "error" if text in errors else "warning"
        output.note_error(f"{level}: {text}") if output.xml else call.error(f"{level}: {text}")
    if errors:
        hint = "" if verbose else " (-V may provide more detail)"
        raise CommandFailed(Exit.CONFIG, f"Errors found during check: config not valid{hint}")
    if warnings:
        hint = "" if verbose else " (-V may provide more detail)"
        raise CommandFailed(Exit.CONFIG, f"Warnings found during check: config may not be valid{hint}")
    return 0


def _source(call: Invocation, parsed: Parsed) -> bytes:
    if (name := parsed.get("xml-file")) is not None:
        try:
            return call.read_file(name)
        except OSError as error:
            raise CommandFailed(Exit.DATAERR, f"Couldn't parse input file: {name}: {error.strerror}") from None
    if "xml-pipe" in parsed:
        return call.read_input()
    if (text := parsed.get("xml-text")) is not None:
        return text.encode(errors="surrogateescape")
    if "live-check" not in parsed:
        raise CommandFailed(Exit.USAGE, "No configuration source specified. Use --help for usage information.")
    backend = open_backend(call)
    try:
        return backend.cib().serialize()
    finally:
        backend.close()


def findings(data: bytes, now: float) -> tuple[list[str], list[str]]:
    """Errors and warnings: of the document, then of what the scheduler reads in it."""
    try:
        cib = Cib.parse(data)
    except CibError as error:
        return [str(error)], []
    errors: list[str] = []
    warnings: list[str] = []
    for report in validate(cib):
        (errors if report.severity is Severity.ERROR else warnings).append(str(report))
    if not errors:
        ws = unpack(cib.root, int(now))
        for message in ws.messages:
            place = f"{message.place}: " if message.place else ""
            if message.level == "error":
                errors.append(f"{place}{message.text}")
        warnings += [f"Node {node.name} is unclean" for node in ws.nodes if node.unclean]
        warnings += [
            f"Resource {rsc.id} is active but no longer configured"
            for rsc in ws.resources
            if rsc.removed and rsc.running_on
        ]
    return errors, warnings
