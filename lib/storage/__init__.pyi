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

from .database import Store, StoreError, exclusive_transaction, in_batches, utcnow
from .leases import held, is_dead, process_name
from .processes import GRACE, run
from .retention import purge
from .tables import actuals, alerts, checks, corrections, explanations, predictions
