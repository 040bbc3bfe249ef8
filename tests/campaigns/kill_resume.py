"""A batch killed with SIGKILL at random moments, resumed each time, and held against the ledger of what really fired.

Run it with `python -m tests.campaigns.kill_resume --kills 20 --seed 1`; it prints what it counted and fails loudly.
The journal is read here by a reader of its own, so that the one under test does not vouch for itself.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import define, field

from refold_async.testing import Dedupe, Fault, MockRefold, SeededFaults

PROGRAM = [sys.executable, "-c", "from refold_async.cli import main; main()"]
LATENCY = 0.04
CONCURRENCY = 20
ROWS_PER_KILL = 150
ROWS_PER_ORDERING_KEY = 5
HEADER = "Idempotency-Key"
FAULTS: dict[Fault, float] = dict.fromkeys(
    [
        Fault.close_before_firing(),
        Fault.reset_after_firing(),
        Fault.html_502(),
        Fault.answer(500, fires=True, name="status_500_after_firing"),
        Fault.answer(503, headers={"Retry-After": "0.02"}, name="status_503_asking_to_wait"),
        Fault.answer(404),
        Fault.throttle("0.02"),
        Fault.close_idle(),
    ],
    0.005,
)


@define
class Seen:
    """What the journal says of one row.

    :ivar sent: how many times it was about to be sent.
    :ivar open: whether the last of them has no end.
    :ivar doubtful: whether one may have fired, as far as its own end tells.
    :ivar ends: the verdicts it was given.
    """

    sent: int = 0
    open: bool = False
    doubtful: bool = False
    ends: list[str] = field(factory=list)

    @property
    def verdict(self) -> str:
        if "accepted" in self.ends:
            return "accepted"
        if self.open or self.doubtful or "ambiguous" in self.ends:
            return "ambiguous"
        return self.ends[-1] if self.ends else "not_sent"


@define
class Killer:
    """The batch, the server it sends to, and what becomes of them.

    :ivar on_wire: how many rows were newly left on the wire by each kill, as the journal has it.
    :ivar torn: how many kills left half a line.
    """

    folder: Path
    server: MockRefold
    chance: random.Random
    rows: int
    declared: bool
    keyed: bool = False
    problems: list[str] = field(factory=list)
    on_wire: list[int] = field(factory=list)
    torn: int = 0
    _open_before: set[int] = field(factory=set)

    @property
    def journal(self) -> Path:
        return self.folder / "run.jsonl"

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Start the batch, or go on with it."""
        command = [*PROGRAM, "batch", str(self.folder / "rows.jsonl"), "--journal", str(self.journal), "--resume"]
        command += ["--no-rate-limit", "--max-concurrency", str(CONCURRENCY), "--timeout", "2", "--json", *more]
        if self.keyed:  # whether a failed row stops its key or not, what fires is in order
            command += ["--on-key-failure", self.chance.choice(["stop", "continue"])]
        if self.declared:
            command += ["--idempotency-header", HEADER, "--idempotency-window", "300"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
        env |= {"REFOLD_API_KEY": self.server.api_key, "REFOLD_BASE_URL": self.server.url}
        env["REFOLD_LINKED_ACCOUNT_ID"] = "acct_1"
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)

    def kill_once(self) -> bool:
        """Let it run until some requests have arrived, and a little longer; give whether it was still running."""
        target = self.server.ledger.requests + self.chance.randint(1, ROWS_PER_KILL)
        with self.start() as running:
            deadline = time.monotonic() + 30
            while self.server.ledger.requests < target and running.poll() is None and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(self.chance.random() * LATENCY)
            alive = running.poll() is None
            running.kill()
            running.communicate(timeout=150)
        time.sleep(2 * LATENCY)  # what had arrived is dealt with, so that the ledger stands still
        if alive:
            left_open = {line for line, seen in self.read_journal().items() if seen.open}
            self.on_wire.append(len(left_open - self._open_before))
            self._open_before = left_open
            self.torn += not self.journal.read_bytes().endswith(b"\n")
        return alive

    def finish(self, *more: str) -> dict[str, Any]:
        """Go on to the end, and give the summary."""
        with self.start(*more) as running:
            printed, said = running.communicate(timeout=300)
        if running.returncode not in (0, 1, 3):
            self.problems.append(f"the last run ended with {running.returncode}: {said}")
            return {}
        summary: dict[str, Any] = json.loads(printed)
        return summary

    def read_journal(self) -> dict[int, Seen]:
        """Read what the journal says; a last line that is torn says nothing."""
        found: dict[int, Seen] = {}
        for line in self.journal.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            entry = json.loads(line)
            if "line" not in entry:
                continue
            seen = found.setdefault(entry["line"], Seen())
            if entry["what"] == "sending":
                seen.doubtful |= seen.open
                seen.sent += 1
                seen.open = True
            else:
                seen.open = False
                seen.doubtful |= entry["delivery"] == "ambiguous"
                if entry["what"] == "ended":
                    seen.ends.append(entry["delivery"])
        return found

    def check_resent(self) -> None:
        """Ask for what is ambiguous to be sent again: those rows may now have fired twice, and no others."""
        doubtful = {line for line, seen in self.read_journal().items() if seen.verdict == "ambiguous"}
        before = self.server.ledger.count_fired_by("line")
        self.finish("--resend-ambiguous")
        for line, count in self.server.ledger.count_fired_by("line").items():
            if count - before[line] > (line in doubtful):
                self.problems.append(f"line {line} was sent again, and was not ambiguous")
        after = self.read_journal()
        never = [n for n in doubtful if after[n].verdict == "accepted" and not self.server.ledger.fired_count(line=n)]
        if never:
            self.problems.append(f"lines {never} were accepted when sent again, and never fired")

    def check_order(self) -> None:
        """Send all the rest, and hold the order in which the rows of each key fired against the input."""
        for _ in range(2):
            self.finish("--resend-ambiguous", "--resend-rejected")
        fired: dict[str, list[int]] = {}
        for entry in self.server.ledger.fired:
            fired.setdefault(entry.payload["key"], []).append(entry.payload["line"])
        out_of_order = [f"{key}: {lines}" for key, lines in fired.items() if lines != sorted(lines)]
        self.problems += [f"rows of an ordering key fired out of order: {lines}" for lines in out_of_order]
        if max(map(len, fired.values())) < ROWS_PER_ORDERING_KEY:
            self.problems.append("no ordering key had all its rows fired: this has shown little")

    def check(self, summary: dict[str, Any]) -> Counter[str]:
        """Hold the journal and the listing against the ledger; give how many rows ended how."""
        fired = self.server.ledger.count_fired_by("line")
        journal = self.read_journal()
        listed = {line: kind for kind, lines in summary.get("lines", {}).items() for line in lines}
        verdicts: Counter[str] = Counter()
        for line in range(1, self.rows + 1):
            seen = journal.get(line, Seen())
            verdict = seen.verdict
            verdicts[verdict] += 1
            allowed = {"accepted": (1,), "ambiguous": (0, 1)}.get(verdict, (0,))
            if fired[line] not in allowed:
                self.problems.append(f"line {line} fired {fired[line]} times, and the journal says {verdict}")
            if listed.get(line, "accepted") != verdict:
                self.problems.append(f"line {line} is listed as {listed.get(line)}, and the journal says {verdict}")
        for kind in ("accepted", "rejected", "not_sent", "ambiguous"):
            if summary.get(kind) != verdicts[kind]:
                self.problems.append(f"{summary.get(kind)} are said to be {kind}, and the journal has {verdicts[kind]}")
        unknown = set(fired) - set(range(1, self.rows + 1))
        if unknown:
            self.problems.append(f"lines fired that were never in the input: {sorted(unknown)[:5]}")
        return verdicts


def row(line: int, rows: int, *, keyed: bool) -> dict[str, Any]:
    """Return one row of the input; those of an ordering key are far from each other."""
    fields: dict[str, Any] = {"slug": "slack", "event": "E", "payload": {"line": line}}
    if keyed:
        key = f"k{line % (rows // ROWS_PER_ORDERING_KEY)}"
        fields["payload"]["key"] = fields["ordering_key"] = key
    return fields


def kill_and_resume(kills: int, seed: int, *, declared: bool, folder: Path, keyed: bool = False) -> list[str]:
    """Run it; return what did not hold, as sentences.

    :param declared: whether the workflows drop repeats, and the batch is told so.
    :param keyed: whether the rows have ordering keys.
    """
    rows = kills * ROWS_PER_KILL
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps(row(line, rows, keyed=keyed)) + "\n" for line in range(1, rows + 1))
    dedupe = Dedupe(header=HEADER, window=300) if declared else None
    faults = SeededFaults(seed, FAULTS)
    with MockRefold(rate_limit=None, dedupe=dedupe, faults=faults, latency=LATENCY) as server:
        killer = Killer(folder, server, random.Random(seed), rows, declared, keyed)
        killed = sum(killer.kill_once() for _ in range(kills))
        summary = killer.finish()
        verdicts = killer.check(summary)
        entries = server.ledger.entries
        if keyed:
            killer.check_order()
        elif not declared:
            killer.check_resent()
    if killed < kills:
        killer.problems.append(f"{kills - killed} of {kills} runs had ended before they could be killed")
    if not any(killer.on_wire):
        killer.problems.append("nothing was ever on the wire at a kill: this has shown nothing")
    dropped = sum(entry.duplicate for entry in entries)
    words = f"{'with' if declared else 'without'} a declared window{', with ordering keys' if keyed else ''}"
    print(f"{words}: {rows} rows, {killed} kills")
    print(f"  on the wire at the kills: {killer.on_wire}; torn last lines: {killer.torn}")
    print("  " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())))
    print(
        f"  {len(entries)} requests, {sum(entry.fired for entry in entries)} fired, "
        f"{dropped} repeats dropped, {sum(entry.fault is not None for entry in entries)} met a fault"
    )
    return killer.problems


def main() -> None:
    """Read the arguments, run, and exit with 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    problems = []
    started = time.monotonic()
    for declared, keyed in ((False, False), (True, False), (False, True), (True, True)):
        with tempfile.TemporaryDirectory() as folder:
            problems += kill_and_resume(
                arguments.kills, arguments.seed, declared=declared, keyed=keyed, folder=Path(folder)
            )
    print(f"seed {arguments.seed}, {time.monotonic() - started:.1f} s")
    if problems:
        sys.exit("\n".join(problems[:20]))
    print("every row fired once, or is listed as one that may have; none fired twice, and none was lost")
    print("the rows of each ordering key fired in the order of the input")


if __name__ == "__main__":
    main()
