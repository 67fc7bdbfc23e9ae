"""A client's connection: requests are received ahead of a thread, and everything has a deadline."""

from __future__ import annotations

import errno
import re
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from serving.http.usual_request import LINE

if TYPE_CHECKING:
    from serving.http.uploads import Upload

_READ = 10.0  # seconds for a request to arrive,
_RATE = 65536  # and one more for so many bytes; likewise for the answer to be read
_TAKE = 30.0  # seconds for a client to read any of its answer
_HEAD = 65536  # bytes of a head: a longer one is not waited for, but refused by the parser
_CHUNK = 65536  # bytes read at once: gunicorn asks for 8 kB, and a request is several times that
_SMALL = 4096  # bytes that are held back, to be sent with what follows
_IGNORED = 65536  # bytes that are read from a client after its last answer
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n")
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:")
# Makes room for a body that is too large for memory, by the head and the length; None for no room.
Reserve = Callable[[bytes, int], "Upload | None"]
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n")


class Client(socket.socket):
    """A connection with time limits for requests and answers, and an answer in one packet."""

    deadline = float("inf")
    closing = False  # its last answer was sent
    ignored = 0  # bytes that came after that
    # Of the request that is answered; the application reads these from the environ.
    stopping = False  # its process closes soon
    is_received = False  # all of it is here
    refused = 0  # the status to refuse it with
    size = 0  # its bytes,
    length = 0  # and those of its body
    head = b""
    is_usual = False  # it begins as the usual one does, and is here
    _held = b""
    _ended = False  # the client sends nothing more
    _continued = False  # it was told to send the body
    _since: float | None = None  # when the request that arrives began

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what a socket takes."""
        super().__init__(*args, **kwargs)
        self._ahead = bytearray()  # received, and not yet read by the parser
        self._upload: Upload | None = None  # what follows it

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Receive as a socket does, but more at once.

        Raises OSError (ECONNRESET) past the deadline, which received data extends.
        """
        if self._ahead:
            data, self._ahead = bytes(self._ahead), bytearray()
            self._since = None
            return data
        if self._upload is not None:
            if data := self._upload.read(max(bufsize, _CHUNK)):
                return data
            self._upload = None
        with self._within(self.deadline - time.monotonic()):
            data = super().recv(max(bufsize, _CHUNK), flags)
        self.deadline += len(data) / _RATE
        return data

    def has_request(self, most: int, reserve: Reserve) -> bool:
        """Receive what is there, and tell whether a thread can answer it. Never waits.

        It can where the request is whole, where its body is of unknown length or larger than `most`
        bytes without room for it, and where the connection has ended.
        """
        self.is_received = self.is_usual = False
        while not self._ended and len(self._ahead) <= max(most, _HEAD):
            if (whole := self._is_whole(most, reserve)) is not None:
                return whole
            if not self._receive():
                return False
        return True

    def _receive(self) -> bool:
        """Take what is there, and return whether anything was, or is to come no more."""
        upload = self._upload
        most = _CHUNK if upload is None else min(_CHUNK, upload.missing)
        try:
            data = super().recv(most, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._ended = not data
        if upload is None:
            self._ahead += data
        else:
            self._store(upload, data)
        if self._since is None:
            self._since = time.monotonic()
        return True

    def _store(self, upload: Upload, data: bytes) -> None:
        try:
            upload.write(data)
        except OSError:  # the disk is full: the request is answered as one without room
            upload.close()
            self._ended = True

    def begin(self) -> None:
        """Give the rest of a request its time to arrive."""
        self.deadline = time.monotonic() + _READ

    def peek_body(self) -> bytes:
        """Return the body of a request that is here; `take_request` takes it."""
        with memoryview(self._ahead) as received:  # a slice of the array itself is one more copy
            return bytes(received[self.size - self.length : self.size])

    def take_request(self) -> None:
        """Take the request that is here, as the parser would; what follows it stays."""
        del self._ahead[: self.size]
        self._since = time.monotonic() if self._ahead else None

    def has_more(self) -> bool:
        """Tell whether anything of a further request was received."""
        return bool(self._ahead)

    def send_at_once(self, data: bytes) -> bool:
        """Send an answer without waiting; return whether the client has room for it."""
        try:
            return super().send(data, socket.MSG_DONTWAIT) == len(data)
        except OSError:
            return False

    def give_back(self, data: bytes) -> None:
        """Take back what the parser has received beyond a request."""
        if data.strip(b"\r\n"):
            self._ahead[:0] = data
            self._since = time.monotonic()

    def latest(self) -> float:
        """Return when the request that arrives must be whole, by the monotonic clock."""
        since = float("inf") if self._since is None else self._since
        received = len(self._ahead) + (self._upload.received if self._upload else 0)
        return since + _READ + received / _RATE

    def _is_whole(self, most: int, reserve: Reserve) -> bool | None:
        """Tell whether a thread can answer what was received; None where more may tell."""
        if self._upload is not None:
            self.is_received = not self._upload.missing
            return True if self.is_received else None
        end = self._ahead.find(b"\r\n\r\n")
        if end < 0:
            return None
        self.head = bytes(self._ahead[:end]) + b"\r\n"
        head = self.head.lower()
        found = _LENGTH.search(head)
        if found is None or _CHUNKED.search(head):
            self.size, self.length, self.is_received = end + 4, 0, found is None
            return True
        self.length = length = int(found[1])
        self.size = end + 4 + length
        if len(self._ahead) >= self.size:
            self.is_received = True
            self.is_usual = self.head.startswith(LINE)
            return True
        if length > most:
            self._upload = reserve(self.head, length)
            if self._upload is None:
                return True
            self._store(self._upload, bytes(self._ahead[end + 4 :]))
            del self._ahead[end + 4 :]
        if not self._continued and _EXPECT.search(head):
            self._continued = True
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return None

    def close(self) -> None:
        """Close the connection, and delete what it has on the disk."""
        if self._upload is not None:
            self._upload.close()
        super().close()

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
