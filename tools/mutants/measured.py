"""Which tests execute a line, measured: the fast tests run once, and what they execute is kept in `.mutants/`.

A file of tests is measured again when it changes; all of them when refold_async or what tests share changes. Asked are
the tests of `ROOMS`. Tests that take longer than `SLOWEST` are left out, and those that fail in a copy of the tree,
which are printed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from .mutate import Mutant
from .tree import OPTIONS, ROOT, copy

CACHE: Final = ROOT / ".mutants" / "map.json"
BUDGET: Final = 30.0
"""Seconds of tests, as measured, that one mutant is worth."""
FIRST: Final = 2.0
"""Seconds of tests that run first: most mutants go no further, and need few files of tests loaded."""
SLOWEST: Final = 5.0
ROOMS: Final = (
    "tests/unit/policies/*", "tests/unit/limiters/*", "tests/unit/core/*", "tests/unit/wire/*", "tests/unit/api/*",
    "tests/client/*", "tests/batch/*", "tests/wire/*", "tests/resources/*", "tests/cli/batch/test_journal*",
    "tests/contract/test_compatibility.py",
)  # fmt: skip
"""The tests that are asked: those that hold the modules that decide, and start few programs."""


@define
class Map:
    """The fast tests, with what they execute and how long they take."""

    seconds: dict[str, float] = field(factory=dict)
    size: dict[str, int] = field(factory=dict)
    """How many lines a test executes: the fewer, the more specific it is."""
    lines: dict[str, dict[int, list[str]]] = field(factory=dict)
    """By path below refold_async/ and line, the tests that execute it."""

    def tests_of(self, mutant: Mutant) -> list[list[str]]:
        """Return the tests to run against a mutant: the likeliest first, then as many as `BUDGET` allows."""
        room = {part.strip("_") for part in Path(mutant.path).parts[:-1]}

        def cost(test: str) -> float:
            """Expect a test to find most, for its time, where it executes little else and is of the same room."""
            near = 1 if room & set(Path(test.partition("::")[0]).parts) else 4
            return near * self.size[test] * (0.02 + self.seconds[test])

        ranked = sorted((cost(test), test) for test in self._executing(mutant))
        # The tenth case of one test tells less than the first case of another.
        cases: Counter[str] = Counter()
        weighed = []
        for price, test in ranked:
            cases[function := test.partition("[")[0]] += 1
            weighed.append((price * cases[function], test))
        stages: list[list[str]] = [[], []]
        spent = 0.0
        for _, test in sorted(weighed):
            spent += self.seconds[test]
            if spent > BUDGET:
                break
            stages[spent > FIRST].append(test)
        return [stage for stage in stages if stage]

    def _executing(self, mutant: Mutant) -> set[str]:
        """Return the tests that execute the line, or else the least around it that any test executes.

        That is the statement, the function, the class or the module: a constant of a module runs at import only.
        """
        lines = self.lines.get(mutant.path, {})
        tests = set(lines.get(mutant.line, ()))
        for first, last in self._around(mutant):
            if tests:
                break
            tests = {test for line in range(first, last + 1) for test in lines.get(line, ())}
        return tests

    def _around(self, mutant: Mutant) -> list[tuple[int, int]]:
        source = (ROOT / "refold_async" / mutant.path).read_bytes()
        spans = [
            (node.lineno, node.end_lineno or node.lineno)
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.stmt) and node.lineno <= mutant.line <= (node.end_lineno or node.lineno)
        ]
        return [*sorted(spans, key=lambda span: span[1] - span[0]), (1, source.count(b"\n"))]

    def without(self, tests: set[str]) -> Map:
        """Return it without some tests."""
        seconds = {test: taken for test, taken in self.seconds.items() if test not in tests}
        lines = {
            path: {line: [test for test in found if test not in tests] for line, found in lines.items()}
            for path, lines in self.lines.items()
        }
        return Map(seconds, self.size, lines)


def load(jobs: int) -> Map:
    """Return the map, after measuring what has changed since the last time."""
    shared = hashlib.sha256()
    files: dict[str, str] = {}
    for path in sorted([*(ROOT / "refold_async").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if path.name.startswith("test_"):
            if any(Path(name).match(pattern) for pattern in ROOMS):
                files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif not name.startswith(("tests/campaigns/", "tests/typing/", "tests/docs/", "tests/benchmarks/")):
            shared.update(name.encode() + b"\0" + path.read_bytes())
    kept: dict[str, Any] = {"shared": None, "files": {}}
    if CACHE.exists():
        kept = json.loads(CACHE.read_text(encoding="utf-8"))
    known = kept["files"] if kept["shared"] == shared.hexdigest() else {}
    stale = [name for name, digest in files.items() if known.get(name, {}).get("digest") != digest]
    if stale:
        print(f"measuring which lines the tests of {len(stale)} files execute", flush=True)
        measured = _measure(stale, jobs)
        known |= {name: {"digest": files[name], "tests": measured.get(name, {})} for name in stale}
        CACHE.parent.mkdir(exist_ok=True)
        CACHE.write_text(json.dumps({"shared": shared.hexdigest(), "files": known}), encoding="utf-8")
    return _map({test: found for name in files for test, found in known[name]["tests"].items()})


def _measure(files: list[str], jobs: int) -> dict[str, dict[str, Any]]:
    """Run these files of tests in a copy of the tree; return what each test that passes executes, by file."""
    tree = copy()
    record = Path(tempfile.mkdtemp(prefix="mutants-record-"))
    options = [*OPTIONS, "-p", "tools.mutants.recorder", "-n", str(jobs), "--dist", "worksteal", "--tb", "short"]
    environ = os.environ | {"MUTANTS_RECORD": str(record), "PYTHONPATH": str(tree)}
    with (record / "output.txt").open("w") as output:
        command = [sys.executable, "-m", "pytest", *options, f"--rootdir={tree}", *files]
        subprocess.run(command, cwd=tree, env=environ, stdout=output, check=False)
    tests: dict[str, dict[str, Any]] = defaultdict(dict)
    for each in record.glob("*.json"):
        found = json.loads(each.read_text(encoding="utf-8"))
        for test, measured in found["tests"].items():
            if found["outcomes"][test] == "passed":
                tests[test.partition("::")[0]][test] = measured
            elif found["outcomes"][test] == "failed":
                print(f"  left out, as it fails without a mutant: {test}", flush=True)
    if not tests:
        raise SystemExit((record / "output.txt").read_text(encoding="utf-8")[-3000:])
    shutil.rmtree(tree, ignore_errors=True)
    shutil.rmtree(record, ignore_errors=True)
    return tests


def _map(tests: dict[str, dict[str, Any]]) -> Map:
    made = Map()
    for test, found in tests.items():
        if found["seconds"] > SLOWEST:
            continue
        made.seconds[test] = found["seconds"]
        for path, mask in found["lines"].items():
            lines = [line for line, bit in enumerate(reversed(f"{int(mask, 16):b}")) if bit == "1"]
            made.size[test] = made.size.get(test, 0) + len(lines)
            for line in lines:
                made.lines.setdefault(path, {}).setdefault(line, []).append(test)
    return made
