"""A certificate authority for the occasion."""

from __future__ import annotations

import ssl
from typing import Self

from attrs import frozen


@frozen(repr=False)
class TLSFiles:
    """What a server and its clients need to trust each other."""

    ca_pem: bytes
    server_context: ssl.SSLContext

    @classmethod
    def make(cls) -> Self:
        """Make an authority, and a certificate for the loopback addresses."""
        try:
            import trustme
        except ImportError as error:
            raise RuntimeError(
                "MockRefold(tls=True) makes certificates with trustme: install refold-async[testing]"
            ) from error
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost", "::1").configure_cert(context)
        return cls(authority.cert_pem.bytes(), context)
