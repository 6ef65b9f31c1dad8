"""The pure modules, run where they live: in the browser."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.relay_process import RelayProcess

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def shared(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One page for all: pure functions leave no trace in it."""
    with RelayProcess(tmp_path_factory.mktemp("relay")) as relay, browser.new_context() as context:
        page = context.new_page()
        page.goto(relay.url)
        yield page


def call(page: Page, module: str, expression: str, argument: Any = None) -> Any:
    """Evaluate an expression over a module `m` and an argument `a`."""
    script = f"async (a) => {{ const m = await import('/app/{module}.js'); return {expression}; }}"
    return page.evaluate(script, argument)


def test_events_cut_anywhere_by_the_network_are_read_whole(shared: Page) -> None:
    text = ": ping\n\nid: 7\nevent: message.created\r\ndata: {\ndata: }\r\n\r\nid:8\ndata:x\n\n"
    expected = [
        {"type": "message.created", "data": "{\n}", "id": "7"},
        {"type": "message", "data": "x", "id": "8"},
    ]
    parse = "(() => { const parse = m.createParser(); return a.flatMap((c) => parse(c)); })()"

    whole = call(shared, "stream", parse, [text])
    in_letters = call(shared, "stream", parse, list(text))

    assert whole == expected
    assert in_letters == expected


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (["stored"], "Stored"),
        (["routed"], "Routed"),
        (["in_context"], "In context"),
        (["in_context", "handed", "stored"], "In context 1/3"),
        (["replied", "read"], "Replied 1/2"),
        (["in_context", "failed"], "Failed"),
    ],
)
def test_the_receipts_of_many_become_one_word(shared: Page, states: list[str], said: str) -> None:
    receipts = [{"agentId": f"a{n}", "state": state} for n, state in enumerate(states)]

    assert call(shared, "format", "m.receiptSummary(a).text", receipts) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3, "now"), (42, "42 s ago"), (150, "2 min ago"), (7300, "2 h ago"), (200_000, "2 d ago")],
)
def test_ages_are_said_in_one_unit(shared: Page, seconds: int, said: str) -> None:
    ago = "m.ago(new Date(1e12).toISOString(), 1e12 + a * 1000)"

    assert call(shared, "format", ago, seconds) == said


@pytest.mark.parametrize(
    "address", ["#/", "#/inbox", "#/agent/claude.1?m=4", "#/thread/12", "#/work?m=7"]
)
def test_an_address_survives_being_read_and_written(shared: Page, address: str) -> None:
    assert call(shared, "route", "m.formatRoute(m.parseRoute(a))", address) == address


@pytest.mark.parametrize("address", ["#/thread/none", "#/agent/", "#/no-such-page", "#nonsense"])
def test_an_address_that_means_nothing_shows_everything(shared: Page, address: str) -> None:
    assert call(shared, "route", "m.parseRoute(a).view", address) == "all"
