"""`doctor --session` on the real programs: it shows the ways in, and disturbs nothing."""

import json

import pytest

from tests.e2e.stack import Stack
from tests.support.providers import CliName

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(120)]


@pytest.mark.parametrize("name", ["codex", "claude-2.1.330"])
def test_a_look_disturbs_nothing_and_a_message_proves_the_first_way(
    stack: Stack, name: CliName
) -> None:
    session = stack.session(name)
    before = len(session.model.main_requests)

    looked = json.loads(stack.relay_agentd("doctor", "--session", session.id, "--json"))

    assert looked["ok"], looked
    assert {each["ok"] for each in looked["known"]["probes"] if each["name"] != "transcript"} == {
        True
    }
    assert {way["state"] for way in looked["known"]["delivery"]["ways"]} == {"untried"}
    assert len(session.model.main_requests) == before
    assert stack.agent(session.id)["lastProofAt"] is None

    stack.relay_agentd("doctor", "--session", session.id, "--send")

    known = json.loads(stack.relay_agentd("doctor", "--session", session.id, "--json"))["known"]
    assert known["delivery"]["ways"][0]["state"] == "proved"
    assert known["delivery"]["lastProof"]
    assert stack.agent(session.id)["lastProofAt"] is not None
