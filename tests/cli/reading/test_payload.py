"""The payload of `refold-async trigger`: typed, in a file, or on standard input."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from typer.testing import CliRunner

from refold_async.cli.app import app
from refold_async.testing import MockRefold

from ..support import environment

DOCUMENT = '{"deal": 1, "name": "Acmé"}'
PAYLOAD = {"deal": 1, "name": "Acmé"}


def trigger(server: MockRefold, payload: str, stdin: bytes | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["trigger", "slack", "E", payload], input=stdin, env=environment(server))
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    "content",
    [
        DOCUMENT.encode(),
        b"\xef\xbb\xbf" + DOCUMENT.encode(),
        DOCUMENT.encode("utf-16"),
        gzip.compress(DOCUMENT.encode()),
    ],
    ids=["utf-8", "byte order mark", "utf-16", "gzip"],
)
def test_a_payload_comes_from_a_file_or_from_standard_input(server: MockRefold, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "payload.json"
    file.write_bytes(content)
    assert trigger(server, f"@{file}") == (0, "")
    assert trigger(server, "-", content) == (0, "")
    assert [entry.payload for entry in server.ledger.fired] == [PAYLOAD, PAYLOAD]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "payload.json is not JSON"),
        (b"", "payload.json is not JSON"),
        (b"[1]", "payload must be a JSON object, as in"),
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b'{"a": "\xff"}', "payload.json is not UTF-8"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b"PK\x03\x04", "an Excel workbook"),
    ],
)
def test_a_payload_that_cannot_be_sent_is_named(server: MockRefold, tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "payload.json"
    file.write_bytes(content)
    code, said = trigger(server, f"@{file}")
    assert (code, words in said) == (2, True), said
    assert server.ledger.requests == 0


def test_a_payload_that_is_not_there_is_named(server: MockRefold, tmp_path: Path) -> None:
    for payload, words in (
        (f"@{tmp_path / 'none.json'}", "No such file"),
        (f"@{tmp_path}", "Is a directory"),
        ("@", "@ without a file"),
        ("payload.json", "For a file, write @FILE"),
    ):
        code, said = trigger(server, payload)
        assert (code, words in said) == (2, True), said
    assert server.ledger.requests == 0
