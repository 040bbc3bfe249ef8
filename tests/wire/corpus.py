"""Responses: those that every client takes, those that must be refused, and those that only look odd."""

from __future__ import annotations

from attrs import frozen

from tests.fakes.server import BODY, OK

_200 = b"HTTP/1.1 200 OK\r\n"
_FIVE = b"Content-Length: 5\r\n\r\n" + BODY
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_IN_CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


@frozen
class Sample:
    """A well-formed response.

    :ivar reusable: whether the connection may serve another request afterwards.
    """

    wire: bytes
    method: str = "GET"
    status: int = 200
    body: bytes = BODY
    reusable: bool = True


SAMPLES = {
    "content_length": Sample(OK),
    "chunked": Sample(_200 + _CHUNKED + b"2\r\nhe\r\n3;name=value\r\nllo\r\n0\r\n\r\n"),
    "chunked_with_trailers": Sample(_200 + _CHUNKED + b"5\r\nhello\r\n0\r\nDigest: x\r\nX-More: y\r\n\r\n"),
    "until_close": Sample(_200 + b"Content-Type: text/plain\r\n\r\n" + BODY, reusable=False),
    "no_content": Sample(b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n", status=204, body=b""),
    "not_modified": Sample(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", status=304, body=b""),
    "head": Sample(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", method="HEAD", body=b""),
    "head_chunked": Sample(_200 + _CHUNKED, method="HEAD", body=b""),
    "informational_first": Sample(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK),
    "empty": Sample(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", body=b""),
    "empty_chunked": Sample(_200 + _CHUNKED + b"0\r\n\r\n", body=b""),
    "close_announced": Sample(_200 + b"Connection: close\r\n" + _FIVE, reusable=False),
    "http_1_0": Sample(b"HTTP/1.0 200 OK\r\n" + _FIVE, reusable=False),
    "http_1_0_kept": Sample(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + _FIVE),
    "http_1_0_until_close": Sample(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n" + BODY, reusable=False),
}

REFUSED = {
    # lengths
    "length_twice": _200 + b"Content-Length: 5\r\n" + _FIVE,
    "length_conflicting": _200 + b"Content-Length: 4\r\n" + _FIVE,
    "length_list": _200 + b"Content-Length: 5, 5\r\n\r\nhello",
    "length_empty": _200 + b"Content-Length: \r\n\r\nhello",
    "length_signed": _200 + b"Content-Length: +5\r\n\r\nhello",
    "length_negative": _200 + b"Content-Length: -5\r\n\r\nhello",
    "length_hexadecimal": _200 + b"Content-Length: 0x5\r\n\r\nhello",
    "length_with_space": _200 + b"Content-Length: 5 5\r\n\r\nhello",
    "length_overflow": _200 + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    # transfer codings
    "length_then_chunked": _200 + b"Content-Length: 5\r\n" + _CHUNKED + _IN_CHUNKS,
    "chunked_then_length": _200 + b"Transfer-Encoding: chunked\r\n" + _FIVE + _IN_CHUNKS,
    "chunked_twice": _200 + b"Transfer-Encoding: chunked\r\n" + _CHUNKED + _IN_CHUNKS,
    "chunked_list": _200 + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + _IN_CHUNKS,
    "chunked_after_nothing": _200 + b"Transfer-Encoding: ,chunked\r\n\r\n" + _IN_CHUNKS,
    "chunked_then_gzip": _200 + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n" + _IN_CHUNKS,
    "gzip_then_chunked": _200 + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + _IN_CHUNKS,
    "gzip": _200 + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "identity": _200 + b"Transfer-Encoding: identity\r\n\r\nhello",
    "identity_and_length": _200 + b"Transfer-Encoding: identity\r\n" + _FIVE,
    "coding_unknown": _200 + b"Transfer-Encoding: xchunked\r\n\r\n" + _IN_CHUNKS,
    "coding_empty": _200 + b"Transfer-Encoding: \r\n\r\nhello",
    "coding_with_parameter": _200 + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + _IN_CHUNKS,
    "coding_vertical_tab": _200 + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + _IN_CHUNKS,
    # chunks
    "chunk_size_no_number": _200 + _CHUNKED + b"G\r\nhello\r\n0\r\n\r\n",
    "chunk_size_negative": _200 + _CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n",
    "chunk_size_0x": _200 + _CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk_size_after_space": _200 + _CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n",
    "chunk_size_missing": _200 + _CHUNKED + b"\r\nhello\r\n0\r\n\r\n",
    "chunk_size_overflow": _200 + _CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "chunk_size_bare_lf": _200 + _CHUNKED + b"5\nhello\r\n0\r\n\r\n",
    "chunk_extension_bare_lf": _200 + _CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "chunk_too_long": _200 + _CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n",
    "chunk_without_end": _200 + _CHUNKED + b"5\r\nhello0\r\n\r\n",
    "chunk_end_bare_lf": _200 + _CHUNKED + b"5\r\nhello\n0\r\n\r\n",
    "trailer_no_header": _200 + _CHUNKED + b"5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    # versions
    "version_0_9": b"HTTP/0.9 200 OK\r\n" + _FIVE,
    "version_1_2": b"HTTP/1.2 200 OK\r\n" + _FIVE,
    "version_1_10": b"HTTP/1.10 200 OK\r\n" + _FIVE,
    "version_2": b"HTTP/2 200 OK\r\n" + _FIVE,
    "version_2_0": b"HTTP/2.0 200 OK\r\n" + _FIVE,
    "version_3_0": b"HTTP/3.0 200 OK\r\n" + _FIVE,
    "version_11_1": b"HTTP/11.1 200 OK\r\n" + _FIVE,
    "rtsp": b"RTSP/1.0 200 OK\r\n" + _FIVE,
    "rtsp_1_1": b"RTSP/1.1 200 OK\r\n" + _FIVE,
    "ice": b"ICE/1.0 200 OK\r\n" + _FIVE,
    "icy": b"ICY 200 OK\r\n" + _FIVE,
    "lower_case": b"http/1.1 200 OK\r\n" + _FIVE,
    # status lines
    "status_99": b"HTTP/1.1 99 OK\r\n" + _FIVE,
    "status_099": b"HTTP/1.1 099 OK\r\n" + _FIVE,
    "status_000": b"HTTP/1.1 000 OK\r\n" + _FIVE,
    "status_1000": b"HTTP/1.1 1000 OK\r\n" + _FIVE,
    "status_0200": b"HTTP/1.1 0200 OK\r\n" + _FIVE,
    "status_2_00": b"HTTP/1.1 2 00 OK\r\n" + _FIVE,
    "status_20": b"HTTP/1.1 20 OK\r\n" + _FIVE,
    "status_negative": b"HTTP/1.1 -200 OK\r\n" + _FIVE,
    "status_exponent": b"HTTP/1.1 2e2 OK\r\n" + _FIVE,
    "status_superscript": b"HTTP/1.1 \xb2\xb0\xb0 OK\r\n" + _FIVE,
    "status_glued": b"HTTP/1.1 200OK\r\n" + _FIVE,
    "status_missing": b"HTTP/1.1\r\n" + _FIVE,
    "status_after_tab": b"HTTP/1.1\t200 OK\r\n" + _FIVE,
    "status_after_two_spaces": b"HTTP/1.1  200 OK\r\n" + _FIVE,
    "reason_with_nul": b"HTTP/1.1 200 O\x00K\r\n" + _FIVE,
    "reason_with_control": b"HTTP/1.1 200 O\x01K\r\n" + _FIVE,
    "reason_with_escape": b"HTTP/1.1 200 \x1b[2J\r\n" + _FIVE,
    "reason_with_delete": b"HTTP/1.1 200 O\x7fK\r\n" + _FIVE,
    "reason_with_cr": b"HTTP/1.1 200 O\rK\r\n" + _FIVE,
    "reason_with_lf": b"HTTP/1.1 200 O\nK\r\n" + _FIVE,
    # headers
    "value_with_nul": _200 + b"X: a\x00b\r\n" + _FIVE,
    "value_with_control": _200 + b"X: a\x01b\r\n" + _FIVE,
    "value_with_delete": _200 + b"X: a\x7fb\r\n" + _FIVE,
    "value_with_cr": _200 + b"X: a\rb\r\n" + _FIVE,
    "value_with_lf": _200 + b"X: a\nb\r\n" + _FIVE,
    "space_before_colon": _200 + b"X : 1\r\n" + _FIVE,
    "tab_before_colon": _200 + b"X\t: 1\r\n" + _FIVE,
    "length_space_before_colon": _200 + b"Content-Length : 5\r\n\r\nhello",
    "space_before_first_name": _200 + b" X: 1\r\n" + _FIVE,
    "folded": _200 + b"X: 1\r\n 2\r\n" + _FIVE,
    "folded_by_tab": _200 + b"X: 1\r\n\t2\r\n" + _FIVE,
    "folded_length": _200 + b"Content-Length:\r\n 5\r\n\r\nhello",
    "no_colon": _200 + b"NoColon\r\n" + _FIVE,
    "name_empty": _200 + b": 1\r\n" + _FIVE,
    "name_with_space": _200 + b"X Y: 1\r\n" + _FIVE,
    "name_with_nul": _200 + b"X\x00: 1\r\n" + _FIVE,
    "name_with_parenthesis": _200 + b"X(y): 1\r\n" + _FIVE,
    "name_not_ascii": _200 + b"\xe9: 1\r\n" + _FIVE,
    # line ends
    "bare_lf": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "bare_lf_after_status": b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello",
    "bare_lf_after_header": _200 + b"Content-Length: 5\n\r\nhello",
    "bare_lf_at_end_of_head": _200 + b"Content-Length: 5\r\n\nhello",
    "bare_cr_at_end_of_head": _200 + b"Content-Length: 5\r\rhello",
    # no HTTP at all
    "nothing": b"",
    "html": b"<html>hello</html>",
    "text": b"hello\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "request": b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    "empty_line_first": b"\r\n" + OK,
    "space_first": b" HTTP/1.1 200 OK\r\n" + _FIVE,
    "zeros": bytes(64),
}
"""What must end in an error, and where the connection must never be used again."""

ODD = {
    "length_padded": Sample(_200 + b"Content-Length: \t 5 \t\r\n\r\nhello"),
    "coding_in_capitals": Sample(_200 + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + _IN_CHUNKS),
    "coding_padded": Sample(_200 + b"Transfer-Encoding: \tchunked \r\n\r\n" + _IN_CHUNKS),
    "chunk_size_leading_zeros": Sample(_200 + _CHUNKED + b"00005\r\nhello\r\n00\r\n\r\n"),
    "chunk_extension": Sample(_200 + _CHUNKED + b"5;a=b;c\r\nhello\r\n0;d\r\n\r\n"),
    "chunk_extension_quoted": Sample(_200 + _CHUNKED + b'5;a="b;c"\r\nhello\r\n0\r\n\r\n'),
    "chunk_size_capitals": Sample(_200 + _CHUNKED + b"A\r\nhellohello\r\n0\r\n\r\n", body=BODY * 2),
    "no_reason": Sample(b"HTTP/1.1 200 \r\n" + _FIVE),
    "no_reason_no_space": Sample(b"HTTP/1.1 200\r\n" + _FIVE),
    "reason_with_tab": Sample(b"HTTP/1.1 200 O\tK\r\n" + _FIVE),
    "reason_not_ascii": Sample(b"HTTP/1.1 200 \xc3\xa9\r\n" + _FIVE),
    "status_600": Sample(b"HTTP/1.1 600 Odd\r\n" + _FIVE, status=600),
    "status_999": Sample(b"HTTP/1.1 999 Odd\r\n" + _FIVE, status=999),
    "value_empty": Sample(_200 + b"X:\r\n" + _FIVE),
    "value_not_ascii": Sample(_200 + b"X: \xe9\xff\r\n" + _FIVE),
    "value_with_tab": Sample(_200 + b"X: a\tb\r\n" + _FIVE),
    "upgrade_offered": Sample(_200 + b"Upgrade: h2,h2c\r\nConnection: Upgrade\r\n" + _FIVE),
    "close_among_others": Sample(_200 + b"Connection: Foo, CLOSE\r\n" + _FIVE, reusable=False),
    "close_and_keep_alive": Sample(_200 + b"Connection: keep-alive\r\nConnection: close\r\n" + _FIVE, reusable=False),
    "no_content_with_length": Sample(b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", status=204, body=b""),
    "no_content_chunked": Sample(b"HTTP/1.1 204 No\r\n" + _CHUNKED, status=204, body=b""),
    "not_modified_chunked": Sample(b"HTTP/1.1 304 No\r\n" + _CHUNKED, status=304, body=b""),
    "reset_content": Sample(b"HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n", status=205, body=b""),
    "many_headers": Sample(_200 + b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(64)) + _FIVE),
    "long_header": Sample(_200 + b"X: " + b"x" * 8000 + b"\r\n" + _FIVE),
    "value_padded": Sample(_200 + b"X: \t padded \t\r\n" + _FIVE),
    "set_cookie_twice": Sample(_200 + b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" + _FIVE),
}
"""What looks odd and is right: refusing it would break honest servers."""
