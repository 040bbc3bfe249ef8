"""Grants that nobody will tell any more: of a closed event loop, or of the parent process."""

from __future__ import annotations

import asyncio
import os

import pytest

from refold_async.limiters._untold import UntoldGrants


def add(grants: UntoldGrants, loop: asyncio.AbstractEventLoop, count: int) -> None:
    async def main() -> None:
        for _ in range(count):
            assert grants.add() is loop

    loop.run_until_complete(main())


def test_only_those_of_closed_loops_are_forgotten_and_once() -> None:
    grants, closed, open_loop = UntoldGrants(), asyncio.new_event_loop(), asyncio.new_event_loop()
    add(grants, closed, 3)
    add(grants, open_loop, 2)
    assert grants.add() is None
    assert grants.remove(closed)
    assert grants.forget() == 0
    closed.close()
    assert [grants.forget(), grants.forget()] == [2, 0]
    assert [grants.remove(closed), grants.remove(open_loop), grants.remove(open_loop)] == [False, True, True]
    assert [grants.remove(open_loop), grants.remove(None), grants.remove(None)] == [False, True, False]
    open_loop.close()


def test_those_of_the_parent_process_are_forgotten_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    grants, loop = UntoldGrants(), asyncio.new_event_loop()
    add(grants, loop, 2)
    grants.add()
    child = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    assert [grants.forget(), grants.forget()] == [3, 0]
    assert not grants.remove(loop)
    add(grants, loop, 1)
    assert (grants.forget(), grants.remove(loop)) == (0, True)
    loop.close()
