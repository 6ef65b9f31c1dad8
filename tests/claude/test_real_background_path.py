"""A person's path with Claude Code in the background: the commands, a real relay, a real daemon."""

import json

import pytest

from tests.e2e.stack import Stack
from tests.support.processes import marked
from tests.support.providers import MARKER, IsolatedHome
from tests.support.standin_anthropic import StandInAnthropic
from tests.support.wait import eventually

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]

RUN = ("run", "--background", "--json", "--approval", "guarded", "--prompt")


def hosts(home: IsolatedHome) -> list[int]:
    """The bridges that run, without their keepers."""
    bridges = [each for each in marked(MARKER, str(home.path)) if _is_bridge(each.cmdline())]
    pids = {each.pid for each in bridges}
    return [each.pid for each in bridges if each.ppid() not in pids]


def _is_bridge(command: list[str]) -> bool:
    return any(word.endswith("stream_bridge.py") for word in command)


def test_a_background_session_is_approved_written_to_killed_read_and_stopped(
    home: IsolatedHome, anthropic: StandInAnthropic
) -> None:
    stack = Stack.on_free_port(home, {"claude": anthropic})
    try:
        prompt = "begin [[shell: touch made]] [[say: I have begun]]"
        started = stack.relay_agentd(*RUN, prompt, "claude", provider="claude-2.1.330")
        agent = json.loads(started)["agentId"]

        eventually(lambda: stack.agent(agent)["status"] == "waiting", 30)
        (approval,) = stack.client.get("/api/approvals").json()["approvals"]
        assert (approval["tool"], approval["summary"]) == ("Bash", "touch made")
        stack.relay_agentd("approve", str(approval["id"]))
        eventually((home.project / "made").exists, 10)

        stack.wait_until_in_context(stack.send(agent, "are you there? [[say: yes]]"))
        stack.daemon().kill()
        away = stack.send(agent, "sent while the daemon is away [[say: ok]]")
        stack.relay_agentd("up")
        stack.wait_until_in_context(away)

        (host,) = hosts(home)
        next(each for each in stack.of_sessions() if each.pid == host).kill()
        stack.wait_until_in_context(stack.send(agent, "after the kill [[say: back]]"))

        assert hosts(home) != [host]
        assert [each["id"] for each in stack.online("claude")] == [agent]
        assert anthropic.message_ids() == [1, 2, 3]
        assert sum("you are agent" in text for text in anthropic.user_texts()) == 1
        assert "I have begun" in stack.relay_agentd("logs", agent)
        stack.relay_agentd("stop", agent)
        stack.expect_no_session_left()
    finally:
        stack.close()
