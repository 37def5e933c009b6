"""Reports in a real browser: nothing is asked of a network, and what is chosen is what is drawn.

Run by ``make test-browser``; left out where Playwright or a Chromium is missing.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.report.made import made_backtest, made_explanation
from tests.report.test_report import EVIL, needs_altair

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright: make test-browser installs it"
)
_FOUND = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
CHROMIUM = next((found for found in _FOUND if found), None)
pytestmark = [
    needs_altair,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("browser") / "report.html"
    ahead = made_explanation(["a", EVIL[0]], 1, start="2024-01-13", seed=1)
    made_explanation(["a", EVIL[0]]).to_html(
        path, ahead=ahead, backtest=made_backtest(("net", EVIL[1]))
    )
    return path


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as started:
        # As root, which is what a container runs as, Chromium starts without its sandbox alone.
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, path):
    """Open the page; in the end, nothing was asked of a network and nothing was complained of."""
    asked, said, pages, files = [], [], [], []

    def opening(width=1280, theme="light", of=path):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce"
        )
        page = context.new_page()
        pages.append(page)
        files.append(of.as_uri())
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto(of.as_uri())
        page.wait_for_selector("body[data-drawn=yes]")
        return page

    yield opening
    for page in pages:
        page.context.close()
    assert asked == files
    assert said == []


def table(page, name):
    """The texts of the table behind a chart, row by row."""
    page.locator(f"#table-{name}").evaluate("details => { details.open = true; }")
    page.wait_for_selector(f"#table-{name} td")
    rows = page.locator(f"#table-{name} tbody tr")
    return [row.split("\t") for row in rows.all_inner_texts()]


def test_a_click_on_a_step_changes_heatmap_and_table(opened):
    page = opened()
    assert "1 (2024-01-25)" in page.locator("#step-text").inner_text()
    assert {row[0] for row in table(page, "when-short")} == {"1"}
    frame = page.locator("#chart-heat-short .layer_1_marks path")
    before = frame.bounding_box()["y"]
    # The third of four transparent columns, one for each step.
    page.locator("#chart-fan .mark-rect path").nth(2).click()
    page.wait_for_function("document.querySelector('#step').value === '3'")
    assert "3 steps ahead, 2024-01-27" in page.locator("#said").inner_text()
    assert {row[0] for row in table(page, "when-short")} == {"3"}
    page.wait_for_timeout(100)
    assert frame.bounding_box()["y"] < before
    # And back, from the heatmap and from the keyboard.
    page.locator("#chart-heat-short .layer_0_marks path").first.click()
    assert page.locator("#step").input_value() == "1"
    page.locator("#step").focus()
    page.keyboard.press("ArrowRight")
    assert {row[0] for row in table(page, "when-long")} == {"2"}


def test_steps_far_apart_have_rows_beside_each_other(opened, tmp_path):
    path = tmp_path / "some.html"
    made_explanation(["a"], 1, horizon=28, asked=[1, 7, 28]).to_html(path)
    page = opened(of=path)
    chart = page.locator("#chart-heat-short")
    assert chart.locator(".role-axis-label text").all_text_contents()[-3:] == ["1", "7", "28"]
    rows = {}
    for cell in chart.locator(".layer_0_marks path").all():
        box = cell.bounding_box()
        rows.setdefault(round(box["y"]), box["height"])
    tops, heights = sorted(rows), list(rows.values())
    assert len(rows) == 3
    assert min(heights) > 20
    np.testing.assert_allclose(np.diff(tops), heights[0], atol=1.5)
    chart.locator(".layer_0_marks path").last.click()
    assert page.locator("#step").input_value() == "28"


def test_series_and_window_can_be_chosen(opened):
    page = opened()
    assert page.locator("#series option").all_inner_texts() == ["a", EVIL[0]]
    first = table(page, "fan")
    page.select_option("#series", index=1)
    page.wait_for_function("document.querySelector('#series').value === '1'")
    second = table(page, "fan")
    assert first != second
    page.select_option("#window", index=1)
    third = table(page, "fan")
    assert third != second
    # Of an older window the targets are known by now.
    assert third[0][-1] != ""
    assert page.locator("#chart-regimes svg").count() == 1


def test_no_name_becomes_a_tag(opened):
    page = opened()
    assert page.locator("main img, main script").count() == 0
    drawn = page.locator("#chart-error svg text").all_text_contents()
    assert any(text.startswith(EVIL[1][:20]) for text in drawn)
    # The tip of a point of that model, which comes first.
    page.locator("#chart-reliability").scroll_into_view_if_needed()
    box = page.locator("#chart-reliability .role-mark.mark-symbol path").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#vg-tooltip-element.visible")
    assert EVIL[1] in page.locator("#vg-tooltip-element").inner_text()
    assert page.locator("#vg-tooltip-element img").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_overflows(opened, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    folder = os.environ.get("REPORT_SCREENSHOTS")
    for width in (360, 768, 1440):
        page = opened(width, theme)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        for summary in page.locator("details > summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width != 768:
            found = axe.Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
        if folder:
            page.screenshot(path=Path(folder) / f"{theme}_{width}.png", full_page=True)


def test_the_theme_can_be_switched(opened):
    page = opened()
    line = page.locator("#chart-fan .mark-line path").first
    before = line.get_attribute("stroke")
    page.locator("#theme").click()
    page.wait_for_selector("body[data-drawn=yes]")
    assert page.locator("#theme").get_attribute("aria-pressed") == "true"
    assert page.locator("#chart-fan .mark-line path").first.get_attribute("stroke") != before
