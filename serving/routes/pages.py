"""The web page: one template, plain JavaScript modules, every file shipped.

It calls the public API and nothing else. Its texts are in `static/messages`, one file a language:
the template is filled from the same file that the browser loads to switch languages.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, render_template, request, send_from_directory

from serving.state import state_of

STATIC = Path(__file__).parents[1] / "static"
LANGUAGES = {"en": "English", "pt-BR": "Português"}
_FOREVER = "public, max-age=31536000, immutable"
# Loaded by the entry module; named in the page so that the browser loads them all at once.
MODULES = sorted(path.name for path in STATIC.glob("*.js") if path.name != "theme.js")
pages = Blueprint("pages", __name__, template_folder="templates")


@pages.get("/")
def home() -> Response:
    """Return the page in the language of `?lang=`, else in the one that the browser prefers."""
    language = request.args.get("lang", "")
    if language not in LANGUAGES:
        language = preferred_language()
    text = render_template(
        "page.html",
        t=messages()[language],
        lang=language,
        languages=LANGUAGES,
        assets=f"/static/{version()}",
        modules=MODULES,
        mlflow=state_of().settings.mlflow_ui_url,
    )
    return Response(text, mimetype="text/html", headers={"Vary": "Accept-Language"})


@pages.get("/static/<key>/<path:name>")
def asset(key: str, name: str) -> Response:
    """Return a file of the page. `key` changes with any file, so browsers keep a current one."""
    response = send_from_directory(STATIC, name)
    # The page of an earlier release asks by another key: it is answered, and not kept.
    response.headers["Cache-Control"] = _FOREVER if key == version() else "no-cache"
    return response


def preferred_language() -> str:
    """Return the language of the page that suits Accept-Language best; English where none does."""
    for wanted, quality in request.accept_languages:
        known = {"pt": "pt-BR", "en": "en"}.get(wanted.split("-")[0].lower())
        if known and quality > 0:
            return known
    return "en"


@cache
def messages() -> dict[str, dict[str, str]]:
    """Return the texts of the page by language and key."""
    files = {name: STATIC / "messages" / f"{name}.json" for name in LANGUAGES}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items()}


@cache
def version() -> str:
    """Return a hash of all files of the page, sixteen characters."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(STATIC)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]
