"""Where Refold is: the base URL, checked, and the paths below it."""

from __future__ import annotations

import ipaddress
import os

import httpx

from .._logging import logger
from .._types.errors import ConfigurationError
from .constants import DEFAULT_BASE_URL

_warned: set[str] = set()


class Address:
    """A base URL. Paths are joined to it; its own path prefix is kept.

    :ivar url: the base URL, without a trailing slash in its path.
    :ivar is_loopback: whether it is this machine.
    :ivar host: the host, with the port where that is not the usual one, as the `Host` header has it.
    """

    __slots__ = ("_prefix", "host", "is_loopback", "is_tls", "name", "port", "url")

    def __init__(self, url: httpx.URL) -> None:
        self._prefix = url.raw_path.rstrip(b"/")
        self.url = url.copy_with(raw_path=self._prefix or b"/")
        self.host = url.netloc.decode("ascii")
        self.is_tls = url.scheme == "https"
        self.name = url.raw_host.decode("ascii")
        self.is_loopback = _is_loopback(self.name)
        self.port = url.port if url.port is not None else (443 if self.is_tls else 80)

    def target(self, path: str) -> bytes:
        """Return the request target of a path, which begins with a slash."""
        return self._prefix + path.encode("ascii")

    def join(self, target: bytes) -> httpx.URL:
        """Return the whole URL of a request target."""
        return self.url.copy_with(raw_path=target)


def find_address(base_url: str | httpx.URL | None) -> Address:
    """Return the address that was given, else that of the environment, else Refold's own.

    :raises ConfigurationError: for what is not an absolute http or https URL, or hides a credential.
    """
    stored = os.environ.get("REFOLD_BASE_URL") or None
    name = "base_url" if base_url is not None or stored is None else "REFOLD_BASE_URL"
    given = base_url if base_url is not None else (stored or DEFAULT_BASE_URL)
    try:
        url = httpx.URL(given)
        port = url.port
    except (TypeError, ValueError, httpx.InvalidURL):
        raise ConfigurationError(f"{name} is not a URL: it should look like https://app.refold.ai") from None
    if url.scheme not in ("http", "https") or not url.host or "%" in url.host:  # httpx quotes what no host can hold
        raise ConfigurationError(f"{name} must begin with http:// or https:// and name a host")
    if url.userinfo:
        raise ConfigurationError(f"{name} must not hold a user name or password: they would end in logs")
    if b"?" in url.raw_path or url.fragment or str(given).endswith("#"):
        raise ConfigurationError(f"{name} must not have a query or a fragment: only a host and, if need be, a path")
    written = _written_port(str(given))
    if (port is not None and not 0 < port < 65536) or (written is not None and not 0 < written < 65536):
        raise ConfigurationError(f"{name} names a port that does not exist: ports are 1 to 65535")
    if any(len(label) > 63 for label in url.raw_host.split(b".")) or b".." in url.raw_host:
        raise ConfigurationError(f"{name} names a host that cannot exist: {url.host!r}")
    address = Address(url)
    if not address.is_tls and not address.is_loopback and address.host not in _warned:
        _warned.add(address.host)
        logger.warning("%s is http://, so the credential and all events go to %s unencrypted", name, address.host)
    return address


def _written_port(url: str) -> int | None:
    """Return the port as it is written: httpx leaves out the usual one, and reads some others modulo 65536."""
    authority = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    host, colon, port = authority.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return None
    return int(port) if port.isdecimal() else (None if not port else -1)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
