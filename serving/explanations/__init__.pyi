__all__ = ["Explainer", "Job", "Jobs", "NoWorkerError", "QueueFullError", "TryLaterError"]

from .explainer import Explainer, TryLaterError
from .jobs import Job, Jobs, NoWorkerError, QueueFullError
