"""The page in a real Chromium, against a real server: what readers do with it, and how it looks."""

import contextlib
import csv
import io
import json
import math
import os
import shutil
from collections.abc import Callable

import pandas as pd
import pytest
from pydantic import SecretStr

from lib.data.numbers import YES_NO, parse_numbers
from lib.data.panel import SeriesError
from lib.data.source import Source
from lib.registry.registry import Registry
from lib.settings import ROOT
from serving.app import create_app
from serving.model.live_model import LiveModel
from serving.records.checks import FILE
from serving.routes.pages import LANGUAGES, messages
from tests.covariate_model import add_covariates
from tests.panels import TINY_MODEL
from tests.ranked import ranked_model
from tests.serving.browser import BROWSER, gunicorn, launch, threaded
from tests.serving.live import Shelf, app_on, close, settings_of
from tests.serving.test_monitoring import FINDINGS
from tests.serving.test_page import WEIGHT

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
SOURCE = Source("rows")
BIKES = ROOT.parent / "shared" / "data" / "bike_sharing_day.csv"
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(not BROWSER, reason="no Chromium: apt-get install chromium"),
    pytest.mark.filterwarnings(
        "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning",
        "ignore:Operation with range is deprecated:pandas.errors.Pandas4Warning",
    ),
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Gunicorn and a worker, on a registry with the small model in it."""
    folder = tmp_path_factory.mktemp("server")
    settings = settings_of(folder)
    registry = Registry(settings)
    run = registry.log_run(params={}, metrics={})
    registry.register(TINY_MODEL, run_id=run, metrics={"mase": 1.0})
    registry.promote(1)
    names = ("mlflow_tracking_uri", "mlflow_artifact_root", "database_url")
    environment = {name.upper(): getattr(settings, name) for name in names}
    with gunicorn(folder / "log", VAR_DIR=str(folder), **environment) as address:
        yield address


@contextlib.contextmanager
def local(folder, **settings):
    """The application in this process, for what needs no worker."""
    app = app_on(Shelf(production=7), folder, **settings)
    with threaded(app) as address:
        yield address
    close(app)


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    with local(tmp_path_factory.mktemp("light")) as address:
        yield address


@pytest.fixture
def visit(browser):
    """Opens pages and holds them to the rules: no error, and no request to another host."""
    faults, pages = [], []

    def opened(address, *, allowed=(), path="/", **options):
        context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB"} | options)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on(
            "console",
            lambda m: (
                m.type in ("error", "warning")
                and not any(status in m.text for status in allowed)
                and faults.append(m.text)
            ),
        )
        page.on(
            "request",
            lambda request: (
                request.url.startswith((address, "blob:", "data:")) or faults.append(request.url)
            ),
        )
        page.goto(address + path)
        page.wait_for_selector("html[data-ready]")
        pages.append(context)
        return page

    yield opened
    for context in pages:
        context.close()
    assert faults == []


def use_example(page):
    page.click("#example")
    page.wait_for_selector("#table-card:not([hidden])")


def settled_width(page, frames=60):
    """The width of what can be scrolled to, a chart being drawn anew after its frame changed.

    Polled from here: Playwright's own waiting needs an eval that the page's policy forbids.
    """
    for _ in range(frames):
        width = page.evaluate("document.documentElement.scrollWidth")
        if width == page.viewport_size["width"]:
            break
        page.wait_for_timeout(50)
    return width


@pytest.fixture(scope="module")
def with_covariates(tmp_path_factory):
    """The application in this process, on a model that takes five columns by name."""
    folder = tmp_path_factory.mktemp("covariates")
    shelf = Shelf(production=7)
    shelf.folders[7] = add_covariates(ranked_model(folder / "model"))
    app = app_on(shelf, folder)
    with threaded(app) as address:
        yield address
    close(app)


def eight_columns():
    """A file of two shops whose columns the model knows, but for the names of day and value."""
    lines = ["dia;vendas;loja;price;promo;weather;visits;region"]
    for day in pd.date_range("2026-01-01", periods=92):
        known = day.month < 4 or day.day == 1  # the last day is planned
        for shop, region in (("a", "north"), ("b", "south")):
            sold = 100 + day.day_of_week if known else ""
            visits = 5 * day.day if known else ""
            promo = "sim" if day.day % 7 == 0 else "não"
            lines.append(
                f"{day:%d/%m/%Y};{sold};{shop};{1 + day.day / 10:.2f};{promo};Sun;{visits};{region}"
            )
    return "\n".join(lines)


def test_columns_of_a_file_are_covariates_by_name_and_are_sent(visit, with_covariates):
    page = visit(with_covariates)
    assert page.locator("#map-model").is_visible() is False  # there is no file yet
    paste(page, eight_columns())
    labels = page.locator("#map-covariates label").all_text_contents()
    assert labels[0] == "price (number, also ahead)"
    assert labels[-1] == "region (category, one a series)"
    chosen = page.locator("#map-covariates select").evaluate_all(
        "all => all.map((each) => each.selectedOptions[0].textContent)"
    )
    assert chosen == ["price", "promo", "weather", "visits", "region"]
    with page.expect_request("**/forecast") as sent:
        page.click("#run")
    page.wait_for_selector("#table-card:not([hidden])")
    series = json.loads(sent.value.post_data)["series"]
    assert [one["static"] for one in series] == [{"region": "north"}, {"region": "south"}]
    first = {"date": "2026-01-01", "value": 103, "price": 1.1, "promo": 0, "weather": "Sun"}
    assert series[0]["history"][0] == first | {"visits": 5}
    planned = {"date": "2026-04-02", "price": 1.2, "promo": 0, "weather": "Sun"}
    assert series[0]["future"] == [planned]


def test_a_scenario_plans_covariates(visit, with_covariates):
    page = visit(with_covariates)
    paste(page, eight_columns())
    page.click("#run")
    page.wait_for_selector("#scenario-card:not([hidden])")
    page.click("#scenario-new")
    heads = page.locator("#scenario-days thead th").all_text_contents()
    assert heads[1:] == ["price", "promo", "weather"]  # what the model has learned
    first = page.locator("#scenario-days tbody tr").first
    first.locator("input").first.fill("0.5")
    first.locator("select").select_option("Rain")
    with page.expect_request("**/forecast") as sent:
        page.click('#scenario-form button[data-t="scenario_run"]')
    (rows,) = json.loads(sent.value.post_data)["scenarios"].values()
    assert rows == [{"date": "2026-04-02", "price": 0.5, "weather": "Rain"}]
    page.wait_for_selector("#scenario-result:not([hidden])")


def test_a_column_that_is_taken_from_a_covariate_is_not_sent(visit, with_covariates):
    page = visit(with_covariates)
    paste(page, eight_columns().replace(";north", ";south", 1))
    assert "Series a has south" in page.locator("#rows").text_content()
    page.select_option("#map-covariate-4", "-1")
    assert page.locator("#rows-card").is_hidden()
    with page.expect_request("**/forecast") as sent:
        page.click("#run")
    assert "static" not in json.loads(sent.value.post_data)["series"][0]


def paste(page, text):
    if page.locator("#paste").is_hidden():
        page.click("#paste-open")
    page.fill("#paste-text", text)
    page.click("#paste-use")


def days(count=70, start="2026-01-01"):
    import numpy as np

    first = np.datetime64(start)
    return [f"{first + i},{100 + i % 7}" for i in range(count)]


def serious(page):
    from axe_playwright_python.sync_playwright import Axe

    page.wait_for_timeout(200)  # colours that fade would be measured half-way
    found = Axe().run(page).response["violations"]
    return [
        (v["id"], [n["target"] for n in v["nodes"]][:3])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


def test_page_uploads_forecasts_and_explains_bike_sharing(server, visit, tmp_path):
    if not BIKES.is_file():
        pytest.skip(f"no {BIKES.name} beside the project")
    page = visit(server, accept_downloads=True)
    page.set_input_files("#file", BIKES)
    page.wait_for_selector("#loaded:not([hidden])")
    names = {r: page.locator(f"#map-{r} option:checked").inner_text() for r in ROLES}
    assert names == {"date": "dteday", "value": "cnt", "factor": "temp", "event": "holiday"}
    # Other columns can be chosen, and these again.
    page.select_option("#map-value", label="registered")
    page.select_option("#map-value", label="cnt")
    assert "731 days" in page.inner_text("#summary")
    page.click("#run")
    page.wait_for_selector("#table tbody tr")
    assert page.locator("#table tbody tr").count() == 3  # the small model's horizon
    assert "Jan 2013" in page.inner_text("#readout")
    with page.expect_download() as download:
        page.click("#download")
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert [row["date"] for row in rows] == ["2013-01-01", "2013-01-02", "2013-01-03"]
    assert list(rows[0]) == ["series_id", "date", "prediction", "q0.1", "q0.5", "q0.9", "mean"]

    page.click("#table tbody tr:nth-child(2) button")
    page.wait_for_selector("#why-result:not([hidden])", timeout=60_000)
    shown = page.locator("#why-bars tbody .figure").all_inner_texts()
    figures = [float(text.replace(",", "")) for text in shown]
    assert len(figures) == 13
    assert sum(figures[:-1]) == pytest.approx(figures[-1], abs=13 * 0.5)
    assert figures[-1] == pytest.approx(float(rows[1]["prediction"]), abs=0.5)
    for row in page.locator("#why-map tbody tr").all():
        *cells, total = (text.replace(",", "") for text in row.locator("td").all_inner_texts())
        known = sum(float(cell) for cell in cells if cell != "·")
        largest = abs(figures[-1])
        assert known == pytest.approx(float(total), abs=0.05 * largest)
    with page.expect_download() as download:
        page.click("#why-picture")
    assert download.value.path().read_bytes().startswith(b"\x89PNG")

    before = page.locator("#why-bars tbody .figure").count()
    page.click("[data-lang=pt-BR]")
    page.wait_for_selector("html[lang=pt-BR]")
    assert page.inner_text("#why-features-title") == "Por variável"
    assert page.locator("#why-bars tbody .figure").count() == before  # nothing is lost
    assert "lang=pt-BR" in page.url
    with page.expect_download() as download:
        page.click("#download")
    assert ";2013-01-01;" in download.value.path().read_text("utf-8-sig")
    page.set_viewport_size(PHONE)
    assert settled_width(page) == PHONE["width"]


ROLES = ("date", "value", "factor", "event")


def test_page_example_takes_one_click(light, visit):
    page = visit(light)
    use_example(page)
    assert page.locator("#series-pick option").all_inner_texts() == ["Loja Centro", "Loja Norte"]
    assert "gaps" in page.inner_text("#summary")
    assert "plans for 28 days ahead" in page.inner_text("#summary")
    first = page.inner_text("#table tbody tr td.mid >> nth=0")
    page.select_option("#series-pick", "Loja Norte")
    assert page.inner_text("#table tbody tr td.mid >> nth=0") != first
    page.uncheck("#interval-80")
    columns = page.locator("#table thead th").all_inner_texts()
    assert columns == ["Day", "Median", "Mean", "Why?"]


def test_page_forecasts_fewer_days_on_request(light, visit):
    page = visit(light)
    paste(page, "\n".join(["day,units", *days()]))
    page.fill("#horizon", "2")
    page.click("#run")
    page.wait_for_selector("#table tbody tr")
    assert page.locator("#table tbody tr").count() == 2


def test_page_shows_faults_in_their_rows_to_be_corrected_there(light, visit):
    rows = days()
    rows[3] = "2026-01-04,many"
    rows[5] = rows[4]
    rows[8] = "2026-02-31,105"
    page = visit(light)
    paste(page, "\n".join(["day,units", *rows]))
    shown = page.locator("#rows tbody tr")
    assert [row.locator("th").inner_text() for row in shown.all()] == ["Row 5", "Row 7", "Row 10"]
    assert "Not a number" in shown.nth(0).inner_text()
    assert "2026-01-05 appears twice" in shown.nth(1).inner_text()
    assert "Not a day" in shown.nth(2).inner_text()
    assert page.is_disabled("#run")
    cell = shown.nth(0).locator("input[aria-invalid=true]")
    assert cell.input_value() == "many"
    cell.fill("103")
    cell.press("Tab")
    shown.nth(0).locator("button").click()
    shown.nth(0).locator("button").click()
    assert page.is_hidden("#rows-card")
    assert "2 rows left out" in page.inner_text("#loaded-name")
    page.click("#run")
    page.wait_for_selector("#table tbody tr")


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        ("promoção", "sim", "não"),
        ("Promocao", "S", "Nao"),
        ("promotion", "yes", "no"),
        ("feriado", "True", "False"),
        ("holiday", "t", "f"),
        ("evento", "Y", "N"),
    ],
)
def test_page_reads_words_in_a_column_of_events(light, visit, name, yes, no):
    page = visit(light)
    rows = [f"{row},{yes if i % 7 == 0 else no}" for i, row in enumerate(days())]
    paste(page, "\n".join([f"day,units,{name}", *rows, f"2026-03-12,,{yes}"]))
    assert page.locator("#map-event option:checked").inner_text() == name
    assert page.is_hidden("#rows-card")
    assert "plans for 1 days ahead" in page.inner_text("#summary")
    with page.expect_request("**/forecast") as request:
        page.click("#run")
    page.wait_for_selector("#table tbody tr")
    (series,) = request.value.post_data_json["series"]
    events = [day["evento_especial"] for day in series["history"]]
    assert events == [int(i % 7 == 0) for i in range(70)]
    assert series["future"] == [{"date": "2026-03-12", "evento_especial": 1}]


def test_page_reads_and_refuses_events_as_training_does(light, visit):
    words = [form(word) for word in YES_NO for form in (str.lower, str.upper, str.title)]
    words += ["", "NA", "0,5", "talvez", "si", "1x"]
    page = visit(light)
    read = """async (words) => {
      const { readEvent } = await import(document.querySelector('link[href$="/csv.js"]').href);
      return words.map((word) => readEvent(word, ",") ?? String(readEvent(word, ",")));
    }"""
    found = dict(zip(words, page.evaluate(read, words), strict=True))
    for word, event in found.items():
        try:
            known = float(parse_numbers(pd.Series([word]), "evento_especial", ",", SOURCE)[0])
        except SeriesError:
            assert event == "undefined", word
        else:
            assert event == ("null" if math.isnan(known) else known), word


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_page_reads_words_only_in_a_column_of_events(light, visit, language):
    rows = [f"{row},5,no" for row in days()]
    rows[2] = "2026-01-03,102,5,talvez"
    rows[4] = "2026-01-05,yes,no,1"
    page = visit(light, path=f"/?lang={language}")
    paste(page, "\n".join(["day,units,temp,feriado", *rows]))
    words = messages()[language]
    event, numbers = page.locator("#rows tbody tr").all()
    assert event.locator(".fault").all_inner_texts() == [words["fault_event"]]
    assert numbers.locator(".fault").all_inner_texts() == [words["fault_number"]] * 2
    assert page.is_disabled("#run")
    cell = event.locator("input[aria-invalid=true]")
    assert cell.input_value() == "talvez"
    cell.fill("não")
    cell.press("Tab")
    assert page.locator("#rows tbody tr").count() == 1


def test_page_words_a_wrong_event_as_training_does():
    with pytest.raises(SeriesError) as refused:
        parse_numbers(pd.Series(["talvez"]), "evento_especial", ".", SOURCE)
    text = messages()["en"]["fault_event"]
    assert str(refused.value).endswith(f"; {text[0].lower()}{text[1:]}")


def test_page_shows_what_the_api_refuses_in_its_row(light, visit):
    page = visit(light, allowed=("422",), path="/?lang=pt-BR")
    paste(page, "\n".join(["day,units", *days(), "9950-01-01,5"]))
    page.click("#run")
    page.wait_for_selector("#rows-card:not([hidden])")
    assert "Linha 72" in page.inner_text("#rows tbody tr")
    assert "O esperado é um dia de 1900-01-01 a 2199-12-31" in page.inner_text("#rows tbody tr")


def test_page_forecasts_a_short_history_and_says_what_it_rests_on(light, visit):
    page = visit(light)
    paste(page, "\n".join(["day,units", *days(20)]))
    page.click("#run")
    page.wait_for_selector("#doubts:not([hidden])")
    assert "20 days known: the level and part of the week" in page.inner_text("#doubts")


@pytest.mark.parametrize(
    ("text", "guessed", "decimal", "first"),
    [
        (
            "\ufeffdia;vendas;temp;feriado\r\n01/02/2026;1.234,5;20,1;0\r\n15/02/2026;12,5;;1\r\n",
            ["dia", "vendas", "temp", "feriado"],
            ",",
            {"date": "2026-02-01", "value": 1234.5, "fator_externo": 20.1, "evento_especial": 0},
        ),
        (
            "date,value\n2026-01-05,\"1,234.5\"\n2026-01-06,NA\n2026-01-07,3\n",
            ["date", "value", None, None],
            ".",
            {"date": "2026-01-05", "value": 1234.5},
        ),
        (
            "2026-01-05\t5\n2026-01-06\t6\n",
            ["", "", None, None],
            ".",
            {"date": "2026-01-05", "value": 5},
        ),
        (
            "12/31/2025|7\n01/01/2026|8\n",
            ["", "", None, None],
            ".",
            {"date": "2025-12-31", "value": 7},
        ),
    ],
    ids=["semicolon and comma", "quoted thousands", "no header, tabs", "month first"],
)  # fmt: skip
def test_page_guesses_separators_and_dates(light, visit, text, guessed, decimal, first):
    page = visit(light)
    found = page.evaluate(
        """async (text) => {
          const folder = document.querySelector('link[href$="/csv.js"]').href;
          const { parse, findDecimal } = await import(folder);
          const { guess } = await import(folder.replace("csv.js", "columns.js"));
          const { build } = await import(folder.replace("csv.js", "dataset.js"));
          const table = parse(text);
          const mapping = guess(table);
          const columns = [mapping.value, mapping.factor].filter((i) => i >= 0);
          const cells = table.rows.flatMap((row) => columns.map((i) => row.cells[i]));
          const decimal = findDecimal(cells, table.separator);
          const names = ["date", "value", "factor", "event"].map((role) =>
            mapping[role] < 0 ? null : table.header[mapping[role]]);
          const { series, faults } = build(table, mapping, decimal);
          return { names, decimal, faults: faults.length, first: series[0].history[0] };
        }""",
        text,
    )
    assert found == {"names": guessed, "decimal": decimal, "faults": 0, "first": first}


def test_page_asks_for_a_key_once_and_keeps_it_in_the_tab(tmp_path, visit, browser):
    with local(tmp_path, api_keys=(SecretStr("open sesame"),)) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#key-dialog[open]")
        page.fill("#key-field", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key-wrong:not([hidden])")
        page.fill("#key-field", "open sesame")
        page.keyboard.press("Enter")
        page.wait_for_selector("html[data-ready]")
        assert "Version 7" in page.inner_text("#status")
        use_example(page)
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert page.is_hidden("#key-dialog")
        kept = page.evaluate("[JSON.stringify(localStorage), document.cookie, location.href]")
        assert not [place for place in kept if "sesame" in place]
        other = context.new_page()  # another tab needs it again
        other.goto(address)
        other.wait_for_selector("#key-dialog[open]")
        other.keyboard.press("Escape")
        other.wait_for_selector("html[data-ready]")
        assert other.is_visible("#key-again")
        assert other.is_hidden("#key-dialog")
        context.close()


def test_page_chart_is_read_by_keyboard(light, visit):
    page = visit(light)
    use_example(page)
    page.focus("#chart")
    chart = page.locator("#chart")
    assert chart.get_attribute("role") == "slider"
    page.keyboard.press("ArrowRight")
    first = chart.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    second = chart.get_attribute("aria-valuetext")
    assert first != second
    assert "Median" in second
    assert "80 %" in page.inner_text("#readout")
    page.keyboard.press("Home")
    assert "1 Jan 2025" in chart.get_attribute("aria-valuetext")


def test_page_on_a_phone_in_portuguese_needs_no_sideways_scrolling(light, visit):
    page = visit(light, viewport=PHONE, locale="pt-BR")
    assert page.get_attribute("html", "lang") == "pt-BR"
    use_example(page)
    assert settled_width(page) == PHONE["width"]
    assert "Previsão por dia" in page.inner_text("#table-card h3")


def test_page_colours_follow_the_system_until_they_are_chosen(light, visit):
    page = visit(light, color_scheme="dark")
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.click("[data-choice=light]")
    chosen = page.evaluate(paper)
    assert chosen != dark
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate(paper) == chosen
    page.click("[data-choice=auto]")
    assert page.evaluate(paper) == dark


LAG = {"feature": "lag_1", "effect": 0.4, "threshold": 0.2, "drifted": True}
MOVED = [
    {"feature": name, "effect": 0.3, "drifted": True, "flags": ["distribution"]}
    | {"shift": {"kind": kind, "before": before, "now": now, "label": label, "unknown": unknown}}
    for name, kind, before, now, label, unknown in (
        ("weather", "category", 0.56, 0.12, "sun", ["hail", "<b>"]),
        ("promo", "event", 0.05, 0.4, "", []),
        ("price", "number", 10.0, 13.2, "", []),
    )
]


def test_page_shows_the_findings_of_the_last_check(tmp_path, visit):
    with local(tmp_path) as address:
        page = visit(address)
        assert "No check has run yet" in page.inner_text("#monitoring-note")
        assert page.is_hidden("#monitoring")
        (tmp_path / FILE).parent.mkdir()
        (tmp_path / FILE).write_text(json.dumps(FINDINGS | {"drift": [LAG, *MOVED]}))
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert "version 3" in page.inner_text("#monitoring-note")
        assert "drift of lag_1" in page.inner_text("#alerts")
        assert "drifted" in page.inner_text("#drift")
        moved = [row.inner_text() for row in page.query_selector_all("#drift small")]
        assert [text.replace("\u00a0", " ") for text in moved] == [
            "“sun” on 12 % of days, was 56 %; unknown: hail, <b>",
            "on 40 % of days, was 5 %",
            "mean 13.2, was 10",
        ]
        assert "1,200 BRL" in page.inner_text("#business")
        assert "Retraining is recommended" in page.inner_text("#verdict")
        assert serious(page) == []
        page.set_viewport_size(PHONE)
        assert settled_width(page) == PHONE["width"]


@pytest.mark.parametrize(
    ("language", "figures"),
    [
        (
            "en",
            {
                "Total": "-30 money",
                "Cost of the errors": "120 money",
                "Revenue of accurate days": "80 money",
                "Saved on stock": "10 money",
                "Total per unit": "-0.25 money per unit",
                "Return on the cost": "–",
                "later_figure": "1.5 BRL",
            },
        ),
        (
            "pt-BR",
            {
                "Total": "-30 em dinheiro",
                "Custo dos erros": "120 em dinheiro",
                "Receita dos acertos": "80 em dinheiro",
                "Economia em estoque": "10 em dinheiro",
                "Total por unidade": "-0,25 em dinheiro por unidade",
                "Retorno sobre o custo": "–",
                "later_figure": "1,5 BRL",
            },
        ),
    ],
)
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_names_business_figures_in_its_language(tmp_path, visit, language, figures, viewport):
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text(json.dumps(FINDINGS | {"business": FIGURES}))
    with local(tmp_path) as address:
        page = visit(address, path=f"/?lang={language}", locale=language, viewport=viewport)
        names = page.locator("#business dt").all_inner_texts()
        assert (
            dict(zip(names, page.locator("#business dd").all_inner_texts(), strict=True)) == figures
        )
        assert page.inner_text("#business-note") == messages()[language]["business_note"]
        assert settled_width(page) == viewport["width"]
        assert serious(page) == []


# As lib.monitoring.findings writes them, but for the last, of a later release.
FIGURES = [
    {"name": "total", "value": -30.0, "unit": "money"},
    {"name": "cost", "value": 120.0, "unit": "money"},
    {"name": "revenue", "value": 80.0, "unit": "money"},
    {"name": "saving", "value": 10.0, "unit": "money"},
    {"name": "per_unit", "value": -0.25, "unit": "money per unit"},
    {"name": "roi", "value": None, "unit": ""},
    {"name": "later_figure", "value": 1.5, "unit": "BRL"},
]


def test_page_without_a_model_says_why(tmp_path, visit):
    app = app_on(Shelf(), tmp_path)
    with threaded(app) as address:
        page = visit(address, allowed=("503",))
        assert page.inner_text("#status") == "No model"
        page.click("#example")
        page.wait_for_selector("#chart canvas")
        assert page.is_disabled("#run")
    close(app)


def test_page_explanation_survives_a_busy_store_and_names_another_version(light, visit):
    page = visit(light, allowed=("503",))
    use_example(page)
    names = ["lag_1", "lag_7"]
    result: dict[str, object] = {
        "horizon_day": 1,
        "level": 0.5,
        "base_value": 100,
        "output_value": 103,
    }
    result |= {"by_feature": dict.fromkeys(names, 1.5), "by_day": {"1": 2, "ahead": 1}}
    result |= {"feature_by_day": [[1, 0.5]] * 2, "additivity_error": 0, "background_windows": 3}
    done = {"status": "done", "model_version": 8, "result": result}
    answers = iter(
        [
            {"status": 503, "headers": {"Retry-After": "1"}, "json": {"detail": "busy"}},
            {"json": done},
            {"json": done | {"model_version": 7}},
        ]
    )
    page.route("**/explanations/*", lambda route: route.fulfill(**next(answers)))
    page.click("#why-run")
    page.wait_for_selector("#why-result:not([hidden])")
    assert "version 8" in page.inner_text("#why-version")
    assert "version 7" in page.inner_text("#why-version")
    page.click("#why-run")
    page.wait_for_selector("#why-result:not([hidden])")
    assert page.is_hidden("#why-version")
    assert page.is_hidden("#why-fault")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_has_no_serious_fault_for_axe(light, visit, scheme, viewport):
    page = visit(light, color_scheme=scheme, viewport=viewport)
    assert serious(page) == []
    use_example(page)
    assert serious(page) == []
    page.evaluate(SHOW_EXPLANATION)
    page.wait_for_selector("#why-result:not([hidden])")
    assert serious(page) == []
    paste(page, "\n".join(["day,units", *days(), "2026-02-31,x"]))
    assert page.is_visible("#rows-card")
    assert serious(page) == []


# As the worker would answer, without one.
SHOW_EXPLANATION = """async () => {
  const card = await (await fetch("/model")).json();
  const by_feature = Object.fromEntries(card.features.map((name, i) => [name, (5 - i) * 3.25]));
  const by_day = { 1: 10, "2-3": 5, ahead: 20.75 };
  const rows = Object.values(by_feature).map((share) => [share / 2, share / 4, share / 4]);
  const shares = Object.values(by_feature).reduce((a, b) => a + b);
  const result = { horizon_day: 1, level: 0.5, base_value: 100, output_value: 100 + shares,
    by_feature, by_day, feature_by_day: rows, additivity_error: 1e-9, background_windows: 3 };
  const real = window.fetch;
  window.fetch = (path, options) => String(path).startsWith("/explanations/")
    ? Promise.resolve(new Response(JSON.stringify({ status: "done", model_version: 7, result })))
    : real(path, options);
  document.querySelector("#why-run").click();
}"""


def test_page_loads_less_than_three_hundred_kilobytes(light, visit):
    page = visit(light, locale="pt-BR")
    sizes = page.evaluate(
        "performance.getEntries().filter((e) => e.transferSize)"
        ".map((e) => [e.name, e.transferSize])"
    )
    assert len(sizes) > 15
    assert sum(size for _, size in sizes) < WEIGHT


def learned_model(folder, **data):
    """Return a copy of the tiny model that says what it has learned from."""
    shutil.copytree(TINY_MODEL, folder)
    contract = json.loads((folder / "contract.json").read_text())
    contract["settings"]["data"] = data
    (folder / "contract.json").write_text(json.dumps(contract))
    return folder


@pytest.fixture(scope="module")
def of_shops(tmp_path_factory):
    """A server whose model has learned two shops with a usual value of 8 to 12."""
    shelf = Shelf(production=7)
    folder = tmp_path_factory.mktemp("shops")
    shelf.folders[7] = learned_model(
        folder / "model", name="sales.csv", series=2, rows=800, names=["north", "south"],
        levels=[8.0, 12.0],
    )  # fmt: skip
    app = app_on(shelf, folder)
    with threaded(app) as address:
        yield address
    close(app)


def test_page_says_what_the_model_has_learned_from(of_shops, visit):
    page = visit(of_shops)
    page.wait_for_selector("#learned:not(:empty)")
    assert page.inner_text("#learned").startswith(
        "The served model has learned from sales.csv · 2 series, 1 Jan 2022 to "
    )
    assert page.is_hidden("#doubts")


def test_page_warns_of_an_upload_unlike_what_was_learned(of_shops, visit):
    page = visit(of_shops)
    rows = [f"{line},{name}" for name in ("north", "west") for line in days(70)]
    paste(page, "\n".join(["day,units,shop", *rows]))
    page.wait_for_selector("#doubts li")
    assert page.locator("#doubts li").all_inner_texts() == [
        "Not among the series that the model has learned: west (1 of 2)."
    ]
    rows = [line.replace(",", ",9000") for line in days(70)]
    paste(page, "\n".join(["day,units", *rows]))
    assert "Of another size" in page.inner_text("#doubts")
    assert "usual value is 8 to 12" in page.inner_text("#doubts")
    assert "(1 of 1)" not in page.inner_text("#doubts")


def test_page_shows_the_warnings_of_the_answer(light, visit):
    page = visit(light)
    weekdays = [line for i, line in enumerate(days(112, start="2026-01-05")) if i % 7 < 5]
    paste(page, "\n".join(["day,units", *weekdays]))
    page.click("#run")
    page.wait_for_selector("#doubts li")
    assert page.inner_text("#doubts") == "Closed (Saturday, Sunday): 0 is forecast there"


def test_page_refuses_weekly_data_beside_the_button(light, visit):
    page = visit(light, allowed=("422",))
    weeks = days(500)[::7]
    paste(page, "\n".join(["day,units", *weeks]))
    page.click("#run")
    page.wait_for_selector("#run-note.fault")
    assert "weekly data found (72 values)" in page.inner_text("#run-note")


def test_page_sends_rows_behind_the_last_value_as_the_future(light, visit):
    page = visit(light)
    known = [f"{line},0" for line in days(70)]
    ahead = ["2026-03-12,,", "2026-03-13,,1", "2026-05-30,,1"]
    paste(page, "\n".join(["day,units,promo", *known, *ahead]))
    assert "plans for 3 days ahead" in page.inner_text("#summary")
    with page.expect_request("**/forecast") as sent:
        page.click("#run")
    (series,) = json.loads(sent.value.post_data)["series"]
    assert series["history"][-1]["date"] == "2026-03-11"
    assert [row["date"] for row in series["future"]] == ["2026-03-12", "2026-03-13"]
    page.wait_for_selector("#table-card:not([hidden])")


@pytest.fixture(scope="module")
def planner(tmp_path_factory):
    """The application with a model that adds up days; its horizon is three days."""
    folder = tmp_path_factory.mktemp("planner")
    shelf = Shelf(production=7)
    shelf.folders[7] = ranked_model(folder / "model")
    app = app_on(shelf, folder)
    with threaded(app) as address:
        yield address
    close(app)


def plan_a_promotion(page):
    """Add a scenario by keyboard, with an event on the first day, and compare it."""
    page.focus("#scenario-new")
    page.keyboard.press("Enter")
    page.keyboard.type("Promotion")
    page.focus("#scenario-days input")
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    page.wait_for_selector("#scenario-result:not([hidden])")


def test_model_without_ranks_shows_no_totals(light, visit):
    page = visit(light)
    use_example(page)
    assert page.locator("#plan-card").is_hidden()


def test_totals_stand_above_the_days_for_the_series_and_for_all(planner, visit):
    page = visit(planner)
    use_example(page)
    rows = page.locator("#totals tbody tr").all_inner_texts()
    assert any(row.startswith("All series") for row in rows)
    tops = [page.locator(name).bounding_box()["y"] for name in ("#totals", "#table")]
    assert tops == sorted(tops)


def test_order_is_worked_out_for_the_series_that_is_shown(planner, visit):
    page = visit(planner)
    use_example(page)
    page.fill("#order-days", "2")
    page.fill("#order-stock", "100000")
    page.press("#order-stock", "Enter")
    page.wait_for_selector("#order:not([hidden])")
    assert float(page.locator("#order dd").first.inner_text()) == 0
    page.select_option("#series-pick", index=1)
    assert page.locator("#order").is_hidden()


def test_scenario_is_compared_and_drawn_by_keyboard_alone(planner, visit):
    page = visit(planner)
    use_example(page)
    plan_a_promotion(page)
    assert "Difference" in page.locator("#scenario-totals").inner_text()
    assert page.locator("#key .scenario").count() == 1
    page.click("#scenario-copy")
    assert page.locator("#scenario-days input").first.input_value() == "1"
    page.click("#scenario-remove")
    page.click("#scenario-remove")
    assert page.locator("#key .scenario").count() == 0


def test_scenario_without_a_change_says_what_to_do(planner, visit):
    page = visit(planner)
    use_example(page)
    page.click("#scenario-new")
    page.click("#scenario-editor button")
    assert page.locator("#scenario-note").inner_text() == "Change at least one day first."


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_planning_has_no_serious_fault_for_axe(planner, visit, language, viewport):
    page = visit(planner, path=f"/?lang={language}", viewport=viewport)
    use_example(page)
    page.click("#order-form button")
    page.wait_for_selector("#order:not([hidden])")
    plan_a_promotion(page)
    assert serious(page) == []
    assert settled_width(page) == viewport["width"]


# As lib.monitoring.findings writes them: the days of a series, and two tables.
DAYS_DRAWN = [
    {"date": f"2026-10-{n:02d}", "actual": 90.0 + n, "median": 92.0 + n, "lower": 80.0 + n}
    | {"upper": 104.0 + n}
    for n in range(1, 29)
]
SCORE = {"forecasts": 84, "series": 1, "mae": 12.5, "wape": 12.0, "mase": 1.91, "coverage": 0.55}
SERIES_FINDINGS = {
    "status": "unknown",
    "evidence": {"forecasts": 588, "actuals": 201, "days": 9, "series": 3, "enough": False}
    | {"reason": "34% of the forecasts have their actual, 50% are needed"},
    "stability": {"revisions": 300, "moved": 4.21},
    "worst_series": [
        SCORE | {"name": "Shop 7", "history": DAYS_DRAWN},
        SCORE | {"name": "Shop 2", "mase": None, "history": []},
    ],
    "groups": [SCORE | {"name": "region: north", "series": 12}],
    "anomalies": [
        {"series_id": "Shop 7", "date": "2026-10-28", "actual": 210.0, "lower": 80.0}
        | {"upper": 104.5, "side": "above", "days": days, "persistent": days > 2}
        for days in (4, 1)
    ],
}


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("language", ["en", "pt-BR"])
def test_page_shows_what_a_check_saw_of_each_series(tmp_path, visit, language, viewport):
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_text(json.dumps(FINDINGS | SERIES_FINDINGS))
    texts = messages()[language]
    with local(tmp_path) as address:
        page = visit(address, path=f"/?lang={language}", locale=language, viewport=viewport)
        evidence = page.inner_text("#evidence")
        assert evidence.startswith(texts["evidence_unknown"])
        assert "34% of the forecasts" in evidence
        assert ("4,2 %" if language == "pt-BR" else "4.2 %") in evidence
        assert page.locator("#worst tbody tr").count() == 2
        assert page.locator("#worst button").all_inner_texts() == ["Shop 7"]
        assert page.is_hidden("#worst-figure")
        page.click("#worst button")
        page.wait_for_selector("#worst-chart canvas")
        assert "Shop 7" in page.inner_text("#worst-readout")
        assert page.get_attribute("#worst button", "aria-expanded") == "true"
        assert page.locator("#anomalies .tag").all_inner_texts() == [
            texts["anomaly_days"].format(count=4),
            texts["anomaly_single"],
        ]
        assert "region: north" in page.inner_text("#groups")
        assert settled_width(page) == viewport["width"]
        assert serious(page) == []
        if folder := os.environ.get("PICTURES"):
            name = f"monitoring-{language}-{viewport['width']}.png"
            page.locator("#model").screenshot(path=f"{folder}/{name}")
        page.click("#worst button")
        assert page.is_hidden("#worst-figure")


def run_in_page(page, script, *arguments):
    """Run a body of a function with the page's modules for reading a table, and its arguments."""
    return page.evaluate(
        """async ([body, given]) => {
          const folder = document.querySelector('link[href$="/csv.js"]').href;
          const csv = await import(folder);
          const columns = await import(folder.replace("csv.js", "columns.js"));
          const steps = { ...csv, ...columns };
          return steps[body](...given) ?? null;
        }""",
        [script, list(arguments)],
    )


NUMBERS = [
    ("1.234,5", ",", 1234.5, ""),
    ("1,234.5", ".", 1234.5, ""),
    ("1.234.567", ",", 1234567, ""),
    ("1 234,5", ",", 1234.5, ""),
    ("1\u202f234\u202f567,5", ",", 1234567.5, ""),
    ("1'234.5", ".", 1234.5, ""),
    ("R$ 1.234,50", ",", 1234.5, "R$"),
    ("-R$ 5,5", ",", -5.5, "R$"),
    ("3.867,50 €", ",", 3867.5, "€"),
    ("$1,234.50", ".", 1234.5, "$"),
    ("12.5 EUR", ".", 12.5, "EUR"),
    ("\u22125.5", ".", -5.5, ""),
    ("5 %", ".", None, ""),
    ("1 23,5", ",", None, ""),
    ("12.34.56", ".", None, ""),
]


def test_page_reads_numbers_as_they_are_written_in_countries(light, visit):
    page = visit(light)
    for cell, decimal, number, sign in NUMBERS:
        assert run_in_page(page, "readNumber", cell, decimal) == number
        assert run_in_page(page, "currencyOf", cell) == sign
        if number is not None:
            assert run_in_page(page, "findDecimal", [cell, "1"], "\t") == decimal


MARKS = [
    (["985,50", "1000"], ";", ",", ""),
    (["1.234", "2.345"], ";", ".", "1.234"),
    (["1.234", "2.345"], ",", ".", ""),
    (["1.234", "1,5"], ";", ",", ""),
    (["1,234"], ";", ",", "1,234"),
    (["1,234"], "\t", ".", "1,234"),
]


def test_page_finds_the_decimal_mark_and_tells_a_doubt(light, visit):
    page = visit(light)
    for cells, separator, mark, doubt in MARKS:
        assert run_in_page(page, "findDecimal", cells, separator) == mark
        assert run_in_page(page, "findDoubt", cells, separator) == doubt


def german(count=70, first=0):
    """Rows of a day and a number as they are written in Germany."""
    days = pd.date_range("2011-01-01", periods=count + first)[first:]
    return [f"{day:%d.%m.%Y};{985 + i % 7},50" for i, day in enumerate(days)]


def sent_by(page):
    """Press Forecast and return the series of the request, once it is answered."""
    with page.expect_request("**/forecast") as request:
        page.click("#run")
    page.wait_for_selector("#table-card:not([hidden])")
    return request.value.post_data_json["series"]


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_page_detects_a_decimal_comma_beside_dates_with_points(light, visit, language):
    page = visit(light, path=f"/?lang={language}")
    paste(page, "\n".join(["sep=;", "Datum;Menge", *german()]))
    assert page.locator("#map-value option:checked").inner_text() == "Menge"
    assert page.input_value("#decimal") == ","
    [series] = sent_by(page)
    assert series["history"][0] == {"date": "2011-01-01", "value": 985.5}
    page.select_option("#decimal", ".")
    assert messages()[language]["fault_decimal"] in page.inner_text("#rows")


def test_page_tells_currency_signs_and_refuses_a_second_one(light, visit):
    rows = [row.replace(";", ";R$ ") for row in german()]
    page = visit(light)
    paste(page, "\n".join(["Datum;Menge", *rows]))
    assert page.inner_text("#data-notes") == "“Menge”: the sign R$ is left out of its numbers."
    assert sent_by(page)[0]["history"][0]["value"] == 985.5
    rows[5] = rows[5].replace("R$", "€")
    paste(page, "\n".join(["Datum;Menge", *rows]))
    assert "In €, where earlier rows are in R$" in page.inner_text("#rows")


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_page_tells_shops_of_different_length_apart_and_sorts_their_days(light, visit, language):
    words = messages()[language]
    page = visit(light, path=f"/?lang={language}")
    long, short = german(120), german(70, first=50)
    rows = [f"{row};Centro" for row in long] + [f"{row};Norte" for row in reversed(short)]
    paste(page, "\n".join(["Datum;Menge;Filiale", *rows]))
    assert page.locator("#map-series option:checked").inner_text() == "Filiale"
    assert words["note_sorted"] in page.inner_text("#data-notes")
    page.select_option("#map-series", "-1")
    assert page.inner_text("#data-fault") == words["fault_several"].format(count=70)
    page.select_option("#map-series", label="Filiale")
    first, second = sent_by(page)
    assert [len(first["history"]), len(second["history"])] == [120, 70]
    assert second["history"][0]["date"] == "2011-02-20"


def test_a_category_of_single_days_is_no_series(light, visit):
    page = visit(light)
    rows = [f"{row},{'sun' if i % 3 else 'rain'}" for i, row in enumerate(days())]
    paste(page, "\n".join(["day,units,weather", *rows, rows[5]]))
    assert page.input_value("#map-series") == "-1"
    assert "2026-01-06 appears twice" in page.inner_text("#rows")


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_page_reads_a_wide_file_as_series_on_request(light, visit, language):
    page = visit(light, path=f"/?lang={language}")
    rows = [f"{row},{50 + i % 5 if i > 3 else ''}" for i, row in enumerate(days(80))]
    paste(page, "\n".join(["day,Shop A,Shop B", *rows]))
    told = messages()[language]["note_wide"].format(column="Shop B")
    assert page.inner_text("#data-notes") == told
    assert serious(page) == []
    page.check("#wide")
    first, second = sent_by(page)
    assert [first["series_id"], second["series_id"]] == ["Shop A", "Shop B"]
    assert first["history"][0] == {"date": "2026-01-01", "value": 100}
    assert second["history"][0] == {"date": "2026-01-05", "value": 54}
    assert page.is_hidden("#data-notes")
    page.uncheck("#wide")
    assert len(page.locator("#series-pick option").all()) == 1
    paste(page, "\n".join(["day,units", *days()]))
    assert page.is_hidden("#wide-offer")


@pytest.fixture(scope="module")
def without_covariates(tmp_path_factory):
    """The application with a model that has learned the effect of no covariate, and totals."""
    folder = tmp_path_factory.mktemp("plain")
    shelf = Shelf(production=7)
    shelf.folders[7] = add_covariates(ranked_model(folder / "model"), [])
    contract = json.loads((folder / "model" / "contract.json").read_text())
    contract["metrics"] |= {"mase": 1.43, "wape": 25.0, "wql": 20.0}
    (folder / "model" / "contract.json").write_text(json.dumps(contract))
    shelf.baselines = {
        "seasonal_naive": {"mase": 1.8, "wape": 31.0, "wql": 26.0},
        "mean_7": {"mase": 2.1, "wape": 30.0, "wql": 27.0},
    }
    app = app_on(shelf, folder)
    with threaded(app) as address:
        yield address
    close(app)


def test_page_forecasts_what_a_call_forecasts_of_the_same_file(without_covariates, visit):
    page = visit(without_covariates)
    rows = [f"{row},{0.3 + i % 9 / 20},{int(i % 9 == 0)}" for i, row in enumerate(days(90))]
    paste(page, "\n".join(["day,cnt,temp,holiday", *rows]))
    assert [page.input_value(f"#map-{role}") for role in ("factor", "event")] == ["-1", "-1"]
    sent_by(page)
    history = [{"date": row[:10], "value": float(row.split(",")[1])} for row in rows]
    called = page.request.post(f"{without_covariates}/forecast", data={"history": history})
    expected = [day["prediction"] for day in called.json()["forecasts"][0]["forecast"]]
    shown = [float(text) for text in page.locator("#table td.mid").all_inner_texts()]
    assert shown == pytest.approx(expected, abs=0.05)
    assert page.is_hidden("#doubts")
    page.select_option("#map-factor", label="temp")
    assert "“temp” is sent as external factor, which the model has not learned" in page.inner_text(
        "#doubts"
    )


CHOICES = [
    (None, None, [2, 3]),
    ([], 0.0, [-1, -1]),
    (["fator_externo"], 0.5, [2, -1]),
    (["fator_externo"], 20.0, [-1, -1]),  # another factor than this
    (["evento_especial"], 0.0, [-1, 3]),
]


def test_page_chooses_only_what_the_model_has_learned(light, visit):
    page = visit(light)
    for learned, mean, expected in CHOICES:
        rows = [f"{row},{0.3 + i % 9 / 20},{int(i % 9 == 0)}" for i, row in enumerate(days(90))]
        table = run_in_page(page, "parse", "\n".join(["day,cnt,temp,holiday", *rows]))
        scaling = {} if mean is None else {"factor_mean": mean, "factor_std": 0.2}
        found = run_in_page(page, "guess", table, [], {"learned": learned, "scaling": scaling})
        assert [found["factor"], found["event"], found["value"]] == [*expected, 1]


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_page_shows_the_best_simple_forecast_of_the_same_backtest(
    without_covariates, visit, language
):
    words = messages()[language]
    page = visit(without_covariates, path=f"/?lang={language}", locale=language)
    assert page.inner_text("#backtest-verdict") == words["backtest_better"]
    shown = page.locator("#backtest dd.note").all_inner_texts()
    mark = "," if language == "pt-BR" else "."
    score = f"1{mark}8"
    mase = words["m_beside"].format(score=score, name=words["baseline_seasonal_naive"])
    assert mase in shown
    assert any(words["baseline_mean_7"] in text for text in shown)  # its WAPE is lower


LEVELS = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95]


def with_all_levels(page):
    """Answer as a model of seven levels and large numbers would."""

    def card(route):
        route.fulfill(json=route.fetch().json() | {"quantiles": LEVELS})

    def forecast(route):
        body = route.request.post_data_json | {"levels": [0.1, 0.5, 0.9]}
        answer = route.fetch(post_data=body).json() | {"levels": LEVELS}
        route.fulfill(json=json.loads(json.dumps(answer), object_hook=fill))

    def fill(values):
        if "0.5" not in values:
            return values
        return {f"{level:g}": 123_456 + 1000 * level for level in LEVELS}

    page.route("**/model", card)
    page.route("**/forecast", forecast)


@pytest.mark.parametrize("language", list(LANGUAGES))
@pytest.mark.parametrize("width", [390, 1200, 1440])
def test_totals_are_not_cut_off(planner, visit, language, width):
    page = visit(planner, path=f"/?lang={language}", viewport={"width": width, "height": 900})
    with_all_levels(page)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    use_example(page)
    assert page.locator("#totals thead th").count() == 5
    place = "document.querySelector('#totals').closest('.scroll')"
    assert page.evaluate(f"{place}.scrollWidth - {place}.clientWidth") <= 0
    assert settled_width(page) == width
    if folder := os.environ.get("PICTURES"):
        page.locator("#plan-card").screenshot(path=f"{folder}/totals-{language}-{width}.png")


@pytest.mark.parametrize("language", list(LANGUAGES))
def test_scenario_says_what_each_covariate_makes_by_the_names_of_the_file(planner, visit, language):
    page = visit(planner, path=f"/?lang={language}")
    rows = [f"{row},{5 + i % 3},{int(i % 9 == 0)}" for i, row in enumerate(days(90))]
    paste(page, "\n".join(["day,units,price,promo", *rows]))
    sent_by(page)
    page.click("#scenario-new")
    heads = page.locator("#scenario-days thead th").all_text_contents()
    assert heads[1:] == ["promo", "price"]
    fields = page.locator("#scenario-days tbody tr").first.locator("input")
    fields.nth(0).fill("1")
    fields.nth(1).fill("9")
    with page.expect_response("**/forecast") as answered:
        page.click('#scenario-form button[data-t="scenario_run"]')
    page.wait_for_selector("#scenario-result:not([hidden])")
    [forecast] = answered.value.json()["forecasts"]
    [scenario] = forecast["scenarios"].values()
    parts = scenario["difference"][0]["by_covariate"]
    assert sum(parts.values()) == pytest.approx(scenario["difference"][0]["mean"])
    names = page.locator("#scenario-totals .part th").all_text_contents()
    part = messages()[language]["scenario_part"]
    assert set(names) == {part.format(name="promo"), part.format(name="price")}
    assert serious(page) == []


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """The application in this process, with nothing registered: the pretrained network answers."""
    with contextlib.closing(App(tmp_path_factory.mktemp("untrained"), Shelf())) as app:
        yield app.address


class App:
    """An application on a shelf, from its first look at it on."""

    def __init__(self, folder, shelf):
        settings = settings_of(folder)
        self.model = LiveModel(settings, registry=lambda: shelf)
        self.model._attempt()
        self.model.start = lambda: None
        self._app = create_app(settings, model=self.model)
        self._server = threaded(self._app)
        self.address = self._server.__enter__()

    def close(self):
        self._server.__exit__(None, None, None)
        close(self._app)


SHOPS = ("north", "south")
CATEGORIES = ["sun", "rain", "snow"]
PRETRAINED_DAYS = 28


def of_a_stranger(days=120, ahead=14):
    """Lines of a file of eight columns; four are also known for some days after the last value."""
    lines = ["date,shop,units,price,promo,weather,temperature,region"]
    for level, shop, region in zip((80, 300), SHOPS, ("city", "coast"), strict=True):
        for i, day in enumerate(pd.date_range("2026-01-01", periods=days + ahead)):
            price, promo = 10 + i * 7 % 11 / 10, "yes" if i % 9 == 4 else "no"
            units = level + 10 * day.day_of_week + 30 * (promo == "yes") if i < days else ""
            warm = i % 20 - 5.5
            weather = CATEGORIES[i * 5 % 7 % 3]
            lines.append(
                f"{day:%Y-%m-%d},{shop},{units},{price:.2f},{promo},{weather},{warm},{region}"
            )
    return "\n".join(lines)


def own_covariates(page):
    """What the page shows of the covariates of a file: role, whether used, and kind, by name."""
    return page.evaluate(
        """() => {
          const labels = [...document.querySelectorAll("#map-covariates label")];
          const chosen = (id) => document.getElementById(id).selectedOptions[0].textContent;
          return Object.fromEntries(labels.map((label, i) => {
            const role = label.querySelector("small").textContent;
            const selects = [chosen(`map-covariate-${i}`), chosen(`map-kind-${i}`)];
            return [label.firstChild.textContent, [role, ...selects]];
          }));
        }"""
    )


FOUND = {
    "price": ["also ahead", "used", "number"],
    "promo": ["also ahead", "used", "event"],
    "weather": ["also ahead", "used", "category"],
    "temperature": ["also ahead", "used", "number"],
    "region": ["one a series", "used", "category"],
}


def test_page_takes_the_columns_of_a_stranger_before_anything_was_trained(untrained, visit):
    page = visit(untrained)
    words = messages()["en"]
    assert page.inner_text("#status") == words["source_pretrained"]
    assert page.inner_text("#learned") == words["learned_any"]
    assert page.is_hidden("#map-model")  # there is no file yet
    paste(page, of_a_stranger())
    roles = {r: page.locator(f"#map-{r} option:checked").inner_text() for r in (*ROLES, "series")}
    named = {"date": "date", "value": "units", "series": "shop"}
    assert roles == named | {"factor": "none", "event": "none"}
    assert page.inner_text("#map-lead") == words["columns_any"]
    assert own_covariates(page) == FOUND
    assert page.is_hidden("#doubts")
    # A price in steps is a category, and the temperature is left out.
    page.select_option("#map-kind-0", "category")
    page.select_option("#map-covariate-3", "-1")
    assert page.is_disabled("#map-kind-3")
    found = own_covariates(page)
    assert found["price"] == ["also ahead", "used", "category"]
    assert found["temperature"] == ["also ahead", "left out", "number"]
    series = sent_by(page)
    assert [one["static"] for one in series] == [{"region": "city"}, {"region": "coast"}]
    first = {"date": "2026-01-01", "value": 110, "price": "10.00", "promo": 0, "weather": "sun"}
    assert series[0]["history"][0] == first
    planned = {"date": "2026-05-01", "price": "10.40", "promo": 0, "weather": "snow"}
    assert series[0]["future"][0] == planned
    assert len(series[0]["future"]) == 14
    assert page.locator("#table tbody tr").count() == PRETRAINED_DAYS
    assert "also ahead" in page.inner_text("#doubts")
    assert page.inner_text("#doubts li").startswith(
        "Forecast by the pretrained network, calibrated on these series with price (category, also"
    )
    assert page.locator("#totals tbody tr").first.is_visible()
    assert serious(page) == []
    # What was chosen outlasts another language, and a new file begins anew.
    page.click("[data-lang=pt-BR]")
    page.wait_for_selector("html[lang=pt-BR]")
    assert own_covariates(page)["price"] == ["também à frente", "usada", "categoria"]
    assert "price (categoria, também à frente)" in page.inner_text("#doubts li >> nth=0")
    page.click("[data-lang=en]")
    page.wait_for_selector("html[lang=en]")
    paste(page, of_a_stranger())
    assert own_covariates(page) == FOUND


def test_untrained_scenario_plans_the_columns_of_the_file(untrained, visit):
    page = visit(untrained)
    paste(page, of_a_stranger())
    page.select_option("#map-covariate-3", "-1")
    sent_by(page)
    page.select_option("#series-pick", "south")
    before = page.locator("#totals tbody tr td.mid").all_inner_texts()
    page.click("#scenario-new")
    heads = page.locator("#scenario-days thead th").all_text_contents()
    assert heads[1:] == ["price", "promo", "weather"]
    row = page.locator("#scenario-days tbody tr").nth(1)
    assert row.locator("option").all_text_contents()[1:] == sorted(CATEGORIES)
    row.locator("input").nth(1).fill("1")
    row.locator("select").select_option("snow")
    with page.expect_request("**/forecast") as sent:
        page.click('#scenario-form button[data-t="scenario_run"]')
    page.wait_for_selector("#scenario-result:not([hidden])", timeout=60_000)
    body = sent.value.post_data_json
    assert [one["series_id"] for one in body["series"]] == list(SHOPS)
    [planned] = body["scenarios"].values()
    assert planned == {"south": [{"date": "2026-05-02", "promo": 1, "weather": "snow"}]}
    # The network is calibrated on the same series: the forecast without the scenario is the same.
    figures = page.locator("#scenario-totals tbody tr:not(.part) td.mid").all_inner_texts()
    whole, difference = (float(text.replace(",", "")) for text in figures[-2:])
    assert whole - difference == pytest.approx(
        float(before[len(figures) // 2 - 1].replace(",", "")), abs=1.5
    )
    page.click("#order-form button")
    page.wait_for_selector("#order:not([hidden])", timeout=60_000)


def test_scenarios_are_offered_only_where_something_can_be_planned(untrained, visit):
    page = visit(untrained)
    lines = of_a_stranger().split("\n")
    known = [line for line in lines if line.split(",")[2]]
    paste(page, "\n".join(known))
    assert own_covariates(page)["price"] == ["up to today", "used", "number"]
    sent_by(page)
    assert page.is_visible("#order-card")
    assert page.is_hidden("#scenario-card")
    page.select_option("#map-factor", label="price")
    sent_by(page)
    assert page.is_visible("#scenario-card")


def test_untrained_explanation_names_the_columns_of_the_file(tmp_path, visit):
    settings = settings_of(tmp_path)
    names = ("mlflow_tracking_uri", "mlflow_artifact_root", "database_url")
    environment = {name.upper(): getattr(settings, name) for name in names}
    with gunicorn(tmp_path / "log", VAR_DIR=str(tmp_path), **environment) as address:
        page = visit(address)
        paste(page, of_a_stranger())
        sent_by(page)
        with page.expect_request("**/request-explanation") as asked:
            page.click("#table tbody tr:nth-child(2) button")
        page.wait_for_selector("#why-result:not([hidden])", timeout=120_000)
        body = asked.value.post_data_json
        assert body["static"] == {"region": "city"}
        daily = {"price", "promo", "weather", "temperature"}
        assert body["history"][0].keys() == {"date", "value"} | daily
        assert body["future"][0].keys() == {"date"} | daily
        shown = page.locator("#why-bars tbody th").all_inner_texts()
        assert "promo" in shown
        assert "weather" not in shown  # it follows the week, and says no more
        assert page.inner_text("#why-alone") == messages()["en"]["why_alone"]
        assert page.is_hidden("#why-version")


def test_page_takes_the_covariates_of_a_model_that_is_trained_meanwhile(tmp_path, visit):
    shelf = Shelf()
    shelf.folders[7] = add_covariates(ranked_model(tmp_path / "model"))
    with contextlib.closing(App(tmp_path, shelf)) as app:
        page = visit(app.address)
        page.clock.install()
        page.reload()
        page.wait_for_selector("html[data-ready]")
        paste(page, of_a_stranger())
        assert list(own_covariates(page)) == list(FOUND)
        sent_by(page)
        shelf.aliases = {"production": 7}
        app.model.refresh()
        page.clock.run_for(31_000)
        page.wait_for_selector("#status:has-text('Version 7')")
        labels = page.locator("#map-covariates label").all_text_contents()
        assert labels[0] == "price (number, also ahead)"
        assert page.inner_text("#map-lead") == messages()["en"]["columns_model"]
        chosen = page.locator("#map-covariates select").evaluate_all(
            "all => all.map((each) => each.selectedOptions[0].textContent)"
        )
        assert chosen == ["price", "promo", "weather", "none", "region"]
        assert page.is_hidden("#table-card")  # of the network before
        assert page.inner_text("#learned") == ""


def covariates_of(page, *lines):
    """The covariates of a file: role, kind and whether it is used, by name."""
    return page.evaluate(
        """async (text) => {
          const at = (name) => import(document.querySelector(`link[href$="/${name}.js"]`).href);
          const { parse } = await at("csv");
          const { guess } = await at("columns");
          const { findCovariates } = await at("covariates");
          const table = parse(text);
          const mapping = guess(table, [], { any: true });
          const found = findCovariates(table, mapping, mapping.decimal);
          const of = ({ name, role, kinds, used }) => [name, [role, kinds.join("/"), used]];
          return Object.fromEntries(found.map(of));
        }""",
        "\n".join(lines),
    )


CELLS: dict[str, tuple[Callable[[int], object], list | None]] = {
    "number": (lambda i: i / 7, ["past", "number/category", True]),
    "faulty": (lambda i: "?" if i == 8 else i / 7, ["past", "number/category", True]),
    "code": (lambda i: i % 3 + 1, ["past", "category", True]),
    "visits": (lambda i: i % 3 + (i == 8), ["past", "number/category", True]),
    "flag": (lambda i: i % 2, ["past", "event/category", True]),
    "word": (lambda i: "sim" if i % 9 else "", ["past", "event/category", True]),
    "note": (lambda i: f"receipt {i}", ["past", "category", False]),
    "product": (lambda i: f"product {i % 51}", ["past", "category", False]),
    "day of delivery": (lambda i: f"2026-05-{i % 28 + 1:02}", None),
    "empty": (lambda _: "", None),
    "history": (lambda i: i / 7, None),
    "": (lambda i: i / 7, None),
    "ahead": (lambda i: i % 5 / 7 if i % 2 else "", ["known", "number/category", True]),
}


def test_kinds_of_columns_are_those_that_the_api_takes(untrained, visit):
    page = visit(untrained)
    shown = ",".join(["date", "units", *CELLS])
    rows = [
        f"{row}," + ",".join(str(cell(i)) for cell, _ in CELLS.values())
        for i, row in enumerate(days(120))
    ]
    plan = "2026-05-01,," + "," * (len(CELLS) - 1) + "0.5"
    found = covariates_of(page, shown, *rows, plan)
    assert found == {name: kind for name, (_, kind) in CELLS.items() if kind}
    # The API is sent what is used, and says the same of it.
    paste(page, "\n".join([shown, *rows, plan]))
    page.select_option("#map-covariate-1", "-1")  # it has a fault
    page.click("#run")
    page.wait_for_selector("#doubts li")
    told = page.inner_text("#doubts")
    for name, kind in found.items():
        first = kind[1].split("/")[0]
        used = kind[2] and name != "faulty"
        assert (f"{name} ({first}, " in told) == used, name


def test_columns_named_as_fields_of_the_api_stay_these(untrained, visit):
    page = visit(untrained)
    rows = [f"{row},{i % 9},{i % 2},{i % 7 / 3}" for i, row in enumerate(days(90))]
    paste(page, "\n".join(["date,value,fator_externo,evento_especial,temp", *rows]))
    assert [page.input_value(f"#map-{role}") for role in ("factor", "event")] == ["2", "3"]
    assert list(own_covariates(page)) == ["temp"]
    page.select_option("#map-factor", label="temp")  # a column has one role
    assert own_covariates(page) == {}
    page.select_option("#map-factor", "-1")
    assert list(own_covariates(page)) == ["temp"]
    assert page.is_hidden("#doubts")


def test_columns_that_may_each_be_a_series_are_no_covariates(untrained, visit):
    page = visit(untrained)
    rows = [f"{row},{50.5 + i % 5},{70.5 + i % 9}" for i, row in enumerate(days(80))]
    paste(page, "\n".join(["day,Shop A,Shop B,Shop C", *rows]))
    assert {used for _, used, _ in own_covariates(page).values()} == {"left out"}
    page.check("#wide")
    assert page.is_hidden("#map-model")
    assert len(sent_by(page)) == 3
    page.uncheck("#wide")
    page.select_option("#map-value", label="Shop B")  # the reader says that this is the value
    assert {name: used for name, (_, used, _) in own_covariates(page).items()} == {
        "Shop A": "used",
        "Shop C": "used",
    }


def test_fifty_covariates_are_used_at_most(untrained, visit):
    page = visit(untrained)
    heads = ",".join(f"c{i}" for i in range(53))
    cells = ",".join(f"{i}.5" for i in range(53))
    paste(page, "\n".join([f"date,units,{heads}", *(f"{row},{cells}" for row in days(60))]))
    assert len(own_covariates(page)) == 50
    told = messages()["en"]["note_many"].format(most=50, count=3)
    assert told in page.inner_text("#data-notes")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("language", list(LANGUAGES))
def test_covariates_of_a_file_fit_the_page(untrained, visit, language, viewport, scheme):
    page = visit(untrained, path=f"/?lang={language}", viewport=viewport, color_scheme=scheme)
    paste(page, of_a_stranger())
    assert settled_width(page) == viewport["width"]
    place = "document.querySelector('#map-covariates')"
    assert page.evaluate(f"{place}.scrollWidth - {place}.clientWidth") <= 0
    assert serious(page) == []
    if folder := os.environ.get("PICTURES"):
        sent_by(page)
        name = f"untrained-{language}-{viewport['width']}-{scheme}.png"
        page.screenshot(path=f"{folder}/{name}", full_page=True)
