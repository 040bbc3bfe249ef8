"""TLS contexts: the default one is loaded once a process, because reading the CA bundle takes 20 ms."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import httpx

from .._types.errors import ConfigurationError

_ALPN = ["http/1.1"]
_defaults: dict[tuple[str | None, str | None], ssl.SSLContext] = {}
"""By the environment variables that name CA certificates."""


def default_context(*, trust_env: bool = True) -> ssl.SSLContext:
    """Return the context that checks certificates against the usual authorities.

    :raises ConfigurationError: naming `SSL_CERT_FILE` or `SSL_CERT_DIR`, where what it names cannot be used.
    """
    key = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")) if trust_env else (None, None)
    context = _defaults.get(key)
    if context is None:
        try:
            if key[0]:
                Path(key[0]).stat()  # httpx 0.27 passes over a file that is not there
            context = httpx.create_ssl_context(trust_env=trust_env)
        except (OSError, ssl.SSLError) as error:
            name = "SSL_CERT_FILE" if key[0] else "SSL_CERT_DIR"
            raise ConfigurationError(
                f"{name}={key[0] or key[1]!r} does not name readable CA certificates in PEM: correct or unset it"
            ) from error
        context.set_alpn_protocols(_ALPN)
        _defaults[key] = context
    return context


def make_context(verify: ssl.SSLContext | str | bool, cert: Any, *, trust_env: bool) -> ssl.SSLContext:
    """Return the context for `verify` and `cert` as httpx takes them."""
    if verify is True and cert is None:
        return default_context(trust_env=trust_env)
    context = httpx.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)
    context.set_alpn_protocols(_ALPN)
    return context


def check_verify(value: object) -> bool | ssl.SSLContext:
    """Turn the path of a CA file into a context, once.

    :raises ConfigurationError: for a file that cannot be read, or holds no certificates.
    """
    if isinstance(value, str | os.PathLike):
        try:
            return ssl.create_default_context(cafile=value)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"verify={value!r} is not a readable file of CA certificates in PEM") from error
    if isinstance(value, bool | ssl.SSLContext):
        return value
    raise ConfigurationError(f"verify must be True, an ssl.SSLContext, or the path of a CA file, not {value!r}")
