"""What `import refold_async` costs over `import httpx, asyncio`: medians, with the two taking turns.

Run it with `python -m benchmarks.import_time`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

PROGRAM = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
CONTENDERS = {"httpx, asyncio": "httpx, asyncio", "refold_async": "httpx, asyncio, refold_async"}


def import_seconds(modules: str) -> float:
    """Import these in a fresh interpreter, with compiled files as users have them."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(modules)], capture_output=True, text=True, check=True, env=env
    )
    return float(done.stdout)


def main() -> None:
    """Run it and print the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    arguments = parser.parse_args()
    samples: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for modules in CONTENDERS.values():
        import_seconds(modules)
    for _ in range(arguments.rounds):
        for name, modules in CONTENDERS.items():
            samples[name].append(import_seconds(modules))
    medians = {name: statistics.median(values) * 1000 for name, values in samples.items()}
    base, ours = medians["httpx, asyncio"], medians["refold_async"]
    print(
        f"import httpx, asyncio: {base:.0f} ms; refold_async adds {ours - base:.0f} ms, {(ours - base) / base:.0%} "
        f"(medians of {arguments.rounds}, interleaved)"
    )


if __name__ == "__main__":
    main()
