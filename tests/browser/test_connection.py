"""Losing the relay, finding it again, and proving to it who we are."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Problems, expect_live
from tests.browser.people import agent_row, message_row, post, register
from tests.support.relay_process import RelayProcess

pytestmark = pytest.mark.browser

TOKEN = "a-token-for-this-test"


def test_after_a_killed_relay_comes_back_the_page_shows_what_was_sent_meanwhile(
    dashboard: Page, api: httpx.Client, relay: RelayProcess, problems: Problems
) -> None:
    problems.allow("Failed to load resource|net::ERR_")
    register(api, "codex-1")
    before = post(api, "operator", "codex-1", "before")
    expect(message_row(dashboard, before["id"])).to_be_visible()
    dashboard.evaluate("window.stillTheSamePage = true")

    # Without the network the page cannot be first at the restarted relay: the messages are
    # posted while it is away, whatever the timing.
    dashboard.context.set_offline(True)
    relay.kill()
    expect(dashboard.locator("[data-connection=live]")).to_have_count(0)
    expect(dashboard.get_by_text("What you see is from")).to_be_visible()
    relay.start()
    meanwhile = [post(api, "operator", "codex-1", f"meanwhile {n}") for n in range(70)]
    register(api, "claude-1")
    dashboard.context.set_offline(False)

    expect_live(dashboard)
    rows = dashboard.locator("[data-message]")
    expect(rows).to_have_count(71)
    shown = rows.evaluate_all("rows => rows.map(row => Number(row.dataset.message))")
    assert shown == [before["id"], *(message["id"] for message in meanwhile)]
    expect(agent_row(dashboard, "claude-1")).to_be_visible()
    assert dashboard.evaluate("window.stillTheSamePage") is True


def test_after_reconnecting_messages_are_live_again(
    dashboard: Page, api: httpx.Client, relay: RelayProcess, problems: Problems
) -> None:
    problems.allow("Failed to load resource|net::ERR_")
    register(api, "codex-1")
    relay.kill()
    expect(dashboard.locator("[data-connection=live]")).to_have_count(0)
    relay.start()
    expect_live(dashboard)

    sent = post(api, "operator", "codex-1", "and again")

    expect(message_row(dashboard, sent["id"])).to_be_visible(timeout=1000)


def test_a_draft_survives_a_lost_connection(
    dashboard: Page, relay: RelayProcess, problems: Problems
) -> None:
    problems.allow("Failed to load resource|net::ERR_")
    dashboard.get_by_label("Message", exact=True).fill("half a thought")

    relay.kill()
    expect(dashboard.locator("[data-connection=live]")).to_have_count(0)
    relay.start()
    expect_live(dashboard)

    expect(dashboard.get_by_label("Message", exact=True)).to_have_value("half a thought")


@pytest.fixture
def guarded(tmp_path: Path, problems: Problems) -> Iterator[RelayProcess]:
    """A relay with a token. Chromium writes a console line for each refused request."""
    problems.allow("the server responded with a status of 401")
    with RelayProcess(tmp_path, AGENT_RELAY_TOKEN=TOKEN) as running:
        yield running


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Continue").click()


def test_the_token_is_asked_for_once_and_then_kept_in_a_cookie(
    guarded: RelayProcess, page: Page
) -> None:
    page.goto(guarded.url)

    log_in(page, TOKEN)

    expect_live(page)
    assert page.evaluate("document.cookie") == ""
    page.reload()
    expect_live(page)
    expect(page.get_by_label("Token")).to_have_count(0)


def test_a_wrong_token_is_refused_in_words(guarded: RelayProcess, page: Page) -> None:
    page.goto(guarded.url)

    log_in(page, "not-the-token")

    expect(page.get_by_text("The relay does not accept this token.")).to_be_visible()
    log_in(page, TOKEN)
    expect_live(page)


def test_logging_out_forgets_the_token(guarded: RelayProcess, page: Page) -> None:
    page.goto(guarded.url)
    log_in(page, TOKEN)
    expect_live(page)

    page.get_by_role("button", name="Log out").click()

    expect(page.get_by_label("Token")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Token")).to_be_visible()
