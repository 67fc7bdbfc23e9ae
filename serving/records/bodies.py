"""How the bodies of `/predict` are stored: what was meant, compressed.

A client may send a megabyte of blanks around sixty rows. Stored are the rows.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import orjson

from lib.features import FEATURES

_LEVEL = 1  # of zlib: three times as fast as the usual one, for a tenth more bytes
_JSON = b"{["  # first bytes of what earlier releases stored as it was sent


def pack_body(body: np.ndarray | bytes) -> bytes:
    """Encode the body of a `/predict` for the database.

    Args:
        body: its window (days, 11), NaN where missing; or the body as JSON.

    Raises:
        ValueError: it is neither.

    Example:
        >>> unpack_body(pack_body(b'{"sequence":   []}'))
        {'sequence': []}
    """
    if isinstance(body, bytes):
        return zlib.compress(orjson.dumps(orjson.loads(body)), _LEVEL)
    sent = {"features": FEATURES, "rows": np.ascontiguousarray(body)}
    return zlib.compress(orjson.dumps(sent, option=orjson.OPT_SERIALIZE_NUMPY), _LEVEL)


def unpack_body(stored: bytes) -> Any:
    """Return a stored body as `/predict` takes it, by this release or an earlier one.

    Raises:
        ValueError: what is stored is no body.
    """
    try:
        sent = orjson.loads(stored if stored[:1] in _JSON else zlib.decompress(stored))
    except zlib.error as error:
        raise ValueError(f"a stored body is damaged: {error}") from error
    if isinstance(sent, dict) and "rows" in sent:
        rows = (dict(zip(sent["features"], row, strict=True)) for row in sent["rows"])
        return {"sequence": list(rows)}
    return sent
