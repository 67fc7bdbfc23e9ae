__all__ = [
    "DEFAULT_NAME",
    "GRACE",
    "Store",
    "StoreError",
    "actuals",
    "alerts",
    "checks",
    "corrections",
    "exclusive_transaction",
    "explanations",
    "findings",
    "held",
    "in_batches",
    "is_dead",
    "is_present",
    "lease_of",
    "predictions",
    "process_name",
    "purge",
    "run",
    "show_presence",
    "utcnow",
]

from .database import (
    DEFAULT_NAME,
    Store,
    StoreError,
    exclusive_transaction,
    in_batches,
    purge,
    utcnow,
)
from .leases import held, lease_of
from .presence import is_present, show_presence
from .processes import GRACE, is_dead, process_name, run
from .tables import actuals, alerts, checks, corrections, explanations, findings, predictions
