"""The pages in a real browser: every link, no script, no request to anywhere else, the keyboard alone, hostile names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from mlobs_pipelines.report.site import paths
from mlobs_pipelines.report.static import write
from mlobs_pipelines.store.journal import decisions
from mlobs_pipelines.store.layout import Home
from tests.report.live import served

pytestmark = pytest.mark.slow

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
LARGEST = 300_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield running
        running.close()


class Watch:
    """What a browser did that it should not have done."""

    def __init__(self, context: Any, home: str) -> None:
        self.wrong: list[str] = []
        self.home = home
        context.route("**/*", self._request)

    def follow(self, page: Any) -> None:
        page.on(
            "console", lambda m: self.wrong.append(f"console: {m.text}") if m.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda e: self.wrong.append(f"error: {e}"))
        page.on("dialog", lambda d: (self.wrong.append(f"dialog: {d.message}"), d.dismiss()))

    def _request(self, route: Any) -> None:
        if route.request.url.startswith((self.home, "data:", "file:")):
            route.continue_()
        else:
            self.wrong.append(f"request: {route.request.url}")
            route.abort()


@pytest.fixture(scope="module")
def base(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    copied = tmp_path_factory.mktemp("browser") / "home"
    shutil.copytree(home.root, copied)
    with served(copied) as address:
        yield address


def opened(browser: Any, base: str, **options: Any) -> tuple[Any, Watch]:
    context = browser.new_context(**options)
    watch = Watch(context, base)
    page = context.new_page()
    watch.follow(page)
    return page, watch


def links_of(page: Any) -> set[str]:
    return {link.split("#")[0] for link in page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")}


@pytest.mark.parametrize("scripts", [True, False], ids=["with script", "without script"])
def test_every_link_leads_to_a_page_and_nothing_is_fetched(browser: Any, base: str, scripts: bool) -> None:
    page, watch = opened(browser, base)
    if not scripts:
        plain, watch = opened(browser, base, java_script_enabled=False)
    waiting, seen = {f"{base}/"}, set()
    while waiting:
        address = waiting.pop()
        seen.add(address)
        answer = page.goto(address)
        assert answer.status == 200, address
        if not scripts:
            plain.goto(address)
            assert plain.locator("h1").count() == 1, address
            assert plain.locator("main").inner_text().strip(), address
        for link in links_of(page):
            if link.startswith(base):
                waiting |= {link} - seen
            else:
                assert urlsplit(link).scheme in ("http", "https", "mailto"), link
    assert len(seen) > 20
    assert watch.wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_finding_of_axe(browser: Any, base: str, home: Home, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, _ = opened(browser, base, color_scheme=scheme, bypass_csp=True)
    found = []
    for path in paths(home):
        page.goto(urljoin(base, path))
        for violation in Axe().run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                where = [node["target"] for node in violation["nodes"]][:3]
                found.append(f"{path}: {violation['id']}: {violation['help']} {where}")
    assert found == []


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_no_page_is_wider_than_its_screen(browser: Any, base: str, home: Home, width: int) -> None:
    page, _ = opened(browser, base, viewport={"width": width, "height": 900})
    wide = []
    for path in paths(home):
        page.goto(urljoin(base, path))
        needed = page.evaluate("document.documentElement.scrollWidth")
        if needed > width:
            wide.append((path, needed))
    assert wide == []


def test_an_incident_is_acknowledged_by_the_keyboard_alone(browser: Any, base: str) -> None:
    page, watch = opened(browser, base)

    def reach(test: str, most: int = 80) -> None:
        """Press Tab until what has the focus passes a test in the page."""
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate(f"(() => {{ const e = document.activeElement; return {test}; }})()"):
                return
        pytest.fail(f"the keyboard does not reach {test}")

    page.goto(f"{base}/")
    reach("e.matches('a[href$=\"/models/card_fraud/\"]')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/card_fraud/")
    reach("e.matches('a[href*=\"/incidents/\"]')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/incidents/**")
    before = page.url
    reach("e.matches('form[action$=\"/actions/acknowledge\"] textarea')")
    page.keyboard.type("by the keyboard alone")
    reach("e.matches('form[action$=\"/actions/acknowledge\"] button')")
    page.keyboard.press("Enter")
    page.wait_for_load_state()
    assert page.url == before
    assert "acknowledged" in page.locator("main").inner_text()
    assert "by the keyboard alone" in page.locator("main").inner_text()
    assert watch.wrong == []


def test_a_decision_is_approved_on_its_page(browser: Any, home: Home, tmp_path: Path) -> None:
    shutil.copytree(home.root, tmp_path / "home")
    with served(tmp_path / "home") as base:
        page, watch = opened(browser, base, java_script_enabled=False)
        page.goto(f"{base}/models/card_fraud/decisions/")
        approve = page.locator("form[action$='/actions/approve']").first
        name = approve.locator("input[name=id]").get_attribute("value")
        approve.locator("textarea").fill("the challenger is better")
        approve.locator("button").click()
        page.wait_for_load_state()
        assert "That did not work" not in page.locator("main").inner_text()
        assert watch.wrong == []
    log = decisions(Home(tmp_path / "home")).filter(decision_id=name)
    assert log.row(-1, named=True)["status"] == "approved"


def test_hostile_names_and_values_stay_text(browser: Any, hostile: Home, tmp_path: Path) -> None:
    shutil.copytree(hostile.root, tmp_path / "home")
    with served(tmp_path / "home") as base:
        page, watch = opened(browser, base, bypass_csp=True)  # they must be text, not merely kept from running
        for path in paths(Home(tmp_path / "home")):
            answer = page.goto(urljoin(base, path))
            assert answer.status == 200, path
            assert "owned" not in page.title().replace("'owned'", ""), path
            assert page.locator("script, img[onerror], svg[onload], iframe, object, embed").count() == 0, path
            for link in links_of(page):
                assert urlsplit(link).scheme in ("http", "https", "mailto"), link
        assert watch.wrong == []


def test_files_work_from_the_disk_alone(browser: Any, home: Home, tmp_path: Path) -> None:
    shutil.copytree(home.root, tmp_path / "home")
    files = write(Home(tmp_path / "home"))
    page, watch = opened(browser, "file:")
    known = {file.as_uri() for file in files}
    for file in files:
        page.goto(file.as_uri())
        assert page.locator("h1").count() == 1
        for link in links_of(page):
            assert link in known or not link.startswith("file:"), f"{file}: {link}"
        assert page.locator("form").count() == 0
        assert file.stat().st_size <= LARGEST
    assert watch.wrong == []
