"""The page in a real browser: it opens, filters, tells stories, and hostile text stays text.

Needs Chromium on the path and playwright (`pip install playwright`); skipped where either is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.records import row, run
from tests.reports.test_html import hostile
from tests.reports.test_stories import HOSTILE
from ttsi.record import Run
from ttsi.reports.html import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the path")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any, tmp_path: Path) -> Iterator[Any]:
    """Open runs as a page; whatever the page says, asks for or fails in is in `.messages`."""
    tab = chromium.new_page(viewport={"width": 400, "height": 800})
    tab.messages = []
    tab.on("console", lambda message: tab.messages.append(message.text))
    tab.on("pageerror", lambda error: tab.messages.append(str(error)))
    tab.on("dialog", lambda dialog: (tab.messages.append(dialog.message), dialog.dismiss()))
    tab.on("request", lambda request: tab.messages.append(request.url) if request.url[:5] != "file:" else None)

    def show(*runs: Run, changes: dict[str, str] | None = None) -> Any:
        html, _ = page(runs, "0.0")
        for old, new in (changes or {}).items():
            assert old in html
            html = html.replace(old, new, 1)
        (tmp_path / "page.html").write_text(html, encoding="utf-8")
        tab.goto((tmp_path / "page.html").as_uri())
        tab.wait_for_selector("#filters:not([hidden])")
        return tab

    yield show
    tab.close()


SLIPPED = {"</main>": "</main><script>alert('ran')</script>"}


def many() -> Run:
    return run([row(i, i % 3 == 0, i % 2 == 0, (i % 10) / 10) for i in range(120)])


def test_the_list_filters_searches_and_tells(open_page: Any) -> None:
    tab = open_page(many())
    entries = tab.locator("#list > li")
    assert entries.count() == 50
    tab.get_by_role("button", name="Show more").click()
    assert entries.count() == 100
    tab.locator("#verdicts label", has_text="fixed").click()
    assert entries.count() == 40
    tab.get_by_role("searchbox").fill("question 104 about")
    assert entries.count() == 1
    entries.first.locator("button").focus()
    tab.keyboard.press("Enter")
    story = tab.locator(".story")
    story.wait_for()
    text = story.inner_text()
    for part in (
        "weather of Rome please",
        "refused: grounded",
        "get_weather",
        "1, 0.5",
        "Before: wrong",
        "After: right",
    ):
        assert part in text
    tab.keyboard.press("Enter")
    assert story.count() == 0
    tab.get_by_role("searchbox").fill("no such words")
    assert "No input fits" in tab.locator("#shown").inner_text()
    assert tab.messages == []


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_sticks_out_of_the_window(open_page: Any, width: int) -> None:
    tab = open_page(many(), run([row(0)], "x" * 300))
    tab.set_viewport_size({"width": width, "height": 800})
    tab.locator("#list > li > button").first.click()
    tab.locator(".story").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_not_run(open_page: Any, text: str) -> None:
    tab = open_page(hostile(text))
    tab.locator("#list > li > button").first.click()
    tab.locator(".story").wait_for()
    assert tab.messages == []
    assert tab.locator("main img, main iframe, #list script").count() == 0
    printable = "".join(letter for letter in text.encode("utf-8", "replace").decode() if letter.isprintable())
    assert printable[:20] in tab.locator(".story").inner_text()


def test_control_script_that_slipped_in_would_be_stopped_and_seen(open_page: Any) -> None:
    tab = open_page(many(), changes=SLIPPED)
    assert any("Content Security Policy" in messages for messages in tab.messages)
    assert "ran" not in tab.messages


def test_control_an_alert_is_seen_where_no_policy_stops_it(open_page: Any) -> None:
    tab = open_page(many(), changes={**SLIPPED, "Content-Security-Policy": "no-policy"})
    assert tab.messages == ["ran"]
