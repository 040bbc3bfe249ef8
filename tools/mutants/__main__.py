"""Draw mutants, run the fast tests of their modules against each, and print the score and the survivors.

Run it with `python -m tools.mutants --count 400 --seed 1`; `--only 'policies/*.py'` looks at some modules alone. A
survivor is explained by its name in `accepted.toml`, or it counts against the score. Ends with 1 below `--bar`; Ctrl-C
ends it early, with the score so far.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field

from .modules import modules
from .mutate import Mutant, draw, mutants_of

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = Path(__file__).with_name("accepted.toml")
SLACK = 4.0
"""How many times as long as without a mutant the tests may take, before they count as hung, which kills it."""
OPTIONS = ["-x", "-q", "-p", "no:cacheprovider", "--timeout", "60", "--hypothesis-seed", "0"]
OPTIONS += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of plugins that `preload` has loaded


@define
class Run:
    """One mutant under test, or none, in a process of its own over a copy of the tree."""

    mutant: Mutant | None
    tests: tuple[str, ...]
    pid: int
    tree: Path
    began: float
    ends: float


@define
class Campaign:
    """Runs as many at a time as there are processors."""

    jobs: int
    baselines: dict[tuple[str, ...], float] = field(factory=dict)
    killed: list[Mutant] = field(factory=list)
    survived: list[Mutant] = field(factory=list)
    _running: list[Run] = field(factory=list)

    def measure(self, all_tests: set[tuple[str, ...]]) -> None:
        """Run each set of tests without a mutant: it must pass, and tells how long it takes."""
        for tests in sorted(all_tests):
            run = start(None, tests, 3600)
            status = os.waitstatus_to_exitcode(os.waitpid(run.pid, 0)[1])
            if status != 0:
                print((run.tree / "output.txt").read_text(encoding="utf-8")[-3000:])
                raise SystemExit(f"the tests fail without a mutant: {' '.join(tests)}")
            shutil.rmtree(run.tree)
            self.baselines[tests] = time.monotonic() - run.began
            print(f"  {self.baselines[tests]:6.1f} s without a mutant: {' '.join(tests)[:100]}", flush=True)

    def play(self, drawn: list[tuple[Mutant, tuple[str, ...]]]) -> None:
        """Run them all."""
        for number, (mutant, tests) in enumerate(drawn, 1):
            while len(self._running) >= self.jobs:
                self._reap()
            limit = 20 + SLACK * self.jobs * self.baselines[tests]
            self._running.append(start(mutant, tests, limit))
            if number % 20 == 0:
                print(f"  {number} of {len(drawn)}, {len(self.survived)} survive so far", flush=True)
        while self._running:
            self._reap()

    def stop(self) -> None:
        """End what runs, as on Ctrl-C; what has ended still counts."""
        while self._running:
            run = self._running.pop()
            os.killpg(run.pid, signal.SIGKILL)
            os.waitpid(run.pid, 0)
            shutil.rmtree(run.tree, ignore_errors=True)

    def _reap(self) -> None:
        """Wait until one of them has ended, or has taken too long."""
        while True:
            for run in self._running:
                pid, status = os.waitpid(run.pid, os.WNOHANG)
                hung = not pid and time.monotonic() > run.ends
                if hung:
                    os.killpg(run.pid, signal.SIGKILL)
                    os.waitpid(run.pid, 0)
                if pid or hung:
                    assert run.mutant is not None
                    noticed = hung or os.waitstatus_to_exitcode(status) != 0
                    (self.killed if noticed else self.survived).append(run.mutant)
                    if not noticed:
                        print(f"  survives: {run.mutant.name}  (line {run.mutant.line})", flush=True)
                    self._running.remove(run)
                    shutil.rmtree(run.tree, ignore_errors=True)
                    return
            time.sleep(0.05)


def start(mutant: Mutant | None, tests: tuple[str, ...], limit: float) -> Run:
    """Fork a process that runs the tests in a tree whose one file is changed; pytest is loaded already."""
    tree = Path(tempfile.mkdtemp(prefix="mutant-"))
    for entry in ROOT.iterdir():
        if entry.name == "refold_async":
            shutil.copytree(entry, tree / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif entry.name not in (".git", ".venv", ".nox"):
            (tree / entry.name).symlink_to(entry)
    if mutant is not None:
        path = tree / "refold_async" / mutant.path
        path.write_bytes(mutant.apply(path.read_bytes()))
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _run_tests(tree, tests)
    return Run(mutant, tests, pid, tree, began, began + limit)


def _run_tests(tree: Path, tests: tuple[str, ...]) -> None:
    status = 70
    try:
        os.setsid()
        os.chdir(tree)
        output = os.open(tree / "output.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.dont_write_bytecode = True
        sys.path[:] = [str(tree), *(each for each in sys.path if each not in ("", str(ROOT)))]
        import pytest

        status = int(pytest.main([*OPTIONS, f"--rootdir={tree}", *tests]))
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - this process ends here, whatever it is
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def accepted() -> dict[str, str]:
    """Return the survivors that are explained, by name, and why no test need kill them."""
    if not ACCEPTED.exists():
        return {}
    return {each["name"]: each["why"] for each in tomllib.loads(ACCEPTED.read_text(encoding="utf-8"))["mutant"]}


def report(campaign: Campaign, total: int) -> float:
    """Print the score and each survivor; return the share that was killed, without those that are explained."""
    explained = accepted()
    open_ends = [mutant for mutant in campaign.survived if mutant.name not in explained]
    counted = len(campaign.killed) + len(open_ends)
    score = 1.0 if not counted else len(campaign.killed) / counted
    print(
        f"\n{len(campaign.killed)} of {counted} drawn mutants were killed ({score:.1%}), of {total} that there are; "
        f"{len(campaign.survived) - len(open_ends)} more survive and are explained in {ACCEPTED.relative_to(ROOT)}"
    )
    for mutant in sorted(open_ends):
        print(f"  survives: {mutant.name}  (line {mutant.line})")
    return score


def _candidates(only: str) -> Iterator[tuple[Mutant, tuple[str, ...]]]:
    for path, tests in modules(ROOT, only).items():
        for mutant in mutants_of(ROOT / path, path.relative_to("refold_async").as_posix()):
            yield mutant, tests


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="*", help="a pattern of paths below refold_async/")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--bar", type=float, default=0.95)
    options = parser.parse_args()
    preload()
    tests_of = dict(_candidates(options.only))
    drawn = [(mutant, tests_of[mutant]) for mutant in draw(sorted(tests_of), options.count, options.seed)]
    print(f"{len(drawn)} of {len(tests_of)} mutants, drawn with seed {options.seed}", flush=True)
    campaign = Campaign(options.jobs)
    campaign.measure({tests for _, tests in drawn})
    try:
        campaign.play(drawn)
    except KeyboardInterrupt:
        campaign.stop()
        print("\nstopped: what follows is of those that have run")
    if report(campaign, len(tests_of)) < options.bar:
        raise SystemExit(1)


def preload() -> None:
    """Load what every run needs, but nothing that loads refold_async."""
    for name in ("pytest", "hypothesis", "httpx", "anyio", "trio", "uvloop", "trustme", "httptools"):
        __import__(name)
    loaded = [name for name in sys.modules if name.split(".")[0] == "refold_async"]
    assert not loaded, loaded


if __name__ == "__main__":
    main()
