"""The recipes of `docs/watching.md` for other tools, each in a process of its own, because they patch and register."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from refold_async.testing import Fault, MockRefold

from .apps import ROOT, environment, python

AMBIGUOUS = """

from refold_async import RefoldError

async def fail() -> None:
    async with RefoldClient(hooks=[{hook}]) as client:
        try:
            await client.trigger("slack", "Deal Lost", {{"secret": "PRIVATE"}})
        except RefoldError as error:
            print(error.delivery)

asyncio.run(fail())
"""


def recipe(name: str) -> str:
    page = (ROOT / "docs" / "watching.md").read_text()
    found = re.search(rf"^```python {name}_recipe.py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def run(program: str, server: MockRefold, folder: Path) -> str:
    path = folder / "recipe.py"
    path.write_text(program)
    return python(str(path), env=environment(server, folder), folder=folder)


def test_the_recipe_for_prometheus_counts_calls_by_verdict(server: MockRefold, tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    server.next(None, Fault.answer(500))
    program = recipe("prometheus") + AMBIGUOUS.format(hook="measure") + "print(generate_latest().decode())"
    printed = run(program, server, tmp_path)
    assert 'refold_calls_total{delivery="accepted",slug="slack"} 1.0' in printed
    assert 'refold_calls_total{delivery="ambiguous",slug="slack"} 1.0' in printed
    assert 'refold_call_seconds_count{slug="slack"} 2.0' in printed


def test_the_recipe_for_structlog_writes_one_line_a_call(server: MockRefold, tmp_path: Path) -> None:
    pytest.importorskip("structlog")
    server.next(None, Fault.answer(500))
    printed = run(recipe("structlog") + AMBIGUOUS.format(hook="log"), server, tmp_path)
    plain = re.sub(r"\x1b\[\d*m", "", printed)
    accepted, ambiguous = [line for line in plain.splitlines() if "refold call" in line]
    assert "delivery=accepted" in accepted
    assert "delivery=ambiguous" in ambiguous
    assert "error=ServerError" in ambiguous
    assert "PRIVATE" not in plain


def test_the_recipe_for_sentry_reports_what_may_have_fired_without_payload(server: MockRefold, tmp_path: Path) -> None:
    pytest.importorskip("sentry_sdk")
    server.next(None, Fault.answer(500), Fault.answer(400))
    told = """
from sentry_sdk.transport import Transport

class Kept(Transport):
    def capture_envelope(self, envelope):
        event = envelope.get_event()
        if event is not None:
            print("SENT", event["tags"], event["exception"]["values"][-1]["type"])
        assert b"PRIVATE" not in envelope.serialize()

sentry_sdk.init("http://key@127.0.0.1/1", transport=Kept, include_local_variables=False)
"""
    fail = AMBIGUOUS.format(hook="report")
    printed = run(recipe("sentry") + told + fail + "\nasyncio.run(fail())", server, tmp_path)
    assert printed.splitlines() == [
        "SENT {'refold.slug': 'slack', 'refold.event': 'Deal Lost'} ServerError", "ambiguous", "rejected"
    ]  # fmt: skip
