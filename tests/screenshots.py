"""Pictures of the page for the README, and what a browser measures: `make screenshots`.

Needs Chromium and a registered model (`make train`). Writes docs/screenshots.
"""

import io
import json
import statistics
import sys
import tempfile
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import sync_playwright

from lib.settings import ROOT
from tests.serving.browser import BROWSER, gunicorn, launch

FOLDER = ROOT / "docs" / "screenshots"
VISITS = 7  # of which the median first paint is taken, each without a cache
DESKTOP = {"width": 1440, "height": 1010}
PHONE = {"width": 390, "height": 844}
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
WEIGHT = "performance.getEntries().reduce((all, e) => all + (e.transferSize || 0), 0)"


def main() -> int:
    if not BROWSER:
        sys.stderr.write("screenshots: no Chromium found; apt-get install chromium\n")
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = launch(playwright)
        try:
            with gunicorn(Path(folder) / "log") as address:
                draw(browser, address)
                figures = measure(browser, address)
        finally:
            browser.close()
    (FOLDER / "measured.json").write_text(json.dumps(figures, indent=1) + "\n")
    return 0


def draw(browser, address):
    page = visit(browser, address, viewport=DESKTOP)
    use_example(page)
    page.hover("#chart", position={"x": 830, "y": 150})
    keep(page, "desktop")
    explain(page)
    page.evaluate("window.scrollTo(0, 0)")  # or the bar would be in the picture
    box = page.locator("#why").bounding_box()
    clip = {"x": 0, "y": box["y"] + 20, "width": DESKTOP["width"], "height": box["height"] + 10}
    keep(page, "why", full_page=True, clip=clip)
    page = visit(browser, address, viewport=DESKTOP, color_scheme="dark", locale="pt-BR")
    use_example(page)
    keep(page, "dark")
    page = visit(browser, address, viewport=PHONE, locale="pt-BR")
    use_example(page)
    page.locator("#chart-card").evaluate("e => window.scrollTo(0, e.offsetTop - 12)")
    keep(page, "phone")


def visit(browser, address, **options):
    page = browser.new_context(
        **{"locale": "en-GB", "reduced_motion": "reduce"} | options
    ).new_page()
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    return page


def use_example(page):
    page.click("#example")
    page.wait_for_selector("#table tbody tr")


def explain(page):
    page.click("#table tbody tr:nth-child(5) button")
    page.wait_for_selector("#why-result:not([hidden])", timeout=120_000)


def keep(page, name, **options):
    page.wait_for_timeout(300)
    whole = Image.open(io.BytesIO(page.screenshot(**options))).convert("RGB")
    # A third of the bytes, by 256 colours that are within 11 of 765 of the right ones.
    image = whole.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    image.save(FOLDER / f"{name}.png", optimize=True)


def measure(browser, address):
    """First paint in ms, transferred bytes, and faults that axe finds, by impact."""
    paints, page = [], None
    for _ in range(VISITS):
        page = visit(browser, address, viewport=DESKTOP)
        paints.append(page.evaluate(FIRST_PAINT))
    assert page is not None
    weight = page.evaluate(WEIGHT)
    use_example(page)
    explain(page)
    found = Axe().run(page).response["violations"]
    impacts = ("critical", "serious", "moderate", "minor")
    return {
        "first_contentful_paint_ms": round(statistics.median(paints)),
        "first_contentful_paint_ms_slowest": round(max(paints)),
        "transferred_bytes": weight,
        "axe": {impact: sum(v["impact"] == impact for v in found) for impact in impacts},
        "axe_rules": sorted({v["id"] for v in found}),
    }


if __name__ == "__main__":
    raise SystemExit(main())
