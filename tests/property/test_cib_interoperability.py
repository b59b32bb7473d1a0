"""Patch sets and digests against Pacemaker's own tools, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from lxml import etree

from quorate.model.cib import Cib, diff, patch, query
from tests.property.cib_strategies import ESCAPED_VALUES, PLAIN_VALUES, documents
from tests.property.test_cib_operations import plain

pytestmark = pytest.mark.skipif(
    shutil.which("crm_diff") is None or shutil.which("cibadmin") is None,
    reason="Pacemaker's crm_diff and cibadmin are not installed (package pacemaker-cli-utils)",
)
EXAMPLES = 40


def run(*argv: str, file: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = dict(os.environ) if file is None else {**os.environ, "CIB_file": str(file)}
    return subprocess.run(argv, capture_output=True, check=False, env=environment)


@settings(max_examples=EXAMPLES)
@given(documents(values=PLAIN_VALUES), documents(values=PLAIN_VALUES))
def test_their_patch_applied_by_us(old: Cib, new: Cib) -> None:
    if new.version <= old.version:
        new.root.set("epoch", str(old.version.epoch + 1))
    with tempfile.TemporaryDirectory() as directory:
        first, second = Path(directory) / "old.xml", Path(directory) / "new.xml"
        first.write_bytes(old.serialize())
        second.write_bytes(new.serialize())
        with_version = run("crm_diff", "--cib", "--original", str(first), "--new", str(second))
        without = run("crm_diff", "--no-version", "--original", str(first), "--new", str(second))
    if not without.stdout:
        return
    replica = old.copy()
    outcome = patch(replica, with_version.stdout)
    assert outcome.rc == 0, (outcome, with_version.stdout.decode())
    assert plain(replica) == plain(new), with_version.stdout.decode()
    replica = old.copy()
    outcome = patch(replica, without.stdout)
    assert outcome.rc == 0, (outcome, without.stdout.decode())


@settings(max_examples=EXAMPLES)
@given(documents(values=PLAIN_VALUES), documents(values=PLAIN_VALUES))
def test_our_patch_applied_by_them(old: Cib, new: Cib) -> None:
    new.version = old.version
    new.root.set("epoch", str(old.version.epoch + 1))
    changes = diff(old, new, with_digest=True)
    with tempfile.TemporaryDirectory() as directory:
        first, second = Path(directory) / "old.xml", Path(directory) / "patch.xml"
        first.write_bytes(old.serialize())
        second.write_bytes(changes)
        result = run("crm_diff", "--original", str(first), "--patch", str(second))
    assert result.returncode == 0, (result, changes.decode())
    patched = Cib.parse(result.stdout)
    assert plain(patched) == plain(new), (changes.decode(), result.stdout.decode())


@settings(max_examples=EXAMPLES)
@given(documents(values=ESCAPED_VALUES))
def test_digests(cib: Cib) -> None:
    cib.root.set("cib-last-written", "then")
    cib.root.set("update-origin", "n1")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "cib.xml"
        file.write_bytes(cib.serialize())
        ours = (cib.digest(), cib.disk_digest())
        theirs = tuple(run("cibadmin", flag, "--xml-file", str(file)) for flag in ("--md5-sum-versioned", "--md5-sum"))
    assert ours == tuple(each.stdout.decode().split()[-1] for each in theirs)


@settings(max_examples=EXAMPLES)
@given(documents(values=PLAIN_VALUES))
def test_queries(cib: Cib) -> None:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "cib.xml"
        file.write_bytes(cib.serialize())
        for xpath in ("//primitive", "//nvpair[@name='a']", "//primitive[1]", "//nothing", "//primitive/@id"):
            theirs = run("cibadmin", "--query", "--xpath", xpath, file=file)
            ours = query_text(cib, xpath)
            assert (theirs.returncode, normal(theirs.stdout)) == (0 if ours else 105, normal(ours)), xpath


def query_text(cib: Cib, xpath: str) -> bytes:
    return query(cib, xpath=xpath) or b""


def normal(text: bytes) -> bytes:
    if not text.strip():
        return b""
    element = etree.fromstring(text, etree.XMLParser(remove_blank_text=True))
    return bytes(etree.tostring(element))
