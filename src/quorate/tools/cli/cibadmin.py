"""cibadmin: query and edit the configuration."""

from __future__ import annotations

from quorate.model.cib import CibError, parse_fragment

from ..backends import Backend, open_backend
from ..commands import cib
from ..failure import CommandFailed, Exit, errno_text
from ..invocation import Invocation
from ..options import APPLICATION_OPTIONS, Parsed, Table, begin, opt

_COMMAND, _DATA, _MORE = "Commands", "Data", "Additional Options"
TABLE = Table(
    "cibadmin",
    "cibadmin - query and edit the Pacemaker configuration",
    (
        opt("u upgrade", "Upgrade the configuration to the latest syntax", group=_COMMAND),
        opt("Q query cib_query", "Query the contents of the CIB", group=_COMMAND),
        opt("E erase cib_erase", "Erase the contents of the whole CIB", group=_COMMAND),
        opt("B bump cib_bump", "Increase the CIB's epoch value by 1", group=_COMMAND),
        opt("C create cib_create", "Create an object in the CIB (will fail if object already exists)", group=_COMMAND),
        opt(
            "M modify cib_modify",
            "Find object somewhere in CIB's XML tree and update it (fails if object does not exist "
            "unless -c is also specified)",
            group=_COMMAND,
        ),
        opt("P patch cib_patch", "Supply an update in the form of an XML diff (see crm_diff)", group=_COMMAND),
        opt("R replace cib_replace", "Recursively replace an object in the CIB", group=_COMMAND),
        opt(
            "D delete cib_delete",
            "Delete first object matching supplied criteria; the XML element name and all attributes must match",
            group=_COMMAND,
        ),
        opt(
            "d delete-all delete_all",
            "When used with --xpath, remove all matching objects in the configuration instead of just the first one",
            group=_COMMAND,
        ),
        opt("a empty", "Output an empty CIB", "SCHEMA", optional=True, group=_COMMAND),
        opt("5 md5-sum", "Calculate the on-disk CIB digest", group=_COMMAND),
        opt("6 md5-sum-versioned", "Calculate an on-the-wire versioned CIB digest", group=_COMMAND),
        opt(
            "S show-access",
            "Show what the user given with --user may read and write (with --query)",
            "VALUE",
            optional=True,
            group=_COMMAND,
        ),
        opt("f force", "Run even if the command is dangerous or there is no quorum", group=_MORE),
        opt("t timeout", "Time (in seconds) to wait before declaring the operation failed", "VALUE", group=_MORE),
        opt("U user", "Run the command with permissions of the named user", "VALUE", group=_MORE),
        opt("s sync-call", "Wait for call to complete before returning", group=_MORE),
        opt("l local", "Command takes effect locally (should be used only for queries)", group=_MORE),
        opt("c allow-create", "Allow target of --modify/-M to be created if it does not exist", group=_MORE),
        opt("n no-children", "When querying an object, do not include its children in the result", group=_MORE),
        opt(
            "N node host", "Send command to the specified host (every node gives the same answer)", "VALUE", group=_MORE
        ),
        opt("b no-bcast", "Accepted for compatibility", group=_MORE, hidden=True),
        opt("X xml-text", "Retrieve XML from the supplied string", "VALUE", group=_DATA),
        opt("x xml-file", "Retrieve XML from the named file", "VALUE", group=_DATA),
        opt("p xml-pipe", "Retrieve XML from stdin", group=_DATA),
        opt(
            "o scope obj_type section",
            "Limit scope of operation to specific section of CIB: configuration, nodes, "
            "resources, constraints, crm_config, rsc_defaults, op_defaults, acls, fencing-topology, tags, alerts, status",
            "VALUE",
            group=_DATA,
        ),
        opt("A xpath", "A valid XPath to use instead of --scope/-o", "VALUE", group=_DATA),
        opt("e node-path", "When performing XPath queries, return path of any matches found", group=_DATA),
        opt("r dangerous-cmd", "Accepted for compatibility", group=_DATA, hidden=True),
        *APPLICATION_OPTIONS,
    ),
    usage="<command> [options]",
)

_KINDS = (
    "upgrade",
    "query",
    "erase",
    "bump",
    "create",
    "modify",
    "patch",
    "replace",
    "delete",
    "delete-all",
    "empty",
    "md5-sum",
    "md5-sum-versioned",
)


def main(call: Invocation) -> int:
    parsed = begin(call, TABLE)
    if parsed is None:
        return 0
    chosen = parsed.last_of(*_KINDS)
    if chosen is None or parsed.words:
        call.err.write(TABLE.help())
        return Exit.USAGE
    kind = chosen[0]
    try:
        return _run(call, parsed, kind)
    except CommandFailed as failure:
        if failure.output:
            call.out.write(failure.output)
        call.error(failure.message)
        return failure.code


def _run(call: Invocation, parsed: Parsed, kind: str) -> int:
    if kind == "empty":
        call.out.write(cib.empty(parsed.get("empty")))
        return 0
    if "show-access" in parsed and "user" not in parsed:
        raise CommandFailed(Exit.USAGE, "The supplied command requires -U user specified.")
    xml = _input(call, parsed)
    if kind in ("md5-sum", "md5-sum-versioned"):
        return _digest(call, kind, xml)
    backend = open_backend(call)
    try:
        if kind == "query":
            return _query(call, parsed, backend)
        if xml is None and kind not in ("upgrade", "erase", "bump") and parsed.get("xpath") is None:
            raise CommandFailed(
                Exit.SOFTWARE, f"{_prefix(backend, kind)}: Invalid argument (give XML with -x, -X or -p)"
            )
        return _change(parsed, backend, kind, xml)
    finally:
        backend.close()


def _prefix(backend: Backend, kind: str) -> str:
    return f"Call cib_{kind.replace('-all', '')} failed" if backend.live else "Call failed"


def _input(call: Invocation, parsed: Parsed) -> bytes | None:
    """The XML given, checked to be XML. CommandFailed(78) names where it came from."""
    if "xml-pipe" in parsed:
        source, data = "STDIN", call.read_input()
    elif (text := parsed.get("xml-text")) is not None:
        source, data = "input string", text.encode(errors="surrogateescape")
    elif (name := parsed.get("xml-file")) is not None:
        source = name
        try:
            data = call.read_file(name)
        except OSError as error:
            raise CommandFailed(Exit.CONFIG, f"Couldn't parse input from {name}. ({error.strerror or error})") from None
    else:
        return None
    try:
        parse_fragment(data)
    except CibError as error:
        raise CommandFailed(Exit.CONFIG, f"Couldn't parse input from {source}. ({error})") from None
    return data


def _digest(call: Invocation, kind: str, xml: bytes | None) -> int:
    if xml is None:
        raise CommandFailed(Exit.USAGE, "Please supply XML to process with -X, -x or -p")
    if kind == "md5-sum":
        call.print(f"Digest: {cib.disk_digest(xml)}")
    else:
        feature_set, digest = cib.versioned_digest(xml)
        call.print(f"Versioned ({feature_set}) digest: {digest}")
    return 0


def _query(call: Invocation, parsed: Parsed, backend: Backend) -> int:
    xpath = parsed.get("xpath")
    try:
        if xpath is not None and "node-path" in parsed:
            for path in cib.paths(backend, xpath):
                call.print(path)
            return 0
        call.out.write(cib.read(backend, section=parsed.get("scope"), xpath=xpath, no_children="no-children" in parsed))
    except CommandFailed as failure:
        if failure.code == Exit.NOSUCH:
            raise CommandFailed(failure.code, f"{_prefix(backend, 'query')}: {errno_text(failure.code)}") from None
        raise
    return 0


def _change(parsed: Parsed, backend: Backend, kind: str, xml: bytes | None) -> int:
    xpath = parsed.get("xpath")
    if kind == "delete" and xpath is not None and "delete-all" in parsed:
        kind = "delete-all"
    try:
        cib.change(
            backend,
            kind,
            section=parsed.get("scope"),
            xpath=xpath,
            xml=xml,
            allow_create="allow-create" in parsed,
            forced="force" in parsed,
        )
    except CommandFailed as failure:
        if failure.code in (Exit.UNSAFE, Exit.DISCONNECT):
            raise
        output = cib.failed_document(kind, xml) if failure.code == Exit.EXISTS and xml is not None else ""
        word = errno_text(failure.code)
        detail = failure.message
        for known in (word, "File exists", "No such device or address"):
            detail = detail.removeprefix(known).removeprefix(": ").strip()
        message = f"{_prefix(backend, kind)}: {word}"
        raise CommandFailed(failure.code, f"{message} ({detail})" if detail else message, output=output) from None
    return 0
