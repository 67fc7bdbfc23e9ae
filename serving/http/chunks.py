"""Read bodies in chunks, with limits on what is in them beside the body."""

from __future__ import annotations

import io
from typing import Any

from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.errors import ParseException

from serving.http.problems import RequestError

_LINE = 8190  # bytes of a size with its extensions, and of the trailers, as of a header
_FREE, _EACH = 1_000, 16  # chunks of any size, and bytes of a body that are worth a further one


class BoundedChunks(ChunkedReader):
    """gunicorn's reader of chunks, which takes a size line or trailers of any length.

    It looks through all of a line again whenever more of it arrives, and through all that was
    received for each chunk: a body of little more than sizes would keep a thread for minutes.
    """

    _chunks = _bytes = 0

    def get_data(self, unreader: Any, buf: io.BytesIO) -> None:
        """Receive more of a size or of trailers. Raises RequestError (400) for too much."""
        if buf.tell() > _LINE:
            detail = f"expected at most {_LINE} bytes of a chunk's size or of trailers, got more"
            raise RequestError(400, detail)
        super().get_data(unreader, buf)

    def parse_chunk_size(self, unreader: Any, data: bytes | None = None) -> Any:
        """Return the size of the next chunk, and the bytes behind it.

        Raises:
            RequestError: 400 for more chunks than the body is worth.
        """
        found = super().parse_chunk_size(unreader, data)
        self._chunks, self._bytes = self._chunks + 1, self._bytes + found[0]
        if self._chunks > _FREE + self._bytes // _EACH:
            raise RequestError(400, f"expected chunks of {_EACH} bytes or more, got smaller ones")
        return found

    def parse_trailers(self, unreader: Any, data: bytes) -> Any:
        """Skip what follows the last chunk. Raises RequestError (400) for what is no header."""
        try:
            return super().parse_trailers(unreader, data)
        except ParseException as error:
            detail = f"what follows the last chunk is wrong: {type(error).__name__}"
            raise RequestError(400, detail) from None


def bound_chunks(request: Any) -> None:
    """Limit what is read of a request in chunks; gunicorn has made it, and read its head."""
    if isinstance(request.body.reader, ChunkedReader):
        request.body = Body(BoundedChunks(request, request.unreader))
