"""The pages show what was committed, and nothing else."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import report
from benchmarks.results import Result
from benchmarks.run import FULL, cases, counted

ROOT = Path(__file__).parents[2]


def committed() -> Result:
    return Result.load(ROOT / report.COMMITTED)


@pytest.mark.parametrize("page", report.TEMPLATES)
def test_a_page_is_what_report_writes_from_the_committed_result(page: str) -> None:
    text = (ROOT / page).read_text()
    assert report.page_with(text, report.blocks(committed())[page]) == text, "run `python -m benchmarks report`"


def test_the_charts_were_drawn_from_the_committed_result() -> None:
    from benchmarks.charts import CHARTS, digest

    for name in CHARTS:
        assert f"drawn from {digest(committed())}" in (ROOT / f"docs/benchmarks/{name}.svg").read_text()


def test_report_writes_pages_charts_and_result_and_the_same_again(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "docs/benchmarks").mkdir(parents=True)
    for page in report.TEMPLATES:
        (tmp_path / page).write_text(f"above\n{report.START}\nold\n{report.END}\nbelow\n")
    written = report.write(ROOT / report.COMMITTED, tmp_path)
    first = [path.read_bytes() for path in written]
    assert all(name in {path.name for path in written} for name in ("README.md", "growth.svg", "options.svg"))
    assert (tmp_path / "README.md").read_text().startswith(f"above\n{report.START}\n")
    report.write(tmp_path / report.COMMITTED, tmp_path)
    assert [path.read_bytes() for path in written] == first


def test_a_contender_that_failed_and_one_without_rows_are_shown_as_such() -> None:
    result = committed()
    for row in result.rows["cost"]:
        if row["contender"] == "pyreqwest":
            row["failed"] = "RuntimeError: out of order"
    page = report.blocks(result)["docs/benchmarks.md"]
    assert "- cost: pyreqwest, asyncio, 100: RuntimeError: out of order" in page
    line = next(line for line in page.splitlines() if line.startswith("| pyreqwest "))
    assert line.split("|")[2].strip() == "–"  # noqa: RUF001


def test_a_page_without_its_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 blocks"):
        report.page_with("no marks", "block")


def test_a_result_of_an_earlier_version_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"schema": 1}')
    with pytest.raises(ValueError, match="run it again"):
        Result.load(tmp_path / "result.json")


def test_a_full_run_has_each_case_once_and_all_that_the_tables_need() -> None:
    assert len(set(cases(FULL))) == len(cases(FULL))
    needed = {case for pair in report.option_cases().values() for case in pair}
    assert needed <= set(cases(FULL))
    assert set(counted()) <= set(cases(FULL))


def test_the_commands_in_the_docs_are_understood() -> None:
    text = (ROOT / "docs/benchmarks.md").read_text()
    lines = text.partition("```shell\n")[2].partition("```")[0].splitlines()
    assert len(lines) > 3
    for line in lines:
        assert line.startswith("python -m benchmarks")
        command.parser().parse_args(shlex.split(line)[3:])
