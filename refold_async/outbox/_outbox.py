"""The outbox in one SQLite file."""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import AsyncIterable, Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import anyio.lowlevel

from .._types.errors import ConfigurationError, InvalidTriggerError, OutboxError
from .._types.values import Receipt, Trigger
from ..policies.fence import Sent
from . import _rows, _settle
from ._chunks import put_in_chunks
from ._claim import Pace
from ._database import Database, Synchronous
from ._delivery import DeliveryClient
from ._events import RelayHook
from ._join import Execute, join
from ._quick import QuickConnection
from ._relay import Relay
from ._row import LONGEST_KEY, Change, Row, Value, digest_of, encode_trigger
from ._schema import HAS_META, INSERT, READ_VERSION, migration
from ._settle import seconds
from ._status import EventStatus, OutboxStats, status_of
from ._thread import JobThread

if TYPE_CHECKING:
    from ..client import RefoldClient

T = TypeVar("T")

_CHUNK: Final = 1000
"""Rows of one transaction of `put_many`, and of one step of `prune`."""


class SQLiteOutbox:
    """Events in one SQLite file, until a relay has sent them. With the standard library alone.

    Many processes may put; `relay` sends, in one of them at a time. It may be used from several event loops and
    threads. The states of an event are those of `State`.

    :param path: the file. It is made with mode 0600 if it is not there; it must be on a local disk.
    :param synchronous: "full": what was put survives a power cut. "normal": it survives a kill of the process, and puts
        are a hundred times faster.
    :param timeout: seconds to wait for another process's lock on the file.
    :param keep_payloads: keep the payloads of accepted events, which are dropped otherwise.
    :param shared: the file is your app's own database: its other tables are left alone, and so is its journal mode.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "full",
        timeout: float = 5.0,
        keep_payloads: bool = False,
        shared: bool = False,
    ) -> None:
        if str(path) in ("", ":memory:") or str(path).startswith("file:"):
            raise ConfigurationError(f"an outbox is a file on a disk, not {str(path)!r}")
        if synchronous not in ("full", "normal"):
            raise ConfigurationError(f'synchronous must be "full" or "normal", not {synchronous!r}')
        self.path = Path(path).absolute()
        self._thread = JobThread("refold-outbox")
        self._database = Database(self.path, synchronous=synchronous, timeout=timeout, is_shared=shared)
        self._quick = QuickConnection(self.path) if synchronous == "normal" else None
        self._keeps_payloads = keep_payloads
        self._clock: Callable[[], float] = time.time
        self._listeners: list[Callable[[], None]] = []
        self._data_version = -1
        self._is_closed = False

    # Putting.

    async def put(self, trigger: Trigger, *, connection: Any = None, key: str | None = None, delay: float = 0.0) -> str:
        """Keep an event until it was sent. It is durable when this returns; with `connection=`, when that commits.

        If it is cancelled, or raises an `OutboxWriteError`, put the event again with the same key.

        :param trigger: what to send; without files.
        :param connection: a connection or session of yours on the same file, in a transaction that this becomes a
            part of: of sqlite3, aiosqlite or SQLAlchemy, sync or async.
        :param key: names the event; made up if left out. A second put of the same key and trigger does nothing.
        :param delay: seconds before which it is not sent.
        :returns: the key.
        :raises InvalidTriggerError: for a trigger that cannot be kept, and for a key of another trigger.
        :raises ConfigurationError: for a connection that is in no transaction, or of another file.
        :raises OutboxError: when the file cannot be written; then nothing was kept.
        """
        key = make_key(key, self._clock)
        text = encode_trigger(trigger)
        now = self._clock()
        values = _rows.put_values(key, text, digest_of(text), trigger.ordering_key, now + seconds(delay), now)
        if connection is not None:
            await self._put_joined(await join(connection), key, values)
            return key

        def job() -> None:
            with self._database.use() as own:
                if own.execute(INSERT, values).rowcount == 0:
                    row = _rows.load(own, key, now)
                    _rows.check_same(key, "" if row is None else row.digest, str(values[2]))
                if self._quick is not None:
                    self._quick.open()

        if not await self._put_quickly(values):
            await self._run(job)
        self._tell()
        return key

    async def put_many(
        self, triggers: Iterable[Trigger | tuple[str, Trigger]] | AsyncIterable[Trigger | tuple[str, Trigger]]
    ) -> int:
        """Keep many events, in transactions of a thousand; each is durable when the next item is asked for.

        Killed in the middle and repeated with the same keys, no event is there twice.

        :param triggers: triggers, or pairs of a key and a trigger.
        :returns: how many items there were, those that had been put before included.
        :raises InvalidTriggerError: as `put` does; the chunks before that stay.
        """

        def encode(key: str | None, trigger: Trigger) -> tuple[Value, ...]:
            key, text, now = make_key(key, self._clock), encode_trigger(trigger), self._clock()
            return _rows.put_values(key, text, digest_of(text), trigger.ordering_key, now, now)

        async def put(chunk: list[tuple[Value, ...]]) -> None:
            def job() -> None:
                with self._database.transaction() as own:
                    _rows.put_all(own, chunk)

            await self._run(job)
            self._tell()

        return await put_in_chunks(triggers, _CHUNK, encode, put)

    async def adopt(self, trigger: Trigger, *, key: str, sent: Sent | None = None) -> str:
        """Keep an event that may have fired already, and hold it until somebody says whether it did.

        :param trigger: what was sent.
        :param key: names the event. A second time it does nothing.
        :param sent: what is known of the attempts.
        :returns: the key.
        :raises InvalidTriggerError: as `put` does.
        """
        key, text, now = make_key(key, self._clock), encode_trigger(trigger), self._clock()
        values = _rows.put_values(key, text, digest_of(text), trigger.ordering_key, now, now)

        def job() -> None:
            with self._database.transaction() as own:
                _rows.adopt(own, values, sent)

        await self._run(job)
        return key

    async def _put_joined(self, execute: Execute, key: str, values: tuple[Value, ...]) -> None:
        files = [row[2] for row in await execute("PRAGMA database_list", ()) if row[1] == "main"]
        if not files or not files[0] or not _is_same_file(Path(files[0]), self.path):
            raise ConfigurationError(
                f"the connection is to {files[0] if files and files[0] else 'no file'}, and this outbox is "
                f"{self.path}: an outbox joins transactions of its own file only"
            )
        found = await execute(READ_VERSION, ()) if await execute(HAS_META, ()) else ()
        for statement in migration(self.path, int(found[0][0]) if found else 0):
            await execute(statement, ())
        await execute(INSERT, values)
        kept = await execute("SELECT digest FROM refold_outbox WHERE key = ?", (key,))
        _rows.check_same(key, kept[0][0], str(values[2]))

    # Delivering.

    async def deliver(self, key: str, client: DeliveryClient, *, pace: Pace | None = None) -> Receipt:
        """Send one event now, unless it is known what became of it: for an engine of your own in place of `relay`.

        :raises RetryLater: also while an earlier event of its ordering key is not settled.
        :raises RefoldError: as `deliver` of this package does.
        """
        return await _settle.deliver_in_order(self, client, key, pace=pace)

    async def is_behind(self, row: Row) -> bool:
        """Whether an event waits for an earlier one of its ordering key that neither fired nor was rejected."""
        return await self._with(lambda own, _: _rows.is_behind(own, row))

    async def due_keys(self, *, limit: int = 1000) -> list[str]:
        """Return the keys of events that somebody should deliver now, the longest due first.

        For an engine of your own, which calls it from time to time: a process may die after `put`, before it has made
        a task for the event.

        :param limit: not more than so many.
        """
        return [row.key for row in await self._with(lambda own, now: _rows.due(own, now, limit))]

    def relay(
        self,
        client: RefoldClient,
        *,
        max_concurrency: int = 20,
        hooks: Iterable[RelayHook] = (),
        prune_after: float | None = 7 * 86_400.0,
        poll: float = 0.25,
        grace: float = 5.0,
        probe_every: float = 5.0,
        pace: Pace | None = None,
    ) -> Relay:
        """Return what sends the events, as long as its block runs: `async with client, outbox.relay(client):`.

        One relay a file sends; others wait, and take over when it ends or dies. Events that are due go first in, first
        out; those of one ordering key one after the other, and behind a held one they wait.

        :param client: what to send through; its rate limit holds.
        :param max_concurrency: how many events are under way at most.
        :param hooks: are called with `EventHeld`, `RelayPaused` and `RelayResumed`.
        :param prune_after: seconds after which events that were accepted or rejected are deleted; None for never.
        :param poll: seconds between two looks for what other processes have put. Puts of this one are seen at once.
        :param grace: seconds for what is under way when the block ends.
        :param probe_every: seconds to the first probe of an outage.
        :param pace: how deliveries are timed.
        """
        return Relay(
            self,
            client,
            max_concurrency=max_concurrency,
            poll=poll,
            prune_after=prune_after,
            hooks=hooks,
            pace=pace,
            grace=grace,
            probe_every=probe_every,
        )

    async def due_rows(self, limit: int) -> tuple[list[Row], float | None]:
        """Return what is due, and the seconds until the next row is; None for never. For relays."""
        return await self._with(
            lambda own, now: (_rows.due(own, now, limit), _rows.next_due(own, now)),
        )

    async def has_changed(self) -> bool:
        """Whether another connection has written since this was last asked. For relays."""
        version = await self._with(lambda own, _: int(own.execute("PRAGMA data_version").fetchone()[0]))
        before, self._data_version = self._data_version, version
        return version != before

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call this after each write of this process, on whatever thread. Returns what ends that. For relays."""
        self._listeners = [*self._listeners, listener]

        def end() -> None:
            self._listeners = [each for each in self._listeners if each is not listener]

        return end

    @property
    def keeps_payloads(self) -> bool:
        """Whether the payload of an accepted event stays."""
        return self._keeps_payloads

    async def load(self, key: str) -> Row | None:
        """Return a row; None if there is none of this key. A part of `DeliveryStore`."""
        return await self._with(lambda own, now: _rows.load(own, key, now))

    async def move(self, row: Row, change: Change) -> Row | None:
        """Take one step of a row, unless another was faster. A part of `DeliveryStore`."""
        after = await self._with(lambda own, now: _rows.move(own, row, change, now))
        if after is not None and after.ordering_key is not None and after.state.is_final:
            self._tell()
        return after

    # Looking, and saying what became of an event.

    async def status(self, key: str) -> EventStatus:
        """Return what is known of an event.

        :raises UnknownKeyError: for a key that was never put, or was pruned.
        """
        return status_of(await _settle.existing(self, key))

    async def held(self, *, limit: int = 1000) -> list[EventStatus]:
        """Return the events that may have fired and wait for somebody, the oldest first.

        :param limit: not more than so many.
        """
        return [status_of(row) for row in await self._with(lambda own, now: _rows.held(own, now, limit))]

    async def resolve(self, key: str, *, fired: bool) -> EventStatus:
        """Say what became of an ambiguous event, after somebody looked.

        :param fired: True ends it as accepted; False queues it again.
        :raises EventStateError: for an event that is being sent, or of which it is known already.
        :raises UnknownKeyError: for a key that was never put, or was pruned.
        """
        return self._told(await _settle.resolve(self, key, fired=fired))

    async def retry(self, key: str, *, fired_again: bool = False) -> EventStatus:
        """Queue a rejected event again; with `fired_again=True` an accepted one, which then fires a second time.

        :raises EventStateError: for an event in another state, and an accepted one whose payload was dropped.
        :raises UnknownKeyError: for a key that was never put, or was pruned.
        """
        return self._told(await _settle.retry(self, key, fired_again=fired_again))

    async def prune(self, older_than: float) -> int:
        """Delete events that were accepted or rejected a while ago, and return how many.

        :param older_than: seconds.
        """
        before, total = self._clock() - seconds(older_than), 0
        while True:
            done = await self._with(lambda own, now: _rows.prune(own, before, _CHUNK))
            total += done
            if done < _CHUNK:
                return total

    async def stats(self) -> OutboxStats:
        """Return how many events are where, and how old the oldest is."""
        return await self._with(_rows.stats)

    async def aclose(self) -> None:
        """Close the file, after what was begun. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            await self._thread.run(self._close)
            self._thread.stop()

    async def __aenter__(self) -> Self:
        await self.stats()  # so that a file that cannot be used is told of at the start
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<SQLiteOutbox {str(self.path)!r}>"

    async def _put_quickly(self, values: tuple[Value, ...]) -> bool:
        if self._quick is None:
            return False
        await anyio.lowlevel.checkpoint()  # others get their turn; a put that is cancelled here puts nothing
        # Behind puts that wait in the thread this one waits too, so that all are in the order of their calls.
        return self._thread.is_idle and self._quick.put(values)

    def _close(self) -> None:
        if self._quick is not None:
            self._quick.close()
        self._database.close()

    def _told(self, row: Row) -> EventStatus:
        self._tell()
        return status_of(row)

    async def _with(self, work: Callable[[sqlite3.Connection, float], T]) -> T:
        def job() -> T:
            with self._database.use() as connection:
                return work(connection, self._clock())

        return await self._run(job)

    async def _run(self, job: Callable[[], T]) -> T:
        if self._is_closed:
            raise OutboxError(f"the outbox {self.path} was closed")
        return await self._thread.run(job)

    def _tell(self) -> None:
        """Wake the relays of this process."""
        for listener in self._listeners:
            listener()


def make_key(key: str | None, clock: Callable[[], float]) -> str:
    """Check a key, or make one. Those that are made grow with time, so that they are next to each other in an index.

    :raises InvalidTriggerError: for a key that cannot be one.
    """
    if key is None:
        return f"{int(clock() * 1e6):014x}{secrets.token_hex(8)}"
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise InvalidTriggerError(
            f"a key of an outbox is a text of 1 to {LONGEST_KEY} printable characters, not {str(key)[:50]!r}"
        )
    return key


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(one.stat(), other.stat())
    except FileNotFoundError:
        return one == other
