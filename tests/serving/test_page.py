"""The page as it is sent: languages, policy, assets, example. No browser is needed here."""

import json
import re
from html.parser import HTMLParser

import pytest
from pydantic import SecretStr

from lib.settings import ROOT, Settings
from serving.routes import pages
from tests import make_example

WEIGHT = 300_000  # bytes of the page and all it loads
TEMPLATES = ROOT / "serving" / "templates"
OURS = [p for p in pages.STATIC.rglob("*") if p.is_file() and "vendor" not in p.parts]


class Tags(HTMLParser):
    """All tags of a page, as (name, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def assets(client):
    """Addresses of what the page loads."""
    found = Tags(client.get("/").text).found
    named = [attrs.get("src") or attrs.get("href", "") for _, attrs in found]
    return sorted({name for name in named if name.startswith("/static/")})


@pytest.mark.parametrize(
    ("query", "accepted", "language"),
    [
        ("", "", "en"),
        ("", "pt-BR,pt;q=0.9,en;q=0.8", "pt-BR"),
        ("", "pt", "pt-BR"),
        ("", "de,fr;q=0.9", "en"),
        ("", "de,pt;q=0.4,en;q=0.3", "pt-BR"),
        ("", "en-GB,pt;q=0.3", "en"),
        ("", "pt;q=0,en;q=0.1", "en"),
        ("?lang=pt-BR", "en", "pt-BR"),
        ("?lang=en", "pt", "en"),
        ("?lang=../../x", "pt", "pt-BR"),
    ],
)
def test_page_has_the_language_of_the_request(client, query, accepted, language):
    answer = client.get(f"/{query}", headers={"Accept-Language": accepted})
    assert answer.status_code == 200
    assert f'<html lang="{language}">' in answer.text
    words = pages.messages()[language]
    assert words["forecast_lead"] in answer.text
    assert answer.headers["Vary"] == "Accept-Language"


def test_languages_have_the_same_keys_and_places():
    english, portuguese = (pages.messages()[name] for name in ("en", "pt-BR"))
    assert english.keys() == portuguese.keys()
    for key, text in english.items():
        assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", portuguese[key])), (
            key
        )


def test_page_uses_only_texts_that_are_there():
    known = pages.messages()["en"].keys()
    for path in [*TEMPLATES.glob("*.html"), *pages.STATIC.glob("*.js")]:
        text = path.read_text()
        used = re.findall(r'data-t(?:-label)?="([\w-]+)"', text)
        used += re.findall(r'\bt\("([\w -]+)"', text) + re.findall(r"{{ t\.(\w+) }}", text)
        used += re.findall(r'"((?:fault|p)_\w+)"', text)
        assert set(used) <= known, path.name


@pytest.mark.parametrize("language", list(pages.LANGUAGES))
def test_page_names_the_prices_with_their_defaults(language):
    text = pages.messages()[language]["business_note"]
    prices = re.findall(r"[A-Z]+(?:_[A-Z]+)+", text)
    assert prices == ["COST_OVER", "COST_UNDER", "REVENUE_PER_ACCURATE"]
    unset = [Settings.model_fields[name.lower()].default for name in prices]
    assert [float(number) for number in re.findall(r"\d+", text)] == unset


@pytest.mark.parametrize("language", list(pages.LANGUAGES))
def test_page_has_nothing_inline_or_of_another_host(client, language):
    answer = client.get(f"/?lang={language}")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    for tag, attrs in Tags(answer.text).found:
        assert tag != "style"
        assert tag != "script" or attrs.get("src", "").startswith("/static/")
        assert not [name for name in attrs if name == "style" or name.startswith("on")]
        for name in ("src", "href", "action"):
            assert not attrs.get(name, "").startswith(("http", "//", "data:", "javascript:"))


def test_swagger_ui_keeps_the_policy_it_needs(client):
    assert "style-src 'self' 'unsafe-inline'" in client.get("/docs").headers[
        "Content-Security-Policy"
    ]  # fmt: skip


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_page_files_name_no_other_host(path):
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "://" not in text


def test_assets_are_there_and_may_be_kept(client):
    found = assets(client)
    assert len(found) > 10
    for address in found:
        answer = client.get(address, buffered=True)
        assert answer.status_code == 200, address
        kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
        assert answer.mimetype == kind[address.rsplit(".", 1)[1]]
        assert "immutable" in answer.headers["Cache-Control"]
        assert "default-src" in answer.headers["Content-Security-Policy"]


def test_page_names_every_module(client):
    for module in pages.STATIC.glob("*.js"):
        assert any(address.endswith(f"/{module.name}") for address in assets(client))


def test_asset_of_another_release_is_not_kept(client):
    answer = client.get("/static/0000000000000000/page.js", buffered=True)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")


@pytest.mark.parametrize("name", ["../pages.py", "..%2fpages.py", "nothing.js", "messages"])
def test_asset_is_no_other_file(client, name):
    answer = client.get(f"/static/{pages.version()}/{name}")
    assert answer.status_code == 404
    assert answer.mimetype == "application/problem+json"


def test_page_and_assets_need_no_key(make_app):
    client = make_app(api_keys=(SecretStr("key"),)).test_client()
    for address in ["/", *assets(client)]:
        assert client.get(address, buffered=True).status_code == 200
    for call in ("/model", "/monitoring"):
        assert client.get(call).status_code == 401


def test_page_weighs_less_than_three_hundred_kilobytes(client):
    loaded = [*assets(client), "/", f"/static/{pages.version()}/messages/pt-BR.json"]
    assert sum(len(client.get(address, buffered=True).data) for address in loaded) < WEIGHT


def test_charting_library_comes_with_its_licence():
    folder = pages.STATIC / "vendor" / "uplot"
    assert "MIT License" in (folder / "LICENSE").read_text()
    assert "v1.6.32" in (folder / "uPlot.iife.min.js").read_text()[:200]


def test_example_is_what_its_script_makes():
    assert make_example.FILE.read_text(encoding="utf-8") == make_example.text()


def test_example_has_gaps_and_plans():
    table = json.loads(make_example.FILE.read_text(encoding="utf-8"))
    assert table["header"] == list(make_example.HEADER)
    values = [row[2] for row in table["rows"]]
    assert all(value is None for value in values[-make_example.AHEAD :])
    assert None in values[: -make_example.AHEAD - 500]


@pytest.mark.parametrize("address", ["", "https://mlflow.example"])
def test_page_links_mlflow_where_a_setting_has_its_address(make_app, address):
    app = make_app(mlflow_ui_url=address)
    links = [attrs.get("href") for _, attrs in Tags(app.test_client().get("/").text).found]
    assert (address in links) == bool(address)
