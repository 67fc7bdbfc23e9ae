"""The page people look at."""

from __future__ import annotations

from flask import Blueprint, Response

pages = Blueprint("pages", __name__)

_HOME = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Production LSTM</title></head>
<body>
<h1>Production LSTM</h1>
<p>Forecasts of daily series, with their uncertainty and their reasons.</p>
<ul>
<li><a href="/docs">Try the API</a></li>
<li><a href="/health">Health</a></li>
<li><a href="/model">The model</a></li>
<li><a href="/metrics">Metrics</a></li>
</ul>
</body>
</html>
"""


@pages.get("/")
def home() -> Response:
    """Where to go from here."""
    return Response(_HOME, mimetype="text/html")
