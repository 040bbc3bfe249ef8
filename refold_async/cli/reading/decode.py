"""From bytes to text: gzip, byte order marks and encodings, as far as they are plain from the first bytes."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from attrs import define

from ... import ConfigurationError
from .input import CHUNK, Input, InputError

BAD_BYTES = "\udc80"
"""Stands in the text where bytes were that the encoding does not have. No decoded text holds it."""

_MARKING = "refold_async.mark"
_GZIP = b"\x1f\x8b"
_ENOUGH = 4
"""Bytes that tell every mark and signature apart."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_PACKED = "Unpack it first, as with: {tool} FILE | refold-async batch - --format csv"
_SIGNATURES = (
    (b"PK\x03\x04", "an Excel workbook or a zip file. In Excel, save it as CSV UTF-8; of a zip file, unpack it"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook. In Excel, save it as CSV UTF-8"),
    (b"%PDF", "a PDF. Export the rows as CSV instead"),
    (b"{\\rtf", "rich text. Save it as plain text, or export the rows as CSV"),
    (b"PAR1", "a Parquet file. Export it as CSV or JSON Lines"),
    (b"SQLi", "an SQLite database. Export the rows as CSV"),
    (b"Obj\x01", "an Avro file. Export it as JSON Lines"),
    (b"\x89PNG", "a picture. Name a file of JSON Lines or CSV"),
    (b"\xff\xd8\xff", "a picture. Name a file of JSON Lines or CSV"),
    (b"\x7fELF", "a program. Name a file of JSON Lines or CSV"),
    (b"\xfd7zX", "xz. " + _PACKED.format(tool="xz -dc")),
    (b"BZh", "bzip2. " + _PACKED.format(tool="bzip2 -dc")),
    (b"\x28\xb5\x2f\xfd", "Zstandard. " + _PACKED.format(tool="zstd -dc")),
    (b"7z\xbc\xaf", "a 7-Zip archive. Unpack it first"),
)

_NO_TEXT = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})
"""Codecs that Python has and no file is written in."""


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return BAD_BYTES, error.end


codecs.register_error(_MARKING, _mark)


def check_encoding(name: str) -> str:
    """Return the usual name of an encoding.

    :raises ConfigurationError: for one that does not exist, or that is not of text.
    """
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        info = None
    if info is None or info.name in _NO_TEXT or not getattr(info, "_is_text_encoding", True):
        raise ConfigurationError(
            f"--encoding {name} is not an encoding that Python knows: utf-8, utf-16, cp1252 (Windows, western Europe), "
            "latin-1 and shift_jis are some"
        )
    return info.name


@define(eq=False)
class Decoder:
    """Decodes an input piece by piece.

    :param read: returns the next bytes; empty at the end.
    :ivar encoding: the usual name; as chosen, or found at the first bytes.
    """

    _read: Callable[[], bytes]
    _chosen: str | None
    _name: str
    encoding: str = "utf-8"

    def pieces(self) -> Iterator[str]:
        """Yield the text, none of it empty.

        :raises InputError: when the input is in no form that is read here, or its compression is damaged.
        """
        read = self._read
        head = self._head(read)
        if head.startswith(_GZIP):
            read = _unpacked(read, self._name, head)
            head = self._head(read)
        self._refuse(head)
        chunk = head[self._choose(head) :]
        decode = codecs.getincrementaldecoder(self.encoding)(_MARKING).decode
        while chunk or head:
            head = b""
            if text := decode(chunk):
                yield text
            chunk = read()
        if text := decode(b"", final=True):
            yield text

    @staticmethod
    def _head(read: Callable[[], bytes]) -> bytes:
        """Return the first bytes: no more than tell what they are, so that who types a line is not kept waiting."""
        head = b""
        while len(head) < _ENOUGH and not (head[:1].isascii() and b"\n" in head[1:] and b"\0" not in head):
            chunk = read()
            if not chunk:
                break
            head += chunk
        return head

    def _refuse(self, head: bytes) -> None:
        for signature, words in _SIGNATURES:
            if head.startswith(signature):
                raise InputError(f"{self._name} is {words}")
        if head.startswith(_GZIP):
            raise InputError(f"{self._name} was compressed twice: unpack it first, as with: gzip -dc")

    def _choose(self, head: bytes) -> int:
        """Settle the encoding; return how long the mark at the beginning is."""
        marked = next(((mark, name) for mark, name in _MARKS if head.startswith(mark)), None)
        if self._chosen is not None:
            self.encoding = check_encoding(self._chosen)
            if marked is not None and not _agree(self.encoding, marked[1]):
                raise InputError(
                    f"{self._name} begins with the mark of {marked[1].upper()}, and --encoding says "
                    f"{self._chosen}: leave out --encoding"
                )
        if marked is not None:
            self.encoding = marked[1]
            return len(marked[0])
        if self._chosen is None:
            if b"\0" in head[:_ENOUGH]:
                self.encoding = self._guess_width(head)
        elif self.encoding in ("utf-16", "utf-32"):
            raise InputError(
                f"{self._name} begins with no mark, so --encoding {self._chosen} leaves the order of its bytes open: "
                f"say --encoding {self.encoding}-le or {self.encoding}-be"
            )
        return 0

    def _guess_width(self, head: bytes) -> str:
        """Tell UTF-16 without a mark by its zeros, which ASCII characters have at every other byte."""
        start = head[:_ENOUGH]
        if len(start) == _ENOUGH and not any(start[1::2]) and all(start[::2]):
            return "utf-16-le"
        if len(start) == _ENOUGH and not any(start[::2]) and all(start[1::2]):
            return "utf-16-be"
        raise InputError(f"{self._name} is not text: name a file of JSON Lines or CSV, or its encoding with --encoding")


def _agree(chosen: str, marked: str) -> bool:
    """Whether an encoding as it was named is the one of a mark: "utf-16" leaves the order of bytes to the mark."""
    return chosen.replace("-sig", "") in (marked, marked.removesuffix("-le").removesuffix("-be"))


def verify(source: Input) -> None:
    """Unpack a gzip file to its end, whose checksum is the only sign that none of it is damaged; then rewind it.

    Other inputs are left alone, and so is a pipe.

    :raises InputError: when the file is damaged, or ends too early.
    :raises OSError: when reading fails.
    """
    if source.begins_with(_GZIP):
        read = _unpacked(source.read, source.name, b"")
        while read():
            pass
        source.rewind()


@define(eq=False)
class _File:
    """As much of a file as `gzip` needs: the bytes that were read already, and those that come."""

    _read: Callable[[], bytes]
    _rest: bytes

    def read(self, size: int) -> bytes:
        if not self._rest:
            self._rest = self._read()
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


def _unpacked(read: Callable[[], bytes], name: str, head: bytes) -> Callable[[], bytes]:
    """Return a function that returns the next bytes of gzip, at most a chunk; empty at the end.

    It raises `InputError` when the file is damaged, or ends too early.
    """
    file: Any = _File(read, head)
    unpacker = gzip.GzipFile(fileobj=file)

    def read_on() -> bytes:
        try:
            return unpacker.read1(CHUNK)
        except EOFError as error:
            raise InputError(f"{name} is gzip that breaks off: copy or download it again") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{name} is damaged gzip ({error}): copy or download it again") from error

    return read_on
