__all__ = [
    "GRACE",
    "Store",
    "StoreError",
    "actuals",
    "alerts",
    "checks",
    "corrections",
    "exclusive_transaction",
    "explanations",
    "held",
    "in_batches",
    "is_dead",
    "predictions",
    "process_name",
    "purge",
    "run",
    "utcnow",
]

from .database import Store, StoreError, exclusive_transaction, in_batches, purge, utcnow
from .leases import held
from .processes import GRACE, is_dead, process_name, run
from .tables import actuals, alerts, checks, corrections, explanations, predictions
