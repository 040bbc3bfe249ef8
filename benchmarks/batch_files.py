"""`python -m benchmarks.batch_files`: what it costs to read and check a file, beside the standard library alone.

A dry run of the batch command and a loop over `csv` or `json` read the same rows and encode the same bodies, each in a
process of its own, in turns. CPU time is compared, start-up included, and the peak of memory with that of a tenth of
the rows. The exit code is 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from attrs import frozen
from tabulate import tabulate

MOST_TIMES = 3.0
"""How many times the CPU time of the standard library a dry run may take."""

MOST_GROWTH = 1.25
"""How many times the memory for a tenth of the rows it may take."""

_BATCH = "import sys; from refold_async.cli import main; sys.argv[0] = 'refold-async'; main()"
_STANDARD = {
    "csv": """
import csv, json, sys
dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
with open(sys.argv[1], newline="", encoding="utf-8") as file:
    rows = csv.reader(file)
    names = next(rows)
    for cells in rows:
        dumps({"event": "Deal Created", "payload": dict(zip(names, cells))}).encode()
""",
    "jsonl": """
import json, sys
dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
with open(sys.argv[1], encoding="utf-8") as file:
    for line in file:
        row = json.loads(line)
        dumps({"event": row["event"], "payload": row["payload"]}).encode()
""",
}


@frozen
class Cost:
    """What a process took.

    :ivar seconds: of CPU, in user mode and in the kernel.
    :ivar peak: of memory, in MiB.
    """

    seconds: float
    peak: float


def write(path: Path, rows: int) -> None:
    """Write so many rows, as CSV or as JSON Lines, going by the name."""
    names = ["deal", "name", "amount", "stage", "note"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if path.suffix == ".csv":
            writer.writerow(names)
        for n in range(rows):
            cells = [n, f"Acmé {n}", n * 1.25, "won", f"some, note {n}"]
            if path.suffix == ".csv":
                writer.writerow(cells)
            else:
                payload = dict(zip(names, cells, strict=True))
                row = {"slug": "pipedrive", "event": "Deal Created", "payload": payload}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def cost(*command: str) -> Cost:
    """Run a command to its end.

    :raises RuntimeError: when it failed.
    """
    environment = {**os.environ, "REFOLD_API_KEY": "tk_benchmark", "REFOLD_LINKED_ACCOUNT_ID": "acct_1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(said.decode())
    per_mib = 1024 * 1024 if sys.platform == "darwin" else 1024
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / per_mib)


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_files")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    table = []
    holds = True
    for form, standard in _STANDARD.items():
        with tempfile.TemporaryDirectory() as folder:
            path, tenth = Path(folder) / f"rows.{form}", Path(folder) / f"tenth.{form}"
            write(path, given.rows)
            write(tenth, given.rows // 10)
            options = ["--dry-run", "--slug", "pipedrive", "--event", "Deal Created"]
            theirs, ours = [], []
            for _ in range(given.rounds):
                theirs.append(cost(sys.executable, "-c", standard, str(path)))
                ours.append(cost(sys.executable, "-c", _BATCH, "batch", str(path), *options))
            small = cost(sys.executable, "-c", _BATCH, "batch", str(tenth), *options)
        times = statistics.median(one.seconds / other.seconds for one, other in zip(ours, theirs, strict=True))
        growth = max(one.peak for one in ours) / small.peak
        holds = holds and times <= MOST_TIMES and growth <= MOST_GROWTH
        table.append(
            (
                form,
                f"{given.rows:,}",
                f"{statistics.median(one.seconds for one in theirs):.2f}",
                f"{statistics.median(one.seconds for one in ours):.2f}",
                f"{times:.2f} (at most {MOST_TIMES:g})",
                f"{max(one.peak for one in ours):.0f}",
                f"{growth:.2f} (at most {MOST_GROWTH:g})",
            )
        )
    headers = (
        "format",
        "rows",
        "standard library, CPU s",
        "dry run, CPU s",
        "ratio",
        "peak MiB",
        "growth from a tenth",
    )
    print(tabulate(table, headers, tablefmt="github", disable_numparse=True))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
