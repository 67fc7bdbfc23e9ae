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
    "lease_of",
    "predictions",
    "process_name",
    "purge",
    "run",
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
from .processes import GRACE, is_dead, process_name, run
from .tables import actuals, alerts, checks, corrections, explanations, findings, predictions
