"""The page follows the relay without a reload."""

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import agent_row, message_row, post, register, report, set_status

pytestmark = pytest.mark.browser

# The page promises a second; waiting longer here would hide that it is late.
ONE_SECOND_MS = 1000


def test_an_empty_relay_says_so_and_how_to_begin(dashboard: Page) -> None:
    expect(dashboard.get_by_text("Nobody is here yet")).to_be_visible()
    expect(dashboard.get_by_text("relay-agentd run claude")).to_be_visible()
    expect(dashboard.get_by_text("No messages yet")).to_be_visible()


def test_an_agent_appears_when_it_registers(dashboard: Page, api: httpx.Client) -> None:
    register(api, "claude-shop-1", label="Backend", machine="buildbox")

    row = agent_row(dashboard, "claude-shop-1")
    expect(row).to_contain_text("Backend", timeout=ONE_SECOND_MS)
    expect(row).to_contain_text("claude")
    expect(row).to_contain_text("shop · buildbox")
    expect(row).to_contain_text("push")


def test_what_an_agent_does_changes_before_the_readers_eyes(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1")
    expect(agent_row(dashboard, "codex-1")).to_have_attribute("data-status", "idle")

    set_status(api, "codex-1", "busy", "Runs the tests")

    row = agent_row(dashboard, "codex-1")
    expect(row).to_have_attribute("data-status", "busy", timeout=ONE_SECOND_MS)
    expect(row).to_contain_text("Runs the tests")


def test_an_agent_that_goes_offline_is_listed_apart(dashboard: Page, api: httpx.Client) -> None:
    register(api, "codex-1")
    expect(dashboard.get_by_text("1 of 1 online")).to_be_visible()

    set_status(api, "codex-1", "offline")

    expect(dashboard.get_by_text("0 of 1 online")).to_be_visible(timeout=ONE_SECOND_MS)
    expect(dashboard.get_by_role("heading", name="Offline")).to_be_visible()


def test_an_agent_that_is_removed_disappears(dashboard: Page, api: httpx.Client) -> None:
    register(api, "codex-1")
    expect(agent_row(dashboard, "codex-1")).to_be_visible()

    api.delete("/api/agents/codex-1").raise_for_status()

    expect(agent_row(dashboard, "codex-1")).to_have_count(0, timeout=ONE_SECOND_MS)


def test_a_new_label_replaces_the_name_everywhere(dashboard: Page, api: httpx.Client) -> None:
    register(api, "codex-1")
    sent = post(api, "codex-1", "operator", "hello")
    expect(message_row(dashboard, sent["id"])).to_be_visible()

    api.patch("/api/agents/codex-1", json={"label": "Frontend"}).raise_for_status()

    expect(agent_row(dashboard, "codex-1")).to_contain_text("Frontend", timeout=ONE_SECOND_MS)
    expect(message_row(dashboard, sent["id"])).to_contain_text("Frontend")


def test_a_message_posted_by_http_appears_within_a_second(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1", label="Frontend")

    sent = post(api, "operator", "codex-1", "Is it clean?", subject="Migration", priority="urgent")

    row = message_row(dashboard, sent["id"])
    expect(row).to_be_visible(timeout=ONE_SECOND_MS)
    expect(row).to_contain_text("operator→Frontend")
    expect(row).to_contain_text("Migration")
    expect(row).to_contain_text("Is it clean?")
    expect(row).to_contain_text("urgent")


def test_the_newest_message_stays_in_sight(dashboard: Page, api: httpx.Client) -> None:
    register(api, "codex-1")

    for number in range(30):
        post(api, "operator", "codex-1", f"message {number}")

    expect(dashboard.get_by_text("message 29")).to_be_in_viewport()


def test_a_reader_who_scrolled_up_is_told_of_new_messages_and_not_moved(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1")
    first = post(api, "operator", "codex-1", "the first")
    for number in range(30):
        post(api, "operator", "codex-1", f"message {number}")
    expect(dashboard.get_by_text("message 29")).to_be_in_viewport()
    message_row(dashboard, first["id"]).scroll_into_view_if_needed()

    newest = post(api, "operator", "codex-1", "the newest")

    note = dashboard.get_by_role("button", name="1 new message")
    expect(note).to_be_visible()
    expect(message_row(dashboard, first["id"])).to_be_in_viewport()
    note.click()
    expect(message_row(dashboard, newest["id"])).to_be_in_viewport()


def test_the_receipt_beside_a_message_follows_its_way(dashboard: Page, api: httpx.Client) -> None:
    register(api, "codex-1")
    sent = post(api, "operator", "codex-1", "Is it clean?")
    row = message_row(dashboard, sent["id"])
    expect(row).to_contain_text("Stored")

    report(api, "codex-1", sent["id"], "handed")
    expect(row).to_contain_text("Handed", timeout=ONE_SECOND_MS)

    report(api, "codex-1", sent["id"], "in_context")
    expect(row).to_contain_text("In context", timeout=ONE_SECOND_MS)


def test_a_message_to_the_operator_stands_out_until_it_is_opened(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1")
    sent = post(api, "codex-1", "operator", "May I deploy?")
    row = message_row(dashboard, sent["id"])
    expect(row).to_have_class("message for-operator unread")
    expect(dashboard).to_have_title("(1) Agent Relay")

    row.click()

    expect(row).not_to_contain_class("unread")
    expect(dashboard).to_have_title("Agent Relay")
    dashboard.reload()
    expect(message_row(dashboard, sent["id"])).to_be_visible()
    expect(message_row(dashboard, sent["id"])).not_to_contain_class("unread")


def test_an_opened_message_shows_each_receivers_way_and_its_thread(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1", label="Frontend")
    register(api, "claude-1", label="Backend")
    first = post(api, "codex-1", "claude-1", "Is it clean?")
    reply = post(api, "claude-1", "codex-1", "It is.", replyTo=first["id"])
    report(api, "claude-1", first["id"], "in_context")

    message_row(dashboard, first["id"]).click()

    detail = dashboard.get_by_role("complementary", name=f"Message {first['id']}")
    expect(detail.get_by_text("1 receiver")).to_be_visible()
    expect(detail.locator(".ladder")).to_contain_text("Backend")
    expect(detail.locator(".step.reached", has_text="In context")).to_be_visible()
    expect(detail.get_by_role("heading", name="Thread, 2 messages")).to_be_visible()
    detail.get_by_text("It is.").click()
    expect(dashboard.get_by_role("heading", name=f"Message #{reply['id']}")).to_be_visible()


def test_a_thread_can_be_read_alone(dashboard: Page, api: httpx.Client) -> None:
    register(api, "codex-1")
    first = post(api, "operator", "codex-1", "Is it clean?")
    other = post(api, "operator", "codex-1", "Something else")
    reply = post(api, "codex-1", "operator", "It is.", replyTo=first["id"])

    message_row(dashboard, reply["id"]).get_by_role("link", name="Thread").click()

    expect(dashboard.get_by_role("heading", name=f"Thread #{first['id']}")).to_be_visible()
    expect(message_row(dashboard, first["id"])).to_be_visible()
    expect(message_row(dashboard, other["id"])).to_have_count(0)


def test_older_messages_are_loaded_when_asked_for(api: httpx.Client, page: Page) -> None:
    register(api, "codex-1")
    first = post(api, "operator", "codex-1", "the first")
    for number in range(60):
        post(api, "operator", "codex-1", f"message {number}")
    page.goto(str(api.base_url))
    expect(page.get_by_text("message 59")).to_be_visible()
    expect(message_row(page, first["id"])).to_have_count(0)

    page.get_by_role("button", name="Show older messages").click()

    expect(message_row(page, first["id"])).to_have_count(1)
    expect(page.get_by_text("This is where it begins.")).to_be_attached()


def test_agents_are_found_by_name_project_and_tag(dashboard: Page, api: httpx.Client) -> None:
    register(api, "codex-1", label="Frontend", tags=["web"])
    register(api, "claude-1", label="Backend", project="api")
    expect(agent_row(dashboard, "claude-1")).to_be_visible()

    dashboard.get_by_label("Find agents").fill("web shop")

    expect(agent_row(dashboard, "codex-1")).to_be_visible()
    expect(agent_row(dashboard, "claude-1")).to_have_count(0)
