"""Receive large bodies into files, so that a slow client holds neither a thread nor memory."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter

_SPACE = 256_000_000  # bytes of a process that may be on the disk,
_EACH = 128_000_000  # and of one client


class UploadSpace:
    """The bytes of the disk that the bodies of a process may take."""

    def __init__(self, space: int = _SPACE, each: int = _EACH) -> None:
        self._free = space
        self._each = each
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reserve(self, client: str, size: int) -> Upload | None:
        """Begin an upload; None where there is no room for it.

        Raises:
            OSError: no file can be made.
        """
        with self._lock:
            if size > self._free or self._taken[client] + size > self._each:
                return None
            self._free -= size
            self._taken[client] += size
        try:
            return Upload(self, client, size)
        except OSError:
            self.release(client, size)
            raise

    def release(self, client: str, size: int) -> None:
        """Give back what was reserved."""
        with self._lock:
            self._free += size
            self._taken[client] -= size
            if not self._taken[client]:
                del self._taken[client]


class Upload:
    """A body on the disk: written as it arrives, then read once."""

    def __init__(self, space: UploadSpace, client: str, size: int) -> None:
        self.missing = size
        self.size = size
        self._space = space
        self._client = client
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`

    @property
    def received(self) -> int:
        """Bytes that have arrived."""
        return self.size - self.missing

    def write(self, data: bytes) -> None:
        """Append what has arrived. Raises OSError for a full disk."""
        self._file.write(data)
        self.missing -= len(data)
        if not self.missing:
            self._file.seek(0)

    def read(self, most: int) -> bytes:
        """Return the next bytes; none at the end, where the upload is closed."""
        data = b"" if self._file.closed else self._file.read(most)
        if not data:
            self.close()
        return data

    def close(self) -> None:
        """Delete the file and give back its room."""
        if not self._file.closed:
            self._file.close()
            self._space.release(self._client, self.size)
