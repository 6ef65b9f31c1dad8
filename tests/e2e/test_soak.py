"""Background sessions chat while things are killed: nothing is lost, doubled or leaked.

`scripts/soak` runs the long form; this is a minute of it.
"""

import os

import pytest

from tests.e2e.soak import Soak
from tests.e2e.stack import Stack
from tests.support.providers import CliName

_SECONDS = float(os.environ.get("AGENT_RELAY_TEST_SOAK_SECONDS", "45"))
_SEED = int(os.environ.get("AGENT_RELAY_TEST_SOAK_SEED", "20261124"))
_FAULT_SECONDS = 5.0
_IS_LONG = _SECONDS > 600
_CLIS: list[CliName] = ["codex", "claude-2.1.330", "codex", "claude-2.1.197", "codex"] * 2

pytestmark = [pytest.mark.real_cli, pytest.mark.alone, pytest.mark.timeout(int(_SECONDS) + 420)]


def test_ten_sessions_chat_under_faults_and_everything_adds_up(stack: Stack) -> None:
    soak = Soak(stack, _CLIS, _SEED)

    soak.run(_SECONDS, _FAULT_SECONDS)
    soak.settle()

    print(f"seed {_SEED}, faults: {dict(soak.faults)}, messages: {len(soak.messages())}")
    contexts = {member.name: soak.context(member) for member in soak.members}
    for member in soak.members:
        assert sorted(contexts[member.name]) == soak.expected(member), member
    assert sum(map(len, contexts.values())) == len(soak.messages())
    _expect_a_flat_footprint(soak)
    _expect_an_end_without_remains(soak)


def _expect_a_flat_footprint(soak: Soak) -> None:
    for name in ("daemon", "relay"):
        before, after = soak.footprint.growth(soak.footprint.descriptors, name)
        assert after <= before + 12, (name, soak.footprint.descriptors[name])
        before, after = soak.footprint.growth(soak.footprint.memory, name)
        # Each restart begins anew: what grows within a run shows in the long form only.
        assert after <= before * (1.2 if _IS_LONG else 1.5), (name, soak.footprint.memory[name])


def _expect_an_end_without_remains(soak: Soak) -> None:
    for member in soak.members:
        soak.stack.relay_agentd("stop", member.agent_id)
    soak.stack.expect_no_session_left()
