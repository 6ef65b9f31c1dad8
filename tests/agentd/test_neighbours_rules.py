"""While the relay is away the machine decides as the relay would: the same agents get a message."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_agentd.neighbours import is_for
from relay_agentd.session_state import SessionState
from relay_agentd.store.sessions import SessionRow
from relay_server.domain.routing import Card, MalformedTarget, addresses_of, matches, parse_target
from relay_server.wire import ApprovalMode

AGENTS = ("box-codex-shop-1", "box-claude-shop-2")
NAMES = ("web", "db", "team/a")
LABELS = ("Backend", "backend ", "STRASSE", "straße", "Build box")
ROW = SessionRow(
    key="0" * 16,
    state=SessionState.RUNNING,
    provider="memory",
    provider_version="1",
    cwd=Path("/"),
    rig="memory",
    approval=ApprovalMode.OPEN,
    label=None,
    tags=(),
    capabilities=(),
    channels=(),
    arguments=(),
    opened_at=0.0,
)

names = st.lists(st.sampled_from(NAMES), unique=True).map(tuple)
rows = st.builds(
    lambda agent_id, label, tags, capabilities, channels: replace(
        ROW,
        agent_id=agent_id,
        label=label,
        tags=tags,
        capabilities=capabilities,
        channels=channels,
    ),
    st.sampled_from(AGENTS),
    st.none() | st.sampled_from(LABELS),
    names,
    names,
    names,
)
targets = (
    st.sampled_from((*AGENTS, "broadcast", "operator"))
    | st.builds("{}:{}".format, st.sampled_from(("tag", "cap")), st.sampled_from(NAMES))
    | st.builds("label:{}".format, st.sampled_from(LABELS))
)


@given(
    row=rows, sender=st.sampled_from(AGENTS), to=targets, channel=st.none() | st.sampled_from(NAMES)
)
def test_a_message_is_for_whom_the_relay_would_give_it_to(
    row: SessionRow, sender: str, to: str, channel: str | None
) -> None:
    assert row.agent_id is not None
    card = Card(
        agent_id=row.agent_id,
        addresses=addresses_of(row.agent_id, row.tags, row.capabilities, row.label),
        channels=frozenset(row.channels),
        inbox_start=0,
        built_in=False,
    )
    target = parse_target(to).address

    here = is_for({"from": sender, "to": to, "channel": channel}, row)

    assert here == matches(card, sender=sender, target=target, channel=channel)


@given(row=rows, to=st.text(max_size=20))
def test_a_target_the_relay_does_not_know_is_for_nobody(row: SessionRow, to: str) -> None:
    try:
        parse_target(to)
    except MalformedTarget:
        assert not is_for({"from": "somebody", "to": to}, row)


@pytest.mark.parametrize("to", [None, 3, "", ":", "tag:", "label:", "label: "])
def test_what_is_no_target_is_for_nobody(to: object) -> None:
    row = replace(ROW, agent_id=AGENTS[0], label="")
    assert not is_for({"from": "somebody", "to": to}, row)
