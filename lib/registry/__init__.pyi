__all__ = [
    "PRODUCTION",
    "STAGING",
    "ModelCache",
    "Registry",
    "RegistryError",
    "load_checked",
]

from .model_cache import ModelCache
from .model_check import load_checked
from .registry import Registry
from .versions import PRODUCTION, STAGING, RegistryError
