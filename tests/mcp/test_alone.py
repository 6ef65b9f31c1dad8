"""`relay-agentd mcp` outside any session: the client becomes an agent that looks for its mail."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.cli.machine import Machine
from tests.support.wait import eventually

OFFLINE_WITHIN = 5.0


class Client:
    """An MCP client as Cursor is one: it starts the server itself and speaks lines to it."""

    def __init__(self, machine: Machine, name: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            machine.argv("mcp"),
            env=machine.environment(**environment),
            cwd=machine.home.project,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._last_id = 0
        self.hands = self.call(
            "initialize",
            {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": name, "version": "7"},
            },
        )
        self._say({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request and its result; notifications in between are passed over."""
        self._last_id += 1
        self._say({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self._last_id:
                result: dict[str, Any] = answer["result"]
                return result
        raise AssertionError(f"the pipe ended: {self.process.wait()}")

    def tool(self, name: str, **arguments: Any) -> str:
        """A tool's answer."""
        result = self.call("tools/call", {"name": name, "arguments": arguments})
        text: str = result["content"][0]["text"]
        assert not result.get("isError"), text
        return text

    def close(self) -> None:
        """As a client does that ends its server."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        self.process.stdout.close()

    def _say(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()


@contextmanager
def a_client(machine: Machine, name: str = "cursor-vscode", **environment: str) -> Iterator[Client]:
    client = Client(machine, name, **environment)
    try:
        yield client
    finally:
        client.close()


def agent_of(client: Client) -> str:
    """The id it goes by, once the relay knows it."""

    def own_id() -> str | None:
        lines = client.tool("relay_agents").splitlines()
        return next((line.partition(" ")[0] for line in lines if "(you)" in line), None)

    return eventually(own_id) or ""


def at_relay(machine: Machine, agent_id: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(
        f"{machine.url}/api/agents/{agent_id}", trust_env=False
    ).json()
    return found


def send(machine: Machine, to: str, text: str) -> None:
    done = machine.run("send", to, text)
    assert done.returncode == 0, done.stderr


def test_a_client_is_an_agent_under_its_own_name_until_it_ends(running: Machine) -> None:
    with a_client(running, AGENT_RELAY_LABEL="editor", AGENT_RELAY_CAPS="review") as client:
        agent_id = agent_of(client)
        agent = at_relay(running, agent_id)

        assert "-cursor-vscode-project-" in agent_id
        assert (agent["provider"], agent["rig"]) == ("mcp", "cursor-vscode")
        assert (agent["label"], agent["capabilities"]) == ("editor", ["review"])
        assert (agent["status"], agent["reachability"]) == ("idle", "poll")
        assert agent["meta"]["client"] == "cursor-vscode"
        assert "call relay_inbox" in client.hands["instructions"]

    eventually(lambda: at_relay(running, agent_id)["status"] == "offline", OFFLINE_WITHIN)


def test_a_rig_in_the_environment_wins_over_the_clients_name(running: Machine) -> None:
    with a_client(running, AGENT_RELAY_RIG="my-editor") as client:
        assert "-my-editor-project-" in agent_of(client)


def test_mail_is_noticed_in_the_next_answer_and_read_once(running: Machine) -> None:
    with a_client(running) as client:
        agent_id = agent_of(client)
        assert client.tool("relay_inbox") == f"No unread mail for {agent_id}. Look again later."
        send(running, agent_id, "are you there?")

        eventually(lambda: "Unread mail: 1. Call relay_inbox." in client.tool("relay_agents"))
        assert "are you there?" in client.tool("relay_inbox")
        assert "No unread mail" in client.tool("relay_inbox")
        assert "Unread mail" not in client.tool("relay_agents")


def test_mail_of_an_ended_client_waits_for_its_next_start(running: Machine) -> None:
    with a_client(running) as client:
        agent_id = agent_of(client)
    eventually(lambda: at_relay(running, agent_id)["status"] == "offline", OFFLINE_WITHIN)
    send(running, agent_id, "for later")

    with a_client(running) as again:
        assert agent_of(again) == agent_id
        eventually(lambda: "for later" in again.tool("relay_inbox"))


def test_two_windows_of_one_client_are_two_agents(running: Machine) -> None:
    with a_client(running) as one, a_client(running) as other:
        first, second = agent_of(one), agent_of(other)

        assert first != second
        send(running, second, "for the second")
        eventually(lambda: "for the second" in other.tool("relay_inbox"))
        assert "No unread mail" in one.tool("relay_inbox")


def test_a_client_is_ended_where_it_runs_and_not_from_here(running: Machine) -> None:
    with a_client(running, "gemini-cli") as client:
        done = running.run("stop", agent_of(client))

        assert done.returncode == 4
        assert "end it where it runs" in done.stderr
        assert "No unread mail" in client.tool("relay_inbox")


@pytest.mark.timeout(120)
def test_relay_and_daemon_are_started_and_a_new_daemon_goes_on_with_the_same_agent(
    machine: Machine,
) -> None:
    with a_client(machine) as client:
        eventually(lambda: len(client.call("tools/list", {})["tools"]) >= 6, 20)
        agent_id = agent_of(client)

        machine.kill_daemon()
        assert machine.run("up").returncode == 0

        assert agent_of(client) == agent_id
        send(machine, agent_id, "after the crash")
        eventually(lambda: "after the crash" in client.tool("relay_inbox"))
