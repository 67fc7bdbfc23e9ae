"""The HTTP service: `create_app` makes the application, `python -m serving.server` serves it.

Importing it loads neither torch nor shap, and MLflow only when the registry is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

    from flask_openapi3 import OpenAPI

    from lib.settings import Settings


def create_app(
    settings: Settings | None = None,
    *,
    hosts: Container[str] | None = None,
    needs_worker: bool = False,
) -> OpenAPI:
    """Create the application: see `serving.app.create_app`."""
    # Not above: the process that forks the servers must not have imported ONNX Runtime, whose
    # threads do not survive that.
    from serving import app

    return app.create_app(settings, hosts=hosts, needs_worker=needs_worker)
