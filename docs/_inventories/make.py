"""Write the inventories in this folder, which let the docs link to other projects' docs without a network.

    python docs/_inventories/make.py PYTHON_OBJECTS_INV ANYIO_OBJECTS_INV

PYTHON_OBJECTS_INV comes with Debian's package `python3.11-doc`; ANYIO_OBJECTS_INV is made by running Sphinx over the
`docs` folder of anyio's sdist. httpx has no inventory, because Sphinx does not build its docs: it is made from a list.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

HERE = Path(__file__).parent

HTTPX = {
    "AsyncBaseTransport": ("class", "advanced/transports/#custom-transports"),
    "AsyncClient": ("class", "api/#asyncclient"),
    "AsyncHTTPTransport": ("class", "advanced/transports/#http-transport"),
    "Client": ("class", "api/#client"),
    "HTTPError": ("exception", "exceptions/#the-exception-hierarchy"),
    "Headers": ("class", "api/#headers"),
    "Limits": ("class", "advanced/resource-limits/"),
    "MockTransport": ("class", "advanced/transports/#mock-transports"),
    "PoolTimeout": ("exception", "exceptions/#the-exception-hierarchy"),
    "Proxy": ("class", "advanced/proxies/#http-proxies"),
    "RemoteProtocolError": ("exception", "exceptions/#the-exception-hierarchy"),
    "Request": ("class", "api/#request"),
    "Response": ("class", "api/#response"),
    "Timeout": ("class", "advanced/timeouts/"),
    "TransportError": ("exception", "exceptions/#the-exception-hierarchy"),
    "URL": ("class", "api/#url"),
}


def lines_of(path: str) -> tuple[str, list[str]]:
    """Return an inventory's version and its lines about Python names."""
    head, _, rest = Path(path).read_bytes().partition(b"zlib.\n")
    version = head.decode().splitlines()[2].removeprefix("# Version: ")
    return version, [line for line in zlib.decompress(rest).decode().splitlines() if " py:" in line]


def write(project: str, version: str, lines: list[str]) -> None:
    head = (
        f"# Sphinx inventory version 2\n# Project: {project}\n# Version: {version}\n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    body = zlib.compress("".join(f"{line}\n" for line in lines).encode(), 9)
    (HERE / f"{project}.inv").write_bytes(head.encode() + body)


if __name__ == "__main__":
    for project, path in zip(("python", "anyio"), sys.argv[1:], strict=True):
        write(project, *lines_of(path))
    write("httpx", "0.28", [f"httpx.{name} py:{kind} 1 {page} -" for name, (kind, page) in HTTPX.items()])
