"""Running an app of `docs/examples/` in a process of its own, as its users do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from attrs import frozen

from refold_async.testing import MockRefold

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"

UVICORN = ["uvicorn", "--fd={fd}", "--log-level=warning", "--timeout-graceful-shutdown=20"]
GUNICORN = ["gunicorn", "--bind=fd://{fd}", "--log-level=warning", "--graceful-timeout=20"]
AIOHTTP = [
    "-c",
    """
import socket
from aiohttp import web
import aiohttp_app
web.run_app(aiohttp_app.create_app(), sock=socket.socket(fileno={fd}), print=None)
""",
]


@frozen
class App:
    """A running app, and where it listens."""

    url: str
    process: subprocess.Popen[str]

    def stop(self) -> str:
        """Ask it to stop, as a supervisor does; return what it printed."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=150)
        # uvicorn shuts down in an orderly way, and then sends itself the signal again.
        assert self.process.returncode in (0, -signal.SIGTERM), output
        return output


def environment(server: MockRefold, folder: Path) -> dict[str, str]:
    """What the examples read: the mock's address and credentials, and a place for files."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "REFOLD_API_KEY": server.api_key,
        "REFOLD_BASE_URL": server.url,
        "REFOLD_LINKED_ACCOUNT_ID": server.linked_account_id,
        "INBOX": str(folder / "inbox.sqlite"),
        "DATABASE": str(folder / "site.sqlite"),
        "DJANGO_SECRET_KEY": "a secret for tests",
    }


def python(*arguments: str, env: dict[str, str], folder: Path) -> str:
    """Run Python until it ends; return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments], env=env, cwd=folder, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def running(command: Sequence[str], env: dict[str, str], folder: Path) -> Iterator[App]:
    """Run an app on a socket that listens already, so that nothing has to wait until it is up.

    :param command: arguments for Python, a module's name first; `{fd}` is the number of the socket.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        fd = listener.fileno()
        port = listener.getsockname()[1]
        arguments = [part.replace("{fd}", str(fd)) for part in command]
        if arguments[0] != "-c":
            arguments.insert(0, "-m")
        process = subprocess.Popen(
            [sys.executable, *arguments], env=env, cwd=folder, pass_fds=[fd],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    app = App(f"http://127.0.0.1:{port}", process)
    try:
        yield app
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.communicate(timeout=150)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def orders_survive_a_kill(folder: Path, between: Callable[[], object] = lambda: None, **variables: str) -> None:
    """Kill `outbox_app.py` while its events wait, run it again, and check that each was fired once.

    :param between: is called while it does not run.
    """
    command = [*UVICORN, "outbox_app:app"]
    with MockRefold(rate_limit=None) as server, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # does not listen: so no event can be on its way as the app is killed
        env = {**environment(server, folder), **variables}
        away = {**env, "REFOLD_BASE_URL": f"http://127.0.0.1:{nobody.getsockname()[1]}"}
        with running(command, away, folder) as app:
            with httpx.Client(base_url=app.url, timeout=30) as http:
                for number in range(4):
                    done = http.post("/orders", params={"item": f"item {number}"})
                    assert done.json() == {"event": f"order-{number + 1}"}
            app.process.kill()
            app.process.communicate(timeout=30)
        between()
        with running(command, env, folder) as app:
            assert server.ledger.wait_for(lambda ledger: ledger.totals.fired >= 4, timeout=60)
            with httpx.Client(base_url=app.url, timeout=30) as http:
                health = http.get("/health").json()
            app.stop()
        assert sorted(entry.payload["id"] for entry in server.ledger.fired) == [1, 2, 3, 4]
        assert health["held"] == 0
