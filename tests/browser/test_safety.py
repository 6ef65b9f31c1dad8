"""Other people's words are text, whatever is in them; the page fits a phone."""

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import expect_live
from tests.browser.people import agent_row, body_field, message_row, post, register, target_field
from tests.support.relay_process import RelayProcess

pytestmark = pytest.mark.browser

SCRIPT = "<script>window.hacked=1</script>"
IMAGE = "<img src=x onerror='window.hacked=1'>"
RIGHT_TO_LEFT_OVERRIDE = "\u202e"
PHONE = (390, 780)


def test_hostile_content_is_shown_as_text(dashboard: Page, api: httpx.Client) -> None:
    register(
        api,
        "codex-1",
        label=IMAGE,
        name=SCRIPT,
        project=f"{RIGHT_TO_LEFT_OVERRIDE}{SCRIPT}",
        machine=IMAGE,
        provider=IMAGE,
    )
    api.patch(
        "/api/agents/codex-1/status", json={"status": "busy", "statusDetail": SCRIPT}
    ).raise_for_status()
    sent = post(api, "codex-1", "operator", IMAGE + SCRIPT, subject=SCRIPT, payload={"x": IMAGE})

    row = message_row(dashboard, sent["id"])
    expect(row).to_contain_text(IMAGE + SCRIPT)
    expect(row.locator(".subject")).to_have_text(SCRIPT)
    expect(agent_row(dashboard, "codex-1")).to_contain_text(IMAGE)
    row.click()
    expect(dashboard.locator(".payload")).to_contain_text(IMAGE)
    agent_row(dashboard, "codex-1").get_by_role("link").click()
    expect(dashboard.locator(".facts")).to_contain_text(SCRIPT)
    target_field(dashboard).fill("img")
    expect(dashboard.get_by_role("option")).to_contain_text([IMAGE])
    assert dashboard.evaluate("window.hacked") is None
    assert dashboard.locator("img[src=x], #app script").count() == 0


def test_a_name_that_turns_the_writing_direction_leaves_its_neighbours_alone(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1", label=f"{RIGHT_TO_LEFT_OVERRIDE}evil")
    sent = post(api, "codex-1", "operator", "hello")

    row = message_row(dashboard, sent["id"])
    expect(row).to_be_visible()
    sender = row.locator(".sender").bounding_box()
    target = row.locator(".target").bounding_box()
    assert sender is not None
    assert target is not None
    assert sender["x"] + sender["width"] <= target["x"]


def test_a_body_of_64_kilobytes_is_shortened_in_the_row_and_whole_when_opened(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1")
    body = "x" * (64 * 1024)
    sent = post(api, "operator", "codex-1", body)
    row = message_row(dashboard, sent["id"])
    expect(row).to_be_visible()
    box = row.bounding_box()
    assert box is not None
    assert box["height"] < 300
    assert box["x"] + box["width"] <= 1280

    row.click()

    expect(dashboard.locator(".detail .body")).to_have_text(body)


def test_the_policy_allows_nothing_but_the_relay_itself(relay: RelayProcess, page: Page) -> None:
    answer = page.goto(relay.url)

    assert answer is not None
    policy = answer.headers["content-security-policy"]
    directives = dict(part.split(maxsplit=1) for part in policy.split(";") if part.strip())
    assert {"default-src", "frame-ancestors", "base-uri", "form-action"} <= set(directives)
    assert set(directives.values()) <= {"'self'", "'none'"}
    expect_live(page)


@pytest.mark.parametrize("viewport", [PHONE])
def test_a_phone_shows_one_page_at_a_time_without_scrolling_sideways(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "claude-with-a-very-long-identifier-0123456789", project="p" * 60)
    sent = post(api, "operator", "broadcast", "word " * 80 + "x" * 200)
    expect(message_row(dashboard, sent["id"])).to_be_visible()
    expect(agent_row(dashboard, "claude-with-a-very-long-identifier-0123456789")).to_be_hidden()
    pages = dashboard.get_by_role("navigation", name="Pages")

    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert dashboard.evaluate(fits)
    pages.get_by_role("link", name="Agents").click()
    expect(agent_row(dashboard, "claude-with-a-very-long-identifier-0123456789")).to_be_visible()
    assert dashboard.evaluate(fits)
    pages.get_by_role("link", name="Messages").click()
    message_row(dashboard, sent["id"]).locator(".body").click()
    expect(dashboard.get_by_role("heading", name=f"Message #{sent['id']}")).to_be_visible()
    assert dashboard.evaluate(fits)


@pytest.mark.parametrize("viewport", [PHONE])
def test_a_phone_writes_in_a_sheet_that_closes_after_sending(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1")
    expect(body_field(dashboard)).to_be_hidden()

    dashboard.get_by_role("button", name="Write").click()
    target_field(dashboard).fill("codex-1")
    body_field(dashboard).fill("from the train")
    dashboard.get_by_role("button", name="Send").click()

    expect(dashboard.get_by_text("from the train")).to_be_visible()
    expect(body_field(dashboard)).to_be_hidden()
