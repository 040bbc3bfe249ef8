"""Try what was built as a stranger would: the wheel alone fires a trigger, and the sdist's own tests pass.

    python -m tools.try_dist dist [PYTEST ARGUMENT...]

Each gets an empty venv and an empty folder.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FIRE = """
import asyncio
from refold_async.testing import MockRefold

async def main():
    with MockRefold() as server:
        async with server.client() as client:
            print((await client.trigger("pipedrive", "Deal Created", {"deal": 1})).message)
        assert server.ledger.fired_count(deal=1) == 1

asyncio.run(main())
"""


def run(*command: str | Path, cwd: Path) -> None:
    shown = [str(part) for part in command]
    sys.stderr.write(f"$ {' '.join(shown)}\n")
    if code := subprocess.run(shown, cwd=cwd, check=False).returncode:
        sys.exit(code)


def venv(folder: Path) -> Path:
    """Make an empty venv with a pip that knows dependency groups, and return its Python."""
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "pip>=25.1", cwd=folder)
    return python


def install(python: Path, *what: str, cwd: Path) -> None:
    run(python, "-m", "pip", "install", "--quiet", *what, cwd=cwd)


def try_wheel(wheel: Path, folder: Path) -> None:
    """Fire a trigger with nothing but the wheel and what it requires."""
    python = venv(folder / "wheel-venv")
    install(python, str(wheel), cwd=folder)
    run(python, "-c", FIRE, cwd=folder)


def try_sdist(sdist: Path, folder: Path, arguments: list[str]) -> None:
    """Unpack the sdist and run its tests."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    python = venv(folder / "sdist-venv")
    install(python, "-e", ".[cli,testing]", "--group", "dev", cwd=source)
    parallel = ["-n", "auto", "--dist", "worksteal"]
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *parallel, *arguments, cwd=source)


def main(dist: str, *arguments: str) -> None:
    """Try the one wheel and the one sdist of a folder."""
    (wheel,), (sdist,) = Path(dist).resolve().glob("*.whl"), Path(dist).resolve().glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as name:
        try_wheel(wheel, Path(name))
        try_sdist(sdist, Path(name), list(arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
