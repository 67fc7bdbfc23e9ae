__all__ = [
    "HEADERS",
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
    "is_loopback",
    "is_open",
    "metrics",
    "problems",
    "refusal_of",
    "refuse_beyond_turn",
    "refuse_for",
    "release_memory",
]

from . import metrics, problems
from .limits import ConcurrencyLimit, has_arrived, refuse_beyond_turn
from .memory import release_memory
from .metrics import Metrics
from .problems import MEDIA_TYPE, RequestError, invalid, refusal_of
from .rate_limits import TokenBuckets, refuse_for
from .security import (
    HEADERS,
    KEY_HEADER,
    LOCAL_HOSTS,
    STYLED_POLICY,
    Keys,
    add_headers,
    check_bind,
    check_host,
    check_key_lengths,
    is_loopback,
    is_open,
)
from .strict_json import StrictRequest, count_keys, decode_json
