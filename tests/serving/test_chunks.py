"""Bodies in chunks: what may be in them beside the body."""

import itertools
import time

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from serving.http.chunks import bound_chunks
from serving.http.problems import RequestError

HEAD = b"POST /forecast HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECE = 65_536  # bytes that arrive at once


def request_of(*parts):
    """The request that gunicorn makes of what arrives, with the limits."""
    request = next(iter(RequestParser(Config(), iter([HEAD, *parts]), ("127.0.0.1", 1))))
    bound_chunks(request)
    return request


@pytest.mark.parametrize(
    "parts",
    [
        [b"5\r\nhello\r\n0\r\n\r\n"],
        [b"5;name=value\r\nhello\r\n0\r\nX-Check: 1\r\n\r\n"],
        [b"1\r\nh\r\n4\r", b"\nello\r", b"\n0", b"\r\n\r", b"\n"],
    ],
)
def test_body_in_chunks_is_read(parts):
    assert request_of(*parts).body.read() == b"hello"


def test_body_of_many_chunks_of_a_row_each_is_read():
    row = b'{"date": "2026-01-01", "value": 1},\n'
    chunk = b"%x\r\n%s\r\n" % (len(row), row)
    body = request_of(*[100 * chunk] * 100, b"0\r\n\r\n").body.read()
    assert body == 10_000 * row


@pytest.mark.parametrize("start", [b"", b"0;", b"0\r\nX: ", b"5\r\nhello\r\n"])
def test_line_without_end_is_refused_before_much_of_it_is_received(start):
    received = []

    def arrive():
        if start:
            yield start
        for number in itertools.count():
            received.append(number)
            yield PIECE * b"0"

    request = request_of()
    request.unreader.iter = arrive()
    with pytest.raises(RequestError, match="expected at most 8190 bytes") as refused:
        request.body.read()
    assert refused.value.status == 400
    assert len(received) < 3


@pytest.mark.parametrize("trailer", [b"Content-Length: 5", b"a b: c", b"no header"])
def test_trailers_that_are_no_headers_are_refused(trailer):
    with pytest.raises(RequestError, match="what follows the last chunk is wrong") as refused:
        request_of(b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n\r\n").body.read()
    assert refused.value.status == 400


def test_body_of_little_more_than_sizes_is_refused_at_once():
    began = time.monotonic()
    with pytest.raises(RequestError, match="expected chunks of 16 bytes or more"):
        request_of(*[10_000 * b"1\r\n \r\n"] * 100).body.read()
    assert time.monotonic() - began < 1
