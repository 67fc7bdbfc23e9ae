__all__ = [
    "HEADERS",
    "KEY_HEADER",
    "MEDIA_TYPE",
    "STYLED_POLICY",
    "ConcurrencyLimit",
    "Keys",
    "Metrics",
    "RequestError",
    "StrictRequest",
    "add_headers",
    "check_bind",
    "count_keys",
    "decode_json",
    "invalid",
    "is_open",
    "metrics",
    "problems",
    "refusal_of",
    "release_memory",
]

from . import metrics, problems
from .limits import ConcurrencyLimit
from .memory import release_memory
from .metrics import Metrics
from .problems import MEDIA_TYPE, RequestError, invalid, refusal_of
from .security import (
    HEADERS,
    KEY_HEADER,
    STYLED_POLICY,
    Keys,
    add_headers,
    check_bind,
    is_open,
)
from .strict_json import StrictRequest, count_keys, decode_json
