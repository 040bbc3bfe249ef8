"""Proxies, from an argument or from the environment: checked here, because httpx reads some bad ones as others."""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.request
from typing import Final

import httpx

from .._types.errors import ConfigurationError

_SCHEMES: Final = ("http", "https", "socks5", "socks5h")
_HOST_AND_PORT = re.compile(r"(?:[^/@]*@)?(?P<host>\[[^\[\]/]*\]|[^\[\]/:@]+)(?::(?P<port>[0-9]*))?(?:/.*)?")


def check_proxy(value: object) -> None:
    """Check what was given as `proxy=`.

    :raises ConfigurationError: for what is no URL of a proxy. The value is not repeated: it may hold a password.
    """
    if not isinstance(value, str | httpx.URL | httpx.Proxy):
        raise ConfigurationError(
            f"proxy= must be a URL such as http://host:8080, an httpx.Proxy, or None, not {type(value).__name__}"
        )
    url = value.url if isinstance(value, httpx.Proxy) else value
    problem = _problem_of(url if isinstance(url, str) else _written(url))
    if problem is not None:
        raise ConfigurationError(f"proxy= {problem}: it should look like http://host:8080")


def check_environment() -> None:
    """Check the proxies of the environment, and the hosts that they are not for.

    :raises ConfigurationError: naming the variable. The value is not repeated: it may hold a password.
    """
    found = urllib.request.getproxies()
    for scheme in ("http", "https", "all"):
        value = found.get(scheme)
        if value:
            problem = _problem_of(value if "://" in value else f"http://{value}")
            if problem is not None:
                raise ConfigurationError(f"{_name(scheme)} {problem}: it should look like http://host:8080")
    for entry in found.get("no", "").split(","):
        host = entry.strip().rpartition("://")[2]
        if ("[" in host or "]" in host) and not _is_bracketed_address(host):
            raise ConfigurationError(f"{_name('no')} holds {entry.strip()!r}, which is not a host: correct or unset it")


def _name(scheme: str) -> str:
    """Return the variable that holds a proxy, as it is spelled where it is set."""
    lower = f"{scheme}_proxy"
    if os.environ.get(lower.upper()) and not os.environ.get(lower):
        return lower.upper()
    return lower if os.environ.get(lower) else f"{lower.upper()} (or the system's setting)"


def _written(url: httpx.URL) -> str:
    """Return a URL without its user name and password."""
    return str(url.copy_with(username="", password=""))


def _problem_of(url: str) -> str | None:
    """Return why this is no URL of a proxy; None if it is one."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        return f"is not a URL that begins with {', '.join(f'{each}://' for each in _SCHEMES[:-1])} or socks5h://"
    if any(ord(character) < 32 or ord(character) == 127 for character in url):
        return "holds a control character"
    match = _HOST_AND_PORT.fullmatch(rest)
    if match is None:
        return "does not name a host and a port"
    host, port = match["host"], match["port"]
    if host.startswith("[") and not _is_bracketed_address(host):
        return "does not name a host"
    if port and not 0 < int(port) < 65536:
        return "names a port that does not exist"
    try:
        parsed = httpx.URL(url)
    except (ValueError, TypeError, httpx.InvalidURL):
        return "is not a URL"
    if not parsed.host or "%" in parsed.host:
        return "does not name a host"
    if any(len(label) > 63 for label in parsed.raw_host.split(b".")) or b".." in parsed.raw_host:
        return "names a host that cannot exist"
    return None


def _is_bracketed_address(host: str) -> bool:
    text, _, rest = host.removeprefix("[").partition("]")
    if not host.startswith("[") or (rest and not rest.startswith((":", "/"))):
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
