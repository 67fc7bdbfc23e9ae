__all__ = [
    "DatabaseFile",
    "Prediction",
    "Recorder",
    "Retention",
    "delete_old_rows",
    "read_last_check",
    "store_actuals",
]

from .actuals import store_actuals
from .checks import read_last_check
from .database_state import DatabaseFile
from .prediction import Prediction
from .predictions import Recorder
from .retention import Retention, delete_old_rows
