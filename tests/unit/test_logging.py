"""REFOLD_LOG, read once, when the library is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import logging
{setup}
import refold_async
logger = logging.getLogger("refold_async")
for level in ("debug", "info", "warning"):
    getattr(logger, level)("at " + level)
"""


def printed(value: str | None, setup: str = "") -> str:
    """What a program with this setting prints to standard error."""
    env = dict(os.environ)
    if value is not None:
        env["REFOLD_LOG"] = value
    program = PROGRAM.format(setup=setup)
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stderr


@pytest.mark.parametrize(
    ("value", "levels"),
    [
        (None, []), ("", []), ("debug", ["debug", "info", "warning"]), ("INFO", ["info", "warning"]),
        ("warning", ["warning"]),
    ],
)  # fmt: skip
def test_refold_log_prints_records_from_its_level_on(value: str | None, levels: list[str]) -> None:
    lines = printed(value).splitlines()
    assert [line.rpartition("at ")[2] for line in lines] == levels
    assert all(f" {level.upper()} refold_async: " in line for level, line in zip(levels, lines, strict=True))


def test_an_application_that_sets_logging_up_sees_each_record_once() -> None:
    lines = printed("debug", setup="logging.basicConfig(format='mine %(message)s')").splitlines()
    assert lines == ["mine at debug", "mine at info", "mine at warning"]


def test_a_level_that_is_unknown_is_a_warning() -> None:
    assert "REFOLD_LOG must be debug, info or warning, not 'loud'" in printed("loud")
