__all__ = ["Explainer", "Job", "Jobs", "QueueFullError", "TryLaterError"]

from .explainer import Explainer, TryLaterError
from .jobs import Job, Jobs, QueueFullError
