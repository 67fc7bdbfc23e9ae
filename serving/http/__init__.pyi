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
    "add_headers",
    "check_bind",
    "check_host",
    "count_keys",
    "decode_json",
    "invalid",
    "is_loopback",
    "is_open",
    "metrics",
    "problems",
    "refusal_of",
    "release_memory",
    "warn_of_short_keys",
]

from . import metrics, problems
from .limits import ConcurrencyLimit
from .memory import release_memory
from .metrics import Metrics
from .problems import MEDIA_TYPE, RequestError, invalid, refusal_of
from .security import (
    HEADERS,
    KEY_HEADER,
    LOCAL_HOSTS,
    STYLED_POLICY,
    Keys,
    add_headers,
    check_bind,
    check_host,
    is_loopback,
    is_open,
    warn_of_short_keys,
)
from .strict_json import StrictRequest, count_keys, decode_json
