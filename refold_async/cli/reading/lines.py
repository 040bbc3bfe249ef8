"""The lines of an input, as text."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator

from attrs import define, field

from .decode import BAD_BYTES, Decoder
from .input import LONGEST_LINE, Input, InputError

TOO_LONG = (
    f"longer than {LONGEST_LINE // 1024 // 1024} MiB, and Refold takes 3 MB: "
    "is there one JSON object a line, or one row of CSV?"
)


@define(eq=False)
class Lines:
    """Iterates over the lines of an input, with their line ends.

    A line ends with a line feed; in files of old Macs, whose first line ends with a carriage return alone, with that.

    :param encoding: as chosen; None to look at the first bytes.
    :param before_read: called before it may have to wait for more.
    :ivar number: of the line that was returned last, counted from 1.
    :ivar problem: what is wrong with a line, until somebody takes it. The line itself is then only a stand-in.
    :ivar has_other_end: whether the last line ends otherwise than the first, in a way that may belong to its text.
    :ivar taken: the lines since somebody cleared this.
    """

    input: Input
    encoding: str | None = None
    before_read: Callable[[], None] = field(default=lambda: None)
    number: int = 0
    problem: str | None = None
    has_other_end: bool = False
    taken: list[str] = field(factory=list)
    line_end: str = "\n"
    _decoder: Decoder = field(init=False)
    _count: int = field(default=0, init=False)
    """Bytes that were read."""
    _piece: tuple[int, int, float] = (0, 0, 0.0)
    """Of the text at hand: the number of the line before it, the bytes read before it, and its bytes a line."""

    def __attrs_post_init__(self) -> None:
        self._decoder = Decoder(self._read, self.encoding, self.input.name)

    @property
    def name(self) -> str:
        """The name of the input, as it is shown."""
        return self.input.name

    @property
    def offset(self) -> int:
        """Where the last line ends, in bytes of the input; an estimate within 64 KiB."""
        before, start, size = self._piece
        return start + int((self.number - before) * size)

    def take_problem(self) -> str | None:
        """Return what is wrong with the lines since this was asked last, if anything is."""
        problem, self.problem = self.problem, None
        return problem

    def __iter__(self) -> Iterator[str]:
        taken = self.taken
        for text in self._whole_lines():
            lines = _split(text, self._cut)
            if self._is_plain(text):
                for line in lines:
                    self.number += 1
                    taken.append(line)
                    yield line
                continue
            for line in lines:
                self.number += 1
                taken.append(line)
                yield self._inspect(line)
            self.has_other_end = False

    @property
    def _cut(self) -> str:
        return "\r" if self.line_end == "\r" else "\n"

    def _whole_lines(self) -> Iterator[str]:
        """Yield the text in pieces that end where a line does, the last one where the input does."""
        held: list[str] = []
        size = start = 0
        for piece in self._pieces():
            cut = piece.rfind(self._cut) + 1
            if not cut:
                held, size = _hold(held, size, piece)
                continue
            text, rest = piece[:cut], piece[cut:]
            if held:
                text = "".join([*held, text])
            self._piece = self.number, start, (self._count - start) / text.count(self._cut)
            start = self._count
            yield text
            held, size = _hold([], 0, rest) if rest else ([], 0)
        if held:
            self._piece = self.number, start, self._count - start
            yield "".join(held)

    def _pieces(self) -> Iterator[str]:
        """Yield the text as it comes, once the first line end was seen."""
        first = ""
        pieces = self._decoder.pieces()
        for piece in pieces:
            first += piece
            line_end = _find_line_end(first)
            if line_end is not None or len(first) > LONGEST_LINE:
                self.line_end = line_end or "\n"
                yield first
                break
        else:
            self.line_end = "\r" if "\r" in first else "\n"
            if first:
                yield first
        yield from pieces

    def _read(self) -> bytes:
        self.before_read()
        try:
            chunk = self.input.read()
        except OSError as error:
            raise InputError(f"reading {self.name} failed after line {self.number}: {error.strerror}") from error
        self._count += len(chunk)
        return chunk

    def _is_plain(self, text: str) -> bool:
        """Whether none of the lines needs a look of its own. Each test is one pass over the text, in C."""
        if BAD_BYTES in text or "\0" in text or len(text) > LONGEST_LINE:
            return False
        if self.line_end == "\n":
            return "\r" not in text
        return self.line_end != "\r" or "\n" not in text

    def _inspect(self, line: str) -> str:
        """Record what is wrong with a line. Returns the line, or a stand-in for one that is too long."""
        if self.line_end == "\n":
            self.has_other_end = line.endswith(("\r\n", "\r"))
        elif self.line_end == "\r":
            self.has_other_end = line.endswith(("\n\r", "\n"))
        problem = None
        if len(line) > LONGEST_LINE:
            problem, line = TOO_LONG, self._cut
        elif BAD_BYTES in line:
            problem = self._undecodable(line)
        elif "\0" in line:
            place = line.index("\0") + 1
            problem = f"it holds a NUL, at character {place}: is the file damaged, or not text?"
        self.problem = self.problem or problem
        return line

    def _undecodable(self, line: str) -> str:
        name, before = self._decoder.encoding, line[: line.index(BAD_BYTES)]
        if line.endswith(BAD_BYTES):  # no line end came after it
            return f"not {name.upper()} at its very end: was the file cut off? Else name its encoding with --encoding"
        if name == "utf-8":
            return (
                f"not UTF-8, at byte {len(before.encode()) + 1} of it: save the file as UTF-8, or name its encoding, "
                "as with --encoding cp1252 for Windows in western Europe"
            )
        return f"not {name}, at character {len(before) + 1} of it: name the file's encoding with --encoding"


def _split(text: str, cut: str) -> Iterable[str]:
    """Split a text after each line end. `str.splitlines` knows others, too, such as U+2028."""
    if cut == "\n":
        return io.StringIO(text, newline="\n")
    lines = text.split(cut)
    return [line + cut for line in lines[:-1]] + lines[-1:] * bool(lines[-1])


def _hold(held: list[str], size: int, more: str) -> tuple[list[str], int]:
    """Keep the beginning of a line, as long as it is not too long; then keep only that it was."""
    if size > LONGEST_LINE:
        return held, size
    return [*held, more], size + len(more)


def _find_line_end(text: str) -> str | None:
    """Return the end of the first line: a line feed, with or without carriage returns, or such a return alone."""
    feed, turn = text.find("\n"), text.find("\r")
    if turn < 0 or 0 <= feed < turn:
        return "\n" if feed >= 0 else None
    rest = text[turn:].lstrip("\r")
    if not rest:
        return None
    return "\r\n" if rest[0] == "\n" else "\r"
