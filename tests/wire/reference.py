"""What h11 makes of the bytes of a response: the oracle where two parsers may be compared."""

from __future__ import annotations

import h11

from tests.wire.wire import Answer


def reference(data: bytes, method: str = "GET") -> Answer | None:
    """Parse a response after which the server closed the connection; None where h11 refuses it or wants more."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "reference.test")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    answer: h11.Response | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(b"")
            elif isinstance(event, h11.Response):
                answer = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None
    assert answer is not None
    return Answer(answer.status_code, answer.headers.raw_items(), body, answer.reason, b"HTTP/" + answer.http_version)
