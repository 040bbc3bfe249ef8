"""The matrix: each Python, the oldest and the newest dependencies, eager tasks, asyncio's debug mode.

`nox` runs the tests on each Python, on the PATH or under pyenv; a missing one is an error, and `nox -s tests-3.11`
runs them on that one alone. `nox -s lowest` takes the oldest versions that pyproject.toml allows.
What follows `--` goes to pytest: `nox -s lowest -- tests/wire`. `nox -s outbox` runs what the outbox does in the
transactions of other libraries, with the oldest and the newest of these.
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

JOINED = {"aiosqlite", "asyncpg", "psycopg", "psycopg-pool", "sqlalchemy"}
"""Libraries whose transactions the outbox joins. It needs none, so the group `test` says how old they may be."""

OUTBOX_TESTS = [
    "tests/contract/test_outbox_command.py",
    "tests/contract/test_outbox_examples.py",
    "tests/contract/test_outbox_on_postgres.py",
    "tests/contract/test_outbox_on_procrastinate.py",
    "tests/contract/test_put_many_killed.py",
    "tests/unit/outbox/test_join.py",
]

OLD = ("-W", "ignore::DeprecationWarning")
"""An old library warns of what its own dependencies, which are new, no longer like."""

SAME = """
import sys
from importlib.metadata import version

for wanted in sys.argv[1:]:
    name, _, bound = wanted.partition("==")
    found = version(name)
    print(f"{name} {found}")
    pad = lambda text: (text.split(".") + ["0"] * 4)[:4]
    if bound and pad(found) != pad(bound):
        sys.exit(f"{name} should be {bound}")
"""
"""Prints versions, and fails where one is not the bound."""


def run_tests(session: nox.Session, *options: str, **env: str) -> None:
    """Run pytest in parallel, with these options and variables."""
    session.run("python", "-m", "pytest", "-n", "auto", "--dist", "worksteal", *options, *session.posargs, env=env)


def install(session: nox.Session, *options: str, group: str = "test") -> None:
    """Install the package, what its extras need, and what the tests need; the group `dev` skips none of them."""
    session.install(*options, "-e", EXTRAS, *nox.project.dependency_groups(PROJECT, group))


def lower_bounds() -> list[str]:
    """Return the oldest version that pyproject.toml allows of each dependency, as constraints."""
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    bounds = {}
    for requirement in [*wanted, *nox.project.dependency_groups(PROJECT, "test")]:
        found = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=([0-9.]+)[^;]*(;.*)?$", requirement)
        if found is not None and (requirement in wanted or found[1] in JOINED):
            bounds[found[1]] = f"{found[1]}=={found[2]}{found[3] or ''}"
    return list(bounds.values())


def install_lowest(session: nox.Session) -> None:
    """Install everything with the oldest dependencies that are allowed, and see that it is they."""
    constraints = session.create_tmp() + "/lowest.txt"
    with open(constraints, "w", encoding="utf-8") as file:  # noqa: PTH123 - a path that nox made
        file.write("\n".join(lower_bounds()) + "\n")
    install(session, "--constraint", constraints)
    session.run("python", "-c", SAME, *(bound for bound in lower_bounds() if ";" not in bound))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests on each Python."""
    install(session, group="dev")
    run_tests(session)


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that are allowed."""
    install_lowest(session)
    run_tests(session, *OLD)


@nox.session(python=OLDEST)
@nox.parametrize("versions", ["lowest", "newest"])
def outbox(session: nox.Session, versions: str) -> None:
    """Run what the outbox does with procrastinate, psycopg, asyncpg, aiosqlite, SQLAlchemy and Django."""
    recipes = nox.project.dependency_groups(PROJECT, "recipes")
    apps = [each for each in recipes if each.startswith(("django", "fastapi", "uvicorn"))]
    session.install(*(each.replace(">=", "==") if versions == "lowest" else each for each in apps))
    if versions == "lowest":
        install_lowest(session)
    else:
        install(session, "--upgrade")
        session.run("python", "-c", SAME, "procrastinate", *sorted(JOINED))
    options = OLD if versions == "lowest" else ()
    session.run("python", "-m", "pytest", *options, *(session.posargs or OUTBOX_TESTS), env={"CI": "true"})


@nox.session(python=NEWEST)
def newest(session: nox.Session) -> None:
    """Run the tests with the newest dependencies that there are."""
    install(session, "--upgrade", group="dev")
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
