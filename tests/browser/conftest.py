"""Debian's chromium, driven by Playwright, on a real relay of the test's own."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.support.relay_process import RelayProcess

CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A breach of the content security policy is an event of the page, not always a console line.
REPORT_VIOLATIONS = """
    document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
"""


@dataclass
class Problems:
    """What the browser complained about; `allow` names what a test brings about on purpose."""

    seen: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Complaints that match are no failure of this test."""
        self.allowed.append(pattern)

    def note(self, text: str) -> None:
        """Keep one complaint."""
        self.seen.append(text)

    @property
    def unexpected(self) -> list[str]:
        """What no pattern covers."""
        return [t for t in self.seen if not any(re.search(p, t) for p in self.allowed)]


# Module scope, not session: while Playwright's sync API runs, this thread has a running event
# loop, and tests of other folders that call asyncio.run() would fail.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is not installed, and CI must not skip the browser tests")
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture
def problems() -> Problems:
    return Problems()


@pytest.fixture
def viewport() -> tuple[int, int]:
    """Desktop; phone tests override it by parametrize."""
    return (1280, 800)


@pytest.fixture
def page(browser: Browser, problems: Problems, viewport: tuple[int, int]) -> Iterator[Page]:
    """A blank page that fails its test on any console error, exception or policy violation."""
    width, height = viewport
    context = browser.new_context(viewport={"width": width, "height": height})
    context.add_init_script(REPORT_VIOLATIONS)
    opened = context.new_page()

    def on_console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            problems.note(message.text)

    opened.on("console", on_console)
    opened.on("pageerror", lambda error: problems.note(f"{error}\n{error.stack}"))
    yield opened
    context.close()
    assert problems.unexpected == []


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """A relay without a token."""
    with RelayProcess(tmp_path) as running:
        yield running


# The relay comes first in a signature, so that it goes last: a page that outlives its relay
# would complain of the lost connection.
@pytest.fixture
def dashboard(relay: RelayProcess, page: Page) -> Page:
    """The dashboard of this test's relay, connected."""
    page.goto(relay.url)
    expect_live(page)
    return page


@pytest.fixture
def api(relay: RelayProcess) -> Iterator[httpx.Client]:
    """The relay's HTTP API, as a script would use it."""
    with httpx.Client(base_url=relay.url) as client:
        yield client


def expect_live(page: Page) -> None:
    """Wait until the page has its first complete read and an open stream."""
    expect(page.locator("[data-connection]")).to_have_attribute("data-connection", "live")
