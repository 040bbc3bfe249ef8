"""The rows of a file, for whatever fires them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from ... import Trigger
from ..reading.csv_rows import Csv
from ..reading.input import Input
from ..reading.jsonl import JsonLines
from ..reading.records import Constants, Format
from ..reading.settings import InputFormat, Reading
from .source import Again, Source
from .table import Table


def make_format(reading: Reading, constants: Constants, *, with_digests: bool) -> Format:
    """Return what cuts an input into records.

    :param with_digests: whether the records have digests, to compare them with those of another run.
    """
    if reading.format is InputFormat.CSV:
        return Csv(constants, reading, with_digests=with_digests)
    return JsonLines(with_digests=with_digests)


@contextlib.contextmanager
def open_rows(
    file: str, reading: Reading, constants: Constants, check: Callable[[Trigger], object]
) -> Iterator[Source]:
    """Open a file, or standard input for `-`; `rows()` yields its triggers, and the rows that are none.

    :param check: raises `InvalidTriggerError` for what could not be sent.
    :raises InputError: when it cannot be read.
    """
    source = Input.open(file)
    try:
        form = make_format(reading, constants, with_digests=False)
        yield Source(source, form, constants, check, Table(), Again(), reading)
    finally:
        source.close()
