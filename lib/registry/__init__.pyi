__all__ = [
    "PRODUCTION",
    "STAGING",
    "Cache",
    "Registry",
    "RegistryError",
    "ready",
]

from .model_cache import Cache, ready
from .registry import PRODUCTION, STAGING, Registry, RegistryError
