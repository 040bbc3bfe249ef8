"""The outbox's benchmark: its verdicts, and a short run of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.outbox import putting, relaying
from benchmarks.outbox.command import LINES, Line, p99
from refold_async import RateLimit


def test_a_line_holds_up_to_its_bar() -> None:
    most = Line("a", "ms", lambda _: [1.0], most=2)
    least = Line("b", "", lambda _: [1.0], least=0.97)
    assert [most.holds(2), most.holds(2.1), least.holds(0.97), least.holds(0.9)] == [True, False, True, False]
    assert Line("c", "", lambda _: None).holds(1e9)


def test_p99_is_what_99_of_100_stay_below() -> None:
    assert p99([float(n) for n in range(100)]) == 99
    assert p99([1.0]) == 1.0


def test_what_is_asked_of_an_outbox_has_bars() -> None:
    bars = {key: (line.most, line.least) for key, line in LINES.items() if line.most or line.least}
    assert bars == {
        "put": (100, None), "beside": (50, None), "large-put": (1.5, None), "large-relay": (1.5, None),
        "many": (2, None), "many-postgres": (2, None),
        "rate": (None, 0.97), "rate-sqlite": (None, 0.97), "rate-redis": (None, 0.97),
    }  # fmt: skip


def test_each_kind_is_measured(tmp_path: Path) -> None:
    assert len(putting.puts(tmp_path, synchronous="normal", count=10)) == 10
    assert len(putting.beside(tmp_path, seconds=0.5, pause=0.01, rate_limit=RateLimit())) > 4
    put, relay = putting.large(tmp_path, rows=400, rounds=1, count=10)
    assert put[0] > 0
    assert relay[0] > 0
    assert putting.many_in_sqlite(tmp_path, rows=2000, rounds=1)[0] > 0


@pytest.mark.parametrize("processes", [1, 2])
def test_the_share_of_the_rate_is_taken_from_the_ledger(
    tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaying, "WARM_UP", 0.2)
    url = "" if processes == 1 else f"sqlite:///{tmp_path}/limit.db"
    assert relaying.share(tmp_path / "boxes", processes=processes, limit_url=url, seconds=0.5) > 0
