"""The matrix: each Python, the oldest and the newest dependencies, eager tasks, asyncio's debug mode.

`nox` runs the tests on each Python, on the PATH or under pyenv; a missing one is an error, and `nox -s tests-3.11`
runs them on that one alone. `nox -s lowest` takes the oldest versions that pyproject.toml allows.
What follows `--` goes to pytest: `nox -s lowest -- tests/wire`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|venv"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["tests"]

# pyenv puts only the chosen version on the PATH. Those of its versions come last.
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, sorted(PYENV.glob("3.1?.*/bin")))])

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]
OLDEST, NEWEST = PYTHONS[0], PYTHONS[-1]
EXTRAS = ".[cli,testing]"


def run_tests(session: nox.Session, **env: str) -> None:
    """Run pytest in parallel, with these variables."""
    session.run("python", "-m", "pytest", "-n", "auto", "--dist", "worksteal", *session.posargs, env=env)


def install(session: nox.Session, *options: str) -> None:
    """Install the package, what its extras need, and what the tests need."""
    session.install(*options, "-e", EXTRAS, *nox.project.dependency_groups(PROJECT, "test"))


def lower_bounds() -> list[str]:
    """Return the oldest version that pyproject.toml allows of each dependency, as constraints."""
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    bounds = []
    for requirement in wanted:
        found = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=([0-9.]+)[^;]*(;.*)?$", requirement)
        if found is not None:
            bounds.append(f"{found[1]}=={found[2]}{found[3] or ''}")
    return bounds


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests on each Python."""
    install(session)
    run_tests(session)


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that are allowed."""
    constraints = session.create_tmp() + "/lowest.txt"
    with open(constraints, "w", encoding="utf-8") as file:  # noqa: PTH123 - a path that nox made
        file.write("\n".join(lower_bounds()) + "\n")
    install(session, "--constraint", constraints)
    run_tests(session)


@nox.session(python=NEWEST)
def newest(session: nox.Session) -> None:
    """Run the tests with the newest dependencies that there are."""
    install(session, "--upgrade")
    run_tests(session)


@nox.session(python=NEWEST)
def eager(session: nox.Session) -> None:
    """Run the tests where each task starts at once (`asyncio.eager_task_factory`)."""
    install(session)
    run_tests(session, REFOLD_TESTS_EAGER="1")


@nox.session(python=NEWEST)
def debug(session: nox.Session) -> None:
    """Run the tests in asyncio's debug mode."""
    install(session)
    run_tests(session, PYTHONASYNCIODEBUG="1")
