"""A client's connection: requests are received ahead of a thread, and everything has a deadline."""

from __future__ import annotations

import errno
import re
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

_READ = 10.0  # seconds for a request to arrive,
_RATE = 65536  # and one more for so many bytes; likewise for the answer to be read
_TAKE = 30.0  # seconds for a client to read any of its answer
_HEAD = 65536  # bytes of a head: a longer one is not waited for, but refused by the parser
_CHUNK = 65536  # bytes read at once: gunicorn asks for 8 kB, and a request is several times that
_SMALL = 4096  # bytes that are held back, to be sent with what follows
_IGNORED = 65536  # bytes that are read from a client after its last answer
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:")
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n")


class Client(socket.socket):
    """A connection with time limits for requests and answers, and an answer in one packet."""

    deadline = float("inf")
    closing = False  # its last answer was sent
    ignored = 0  # bytes that came after that
    stopping = False  # its process closes soon; the application reads it from the environ
    _held = b""
    _ended = False  # the client sends nothing more
    _continued = False  # it was told to send the body
    _since: float | None = None  # when the request that arrives began

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what a socket takes."""
        super().__init__(*args, **kwargs)
        self._ahead = bytearray()  # received, and not yet read by the parser

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive as a socket does, but more at once.

        Raises OSError (ECONNRESET) past the deadline, which received data extends.
        """
        if self._ahead:
            data, self._ahead = bytes(self._ahead), bytearray()
            self._since = None
            return data
        with self._within(self.deadline - time.monotonic()):
            data = super().recv(max(bufsize, _CHUNK), flags)
        self.deadline += len(data) / _RATE
        return data

    def has_request(self, most: int) -> bool:
        """Receive what is there, and tell whether a thread can answer it. Never waits.

        It can where the request is whole, where its body is larger than `most` bytes or of unknown
        length, and where the connection has ended.
        """
        while not self._ended and len(self._ahead) <= max(most, _HEAD):
            if (whole := self._is_whole(most)) is not None:
                return whole
            try:
                data = super().recv(_CHUNK, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                data = b""
            self._ended = not data
            self._ahead += data
            if self._since is None:
                self._since = time.monotonic()
        return True

    def begin(self) -> None:
        """Give the rest of a request its time to arrive."""
        self.deadline = time.monotonic() + _READ

    def give_back(self, data: bytes) -> None:
        """Take back what the parser has received beyond a request."""
        if data.strip(b"\r\n"):
            self._ahead[:0] = data
            self._since = time.monotonic()

    def latest(self) -> float:
        """Return when the request that arrives must be whole, by the monotonic clock."""
        since = float("inf") if self._since is None else self._since
        return since + _READ + len(self._ahead) / _RATE

    def _is_whole(self, most: int) -> bool | None:
        """Tell whether a thread can answer what was received; None where more may tell."""
        end = self._ahead.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = bytes(self._ahead[:end]).lower() + b"\r\n"
        length = _LENGTH.search(head)
        if length is None or int(length[1]) > most or _CHUNKED.search(head):
            return True
        if len(self._ahead) >= end + 4 + int(length[1]):
            return True
        if not self._continued and _EXPECT.search(head):
            self._continued = True
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Send as a socket does, but the head of an answer with its body: one packet, not two.

        Raises OSError (ECONNRESET) for a client that does not read it.
        """
        held, self._held = self._held, b""
        if held or len(data) > _SMALL:
            self._send_whole(held + data, flags)
        else:
            self._held = data

    def sendfile(self, *args: Any, **kwargs: Any) -> int:
        """Send as a socket does. Raises OSError (ECONNRESET) for a client that does not read it."""
        self.flush()
        with self._within(_TAKE):
            return super().sendfile(*args, **kwargs)

    def shutdown(self, how: int, /) -> None:
        """Shut down as a socket does, after sending what is held back."""
        self.flush()
        super().shutdown(how)

    def flush(self) -> None:
        """Send what is held back."""
        held, self._held = self._held, b""
        if held:
            self._send_whole(held)

    def has_left(self) -> bool:
        """End the connection on this side, and tell whether the client has closed it. Never waits.

        Closed while the client still sends, it could lose the answer.
        """
        try:
            if not self.closing:
                self.closing = True
                self.shutdown(socket.SHUT_WR)
            data = super().recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self.ignored += len(data)
        return not data or self.ignored > _IGNORED

    def _send_whole(self, data: bytes, flags: int = 0) -> None:
        until = time.monotonic() + _TAKE + len(data) / _RATE
        rest = memoryview(data)
        while rest:
            with self._within(min(_TAKE, until - time.monotonic())):
                rest = rest[self.send(rest, flags) :]

    @contextmanager
    def _within(self, seconds: float) -> Generator[None]:
        self.settimeout(max(seconds, 0.001))
        try:
            yield
        except TimeoutError:
            # What gunicorn and werkzeug take for a client that has gone.
            raise OSError(errno.ECONNRESET, "the client is too slow") from None
        finally:
            self.settimeout(None)
