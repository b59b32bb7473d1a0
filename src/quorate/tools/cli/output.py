"""Structured output of the commands: Pacemaker's `<pacemaker-result>` document, or text.

`xml_result` prints the document around a command's own elements with the request line and the final status, as
`--output-as=xml` has it; failures stand inside it.
"""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from ..failure import CommandFailed, Exit, exit_description
from ..invocation import Invocation
from ..options import Parsed

API_VERSION = "2.25"  # of the output schema (api-result.rng) that is printed


class Output:
    """Where a command's text goes (`--output-to`), and whether XML was asked for."""

    def __init__(self, call: Invocation, parsed: Parsed, *, formats: tuple[str, ...] = ("text", "xml")) -> None:
        self.call = call
        self.format = parsed.text("output-as", "text") or "text"
        if self.format not in formats and not (self.format == "none"):
            raise CommandFailed(
                Exit.CANTCREAT, f"Error creating output format {self.format}: choose one of {', '.join(formats)}"
            )
        self.destination = parsed.get("output-to")
        self.root: etree._Element | None = None
        self.notes: list[str] = []
        if self.format == "xml":
            self.root = new_result(call)

    @property
    def xml(self) -> bool:
        return self.root is not None

    def element(self, tag: str, **attributes: str) -> etree._Element:
        assert self.root is not None
        return etree.SubElement(self.root, tag, attributes)

    def note_error(self, text: str) -> None:
        """A message that belongs in the document though the command succeeds."""
        self.notes.append(text)

    def line(self, text: str = "") -> None:
        self.call.print(text)


_DASHED = frozenset({"nodes_running_on_"})


def new_result(call: Invocation) -> etree._Element:
    root = etree.Element("pacemaker-result")
    root.set("api-version", API_VERSION)
    root.set("request", " ".join([call.name, *call.args]))
    return root


def finish_result(root: etree._Element, code: int, errors: tuple[str, ...] = ()) -> str:
    status = etree.SubElement(root, "status", code=str(int(code)), message=exit_description(code))
    if errors:
        holder = etree.SubElement(status, "errors")
        for text in errors:
            etree.SubElement(holder, "error").text = text
    return serialize(root)


def serialize(element: etree._Element) -> str:
    text: str = etree.tostring(element, encoding="unicode", pretty_print=True)
    return text


class Redirected:
    """A sink that writes to the file of --output-to."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "w", encoding="utf-8", errors="surrogateescape")

    def write(self, text: str, /) -> None:
        self._file.write(text)

    def close(self) -> None:
        self._file.close()


def run_with_output(
    call: Invocation, parsed: Parsed, body: Callable[[Output], int], *, formats: tuple[str, ...] = ("text", "xml")
) -> int:
    """Run `body`; with XML, failures become part of the document. With --output-to, text goes to that file."""
    output = Output(call, parsed, formats=formats)
    redirected: Redirected | None = None
    if output.destination and output.destination != "-":
        try:
            redirected = Redirected(call.path(output.destination))
        except OSError as error:
            raise CommandFailed(Exit.CANTCREAT, f"Cannot write {output.destination}: {error.strerror}") from None
        call.out = redirected
    try:
        if output.root is None:
            return body(output)
        try:
            code = body(output)
            call.out.write(finish_result(output.root, code, tuple(output.notes)))
            return code
        except CommandFailed as failure:
            text = f"{call.name}: {failure.message}"
            call.out.write(finish_result(output.root, failure.code, (text,)))
            return failure.code
    finally:
        if redirected is not None:
            redirected.close()
