"""What a person does at the dashboard reaches the relay."""

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import Problems
from tests.browser.people import (
    agent_row,
    body_field,
    inbox,
    message_row,
    post,
    register,
    target_field,
)

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def _refusals_are_logged_by_the_browser(problems: Problems) -> None:
    """Chromium itself writes a console line for every 4xx answer; no page can prevent that."""
    problems.allow(r"the server responded with a status of 4(04|22)")


def send_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Send")


def test_a_message_from_the_box_arrives_in_the_agents_inbox(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1")
    target_field(dashboard).fill("codex-1")
    body_field(dashboard).fill("Please rebase.\nThen push.")
    dashboard.get_by_label("Priority").select_option("urgent")
    dashboard.get_by_label("Claimable").check()

    send_button(dashboard).click()

    (message,) = inbox(api, "codex-1")
    assert message["from"] == "operator"
    assert message["body"] == "Please rebase.\nThen push."
    assert message["priority"] == "urgent"
    assert message["claimable"] is True
    expect(message_row(dashboard, message["id"])).to_be_visible()
    expect(body_field(dashboard)).to_have_value("")


def test_a_message_can_be_written_and_sent_by_keyboard_alone(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1", label="Frontend")
    expect(agent_row(dashboard, "codex-1")).to_be_visible()

    dashboard.keyboard.press("c")
    dashboard.keyboard.type("front")
    expect(dashboard.get_by_role("option").first).to_contain_text("codex-1")
    dashboard.keyboard.press("ArrowDown")
    dashboard.keyboard.press("Enter")
    expect(target_field(dashboard)).to_have_value("codex-1")
    body_field(dashboard).focus()
    dashboard.keyboard.type("hello")
    dashboard.keyboard.press("Control+Enter")

    expect(dashboard.get_by_role("article")).to_contain_text("hello")
    assert [message["body"] for message in inbox(api, "codex-1")] == ["hello"]


def test_the_box_says_who_will_get_it_before_it_is_sent(dashboard: Page, api: httpx.Client) -> None:
    register(api, "codex-1", label="Frontend", tags=["web"])
    register(api, "claude-1", label="Backend", tags=["api"])

    target_field(dashboard).fill("tag:web")

    expect(dashboard.locator(".preview")).to_contain_text("Goes to Frontend idle")


def test_a_target_nobody_matches_is_said_before_sending(dashboard: Page, api: httpx.Client) -> None:
    register(api, "codex-1")

    target_field(dashboard).fill("tag:nobody")

    expect(dashboard.get_by_text("Nobody matches now.")).to_be_visible()


def test_half_a_word_is_no_mistake_while_its_completions_are_open(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1")
    expect(agent_row(dashboard, "codex-1")).to_be_visible()

    with dashboard.expect_response("**/api/route?to=cod"):
        target_field(dashboard).fill("cod")
    expect(dashboard.get_by_role("listbox").get_by_role("option")).to_be_visible()
    expect(dashboard.locator(".preview")).to_be_empty()
    body_field(dashboard).focus()

    expect(dashboard.locator(".preview")).to_contain_text("cod is registered")
    dashboard.locator(".preview").get_by_role("button", name="codex-1").click()
    expect(target_field(dashboard)).to_have_value("codex-1")


def test_a_refused_message_stays_in_the_box_and_says_why(
    dashboard: Page, api: httpx.Client
) -> None:
    target_field(dashboard).fill("codex-none")
    body_field(dashboard).fill("hello")
    expect(send_button(dashboard)).to_be_enabled()

    with dashboard.expect_response("**/api/messages") as answer:
        send_button(dashboard).click()

    assert answer.value.status == 404
    expect(dashboard.locator(".composer-error")).not_to_be_empty()
    expect(body_field(dashboard)).to_have_value("hello")


def test_sending_again_after_a_lost_answer_sends_it_once(
    dashboard: Page, api: httpx.Client, problems: Problems
) -> None:
    problems.allow("net::ERR_")
    register(api, "codex-1")
    lose_first_answer(dashboard)
    target_field(dashboard).fill("codex-1")
    body_field(dashboard).fill("only once")

    send_button(dashboard).click()
    expect(dashboard.locator(".composer-error")).to_have_text("The relay cannot be reached.")
    send_button(dashboard).click()

    expect(body_field(dashboard)).to_have_value("")
    assert [message["body"] for message in inbox(api, "codex-1")] == ["only once"]


def lose_first_answer(page: Page) -> None:
    """The relay gets the first POST of a message, the page never hears of it."""

    lost: list[str] = []

    def lose(route: Route) -> None:
        if route.request.method != "POST" or lost:
            route.fallback()
            return
        lost.append(route.request.url)
        route.fetch()
        route.abort()

    page.route("**/api/messages", lose)


def test_completion_offers_agents_tags_capabilities_and_labels(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "shop-1", label="shop desk", tags=["shop"], capabilities=["shopping"])
    expect(agent_row(dashboard, "shop-1")).to_be_visible()

    target_field(dashboard).fill("shop")

    options = dashboard.get_by_role("option")
    expect(options.locator(".option-name")).to_have_text(
        ["tag:shop", "shop-1", "label:shop desk", "cap:shopping"]
    )


def test_a_reply_joins_the_thread(dashboard: Page, api: httpx.Client) -> None:
    register(api, "codex-1")
    question = post(api, "codex-1", "operator", "Which branch?")

    message_row(dashboard, question["id"]).get_by_role("button", name="Reply").click()
    expect(target_field(dashboard)).to_have_value("codex-1")
    body_field(dashboard).fill("main")
    send_button(dashboard).click()

    (answer,) = inbox(api, "codex-1")
    assert (answer["replyTo"], answer["threadId"]) == (question["id"], question["id"])


def test_work_is_claimed_and_completed_by_the_person_at_the_page(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1")
    work = post(api, "codex-1", "broadcast", "Look at the alert", claimable=True)
    row = message_row(dashboard, work["id"])
    expect(row).to_contain_text("Open to claim")

    row.get_by_role("button", name="Claim").click()

    expect(row).to_contain_text("Claimed by operator")
    claim = api.get(f"/api/messages/{work['id']}").json()["claim"]
    assert claim["agentId"] == "operator"
    row.get_by_role("button", name="Complete").click()
    expect(row).to_contain_text("Done by operator")


def test_one_agents_page_shows_its_messages_and_writes_to_it(
    dashboard: Page, api: httpx.Client
) -> None:
    register(api, "codex-1", label="Frontend", capabilities=["typescript"])
    register(api, "claude-1")
    mine = post(api, "operator", "codex-1", "for the first")
    others = post(api, "operator", "claude-1", "for the second")

    agent_row(dashboard, "codex-1").get_by_role("link").click()

    expect(dashboard.get_by_role("heading", name="Frontend")).to_be_visible()
    expect(dashboard.locator(".facts")).to_contain_text("typescript")
    expect(message_row(dashboard, mine["id"])).to_be_visible()
    expect(message_row(dashboard, others["id"])).to_have_count(0)
    dashboard.get_by_role("button", name="Write to it").click()
    expect(target_field(dashboard)).to_have_value("codex-1")
    expect(body_field(dashboard)).to_be_focused()


def test_j_k_and_enter_walk_and_open_messages(dashboard: Page, api: httpx.Client) -> None:
    register(api, "codex-1")
    first = post(api, "operator", "codex-1", "one")
    second = post(api, "operator", "codex-1", "two")
    expect(message_row(dashboard, second["id"])).to_be_visible()

    dashboard.keyboard.press("k")
    expect(message_row(dashboard, second["id"])).to_be_focused()
    dashboard.keyboard.press("k")
    expect(message_row(dashboard, first["id"])).to_be_focused()
    dashboard.keyboard.press("Enter")

    expect(dashboard.get_by_role("heading", name=f"Message #{first['id']}")).to_be_visible()
    dashboard.keyboard.press("Escape")
    expect(dashboard.get_by_role("heading", name=f"Message #{first['id']}")).to_have_count(0)
