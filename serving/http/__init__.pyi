__all__ = [
    "HEADERS",
    "JSON_HEADERS",
    "KEY_HEADER",
    "LOCAL_HOSTS",
    "MEDIA_TYPE",
    "STYLED_POLICY",
    "ConcurrencyLimit",
    "Keys",
    "Metrics",
    "RequestError",
    "StrictRequest",
    "TokenBuckets",
    "add_headers",
    "check_bind",
    "check_host",
    "check_key_lengths",
    "count_keys",
    "decode_json",
    "has_arrived",
    "invalid",
    "is_host",
    "is_loopback",
    "is_open",
    "key_of",
    "limit_heaps",
    "metrics",
    "problems",
    "refusal_of",
    "refuse_beyond_turn",
    "refuse_for",
    "release_memory",
]

from . import metrics, problems
from .limits import ConcurrencyLimit, has_arrived, refuse_beyond_turn
from .memory import limit_heaps, release_memory
from .metrics import Metrics
from .problems import MEDIA_TYPE, RequestError, invalid, refusal_of
from .rate_limits import TokenBuckets, refuse_for
from .security import (
    HEADERS,
    JSON_HEADERS,
    KEY_HEADER,
    LOCAL_HOSTS,
    STYLED_POLICY,
    Keys,
    add_headers,
    check_bind,
    check_host,
    check_key_lengths,
    is_host,
    is_loopback,
    is_open,
    key_of,
)
from .strict_json import StrictRequest, count_keys, decode_json
