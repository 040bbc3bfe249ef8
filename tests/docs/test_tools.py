"""The scripts in `tools/`: the link checker and the heartbeat of the Makefile."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import heartbeat
from tools.links import dead_links


def test_links_and_anchors_that_are_there_are_not_reported(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<h1 id="here">x</h1>')
    (tmp_path / "index.html").write_text(
        '<a href="other.html#here">1</a><a href="#me" id="me">2</a>'
        '<a href="https://example.com/x">3</a><a href="#top">4</a>'
    )
    assert list(dead_links(tmp_path)) == []


@pytest.mark.parametrize(
    "link", ['<a href="gone.html">', '<img src="gone.svg">', '<source srcset="gone.svg">', '<a href="#gone">']
)
def test_a_dead_link_is_reported_with_its_page(tmp_path: Path, link: str) -> None:
    (tmp_path / "index.html").write_text(link)
    [line] = dead_links(tmp_path)
    assert line.startswith("index.html: ")
    assert "gone" in line


@pytest.mark.parametrize(("code", "word"), [(0, "done"), (3, "failed")])
def test_the_heartbeat_says_what_it_runs_and_how_it_ended(
    code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert heartbeat.main("Installing", sys.executable, "-c", f"raise SystemExit({code})") == code
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "Installing ..."
    assert word in last


def test_the_heartbeat_says_that_a_slow_command_still_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY", 0.01)
    heartbeat.main("Installing", sys.executable, "-c", "import time; time.sleep(0.05)")
    assert "still at it" in capsys.readouterr().err
