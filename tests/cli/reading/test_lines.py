"""The lines of an input are the same however it arrives."""

from __future__ import annotations

import gzip
import itertools
from typing import Any

import pytest
from attrs import define, field
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refold_async.cli.reading import lines as line_module
from refold_async.cli.reading.decode import BAD_BYTES
from refold_async.cli.reading.input import InputError
from refold_async.cli.reading.lines import Lines


@define
class Chunks:
    """In place of an `Input`: what it is read from arrives in these chunks."""

    chunks: list[bytes]
    name: str = "rows"
    reads: int = field(default=0)

    def read(self) -> bytes:
        self.reads += 1
        return self.chunks.pop(0) if self.chunks else b""


def lines_of(*chunks: bytes, encoding: str | None = None) -> Lines:
    source: Any = Chunks([chunk for chunk in chunks if chunk])
    return Lines(source, encoding)


def cut(content: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(content) + 1) for place in places}), len(content)]
    return [content[start:end] for start, end in itertools.pairwise(edges)]


texts = st.text(st.sampled_from('ab,\r\n"é€😀\u2028\ufeff'), max_size=40)
places = st.lists(st.integers(0, 200), max_size=12)


@given(texts, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"]), places, st.booleans())
@example("a\r\nb", "utf-8", [2], False)
@example("a\r", "utf-8", [1, 2], False)
@example("ab\n", "utf-16", list(range(20)), True)
@settings(max_examples=300)
def test_where_chunks_end_makes_no_difference(text: str, encoding: str, places: list[int], is_packed: bool) -> None:
    content = f"ab{text}".encode(encoding)
    content = gzip.compress(content, mtime=0) if is_packed else content
    lines = lines_of(*cut(content, places))
    found = list(lines)
    if "\r" not in text:
        assert found == [line for line in f"ab{text}".replace("\n", "\n\0").split("\0") if line]
    assert "".join(found) == f"ab{text}"
    assert lines.number == len(found)
    assert found == list(lines_of(content))


@given(st.binary(max_size=60), places)
@settings(max_examples=300)
def test_any_bytes_are_text_or_refused_and_never_cut_differently(content: bytes, places: list[int]) -> None:
    def read(*chunks: bytes) -> tuple[list[str], str | None]:
        found: list[str] = []
        try:
            found.extend(lines_of(*chunks))
        except InputError as error:
            return found, str(error)
        return found, None

    whole = read(content)
    assert read(*cut(content, places)) == whole
    if whole[1] is None and not content.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        assert all(BAD_BYTES in line or line.encode() in content for line in whole[0]) or b"\0" in content[:4]


def test_a_line_is_there_as_soon_as_its_end_is() -> None:
    lines = lines_of(b"{}\n", b"{", b"}\n", b"{}")
    iterator = iter(lines)
    source: Any = lines.input
    assert (next(iterator), source.reads) == ("{}\n", 1)
    assert (next(iterator), source.reads) == ("{}\n", 3)


def test_a_line_that_is_too_long_is_replaced_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "LONGEST_LINE", 10)
    lines = lines_of(b"short\n", b"much ", b"longer ", b"than ten\nnext\n")
    found = [(line, (lines.take_problem() or "")[:6]) for line in lines]
    assert found == [("short\n", ""), ("\n", "longer"), ("next\n", "")]


@pytest.mark.parametrize(
    ("content", "line_end"),
    [
        (b"a\nb\r\n", "\n"),
        (b"a\r\nb\n", "\r\n"),
        (b"a\rb\n", "\r"),
        (b"a\r\r\nb", "\r\n"),
        (b"a\r\rb", "\r"),
        (b"a\r", "\r"),
        (b"a", "\n"),
    ],
)
def test_the_first_line_end_says_what_ends_lines(content: bytes, line_end: str) -> None:
    for chunks in ([content], [content[index : index + 1] for index in range(len(content))]):
        lines = lines_of(*chunks)
        assert "".join(lines) == content.decode()
        assert lines.line_end == line_end
