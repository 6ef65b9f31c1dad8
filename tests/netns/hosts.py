"""Hosts of their own on one machine: network namespaces joined by a bridge, with links to cut.

The relay's host holds the bridge, so nothing at all is made in the machine's own network but the
namespaces' names, which are of this run alone and removed in every case with all that is in them.
"""

import json
import os
import secrets
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

import pytest

from relay_agentd import mcp_pipe
from tests.cli.machine import Machine
from tests.support.providers import IsolatedHome

TOKEN: Final = "netns-token"
PORT: Final = 4850
_NETWORK: Final = "10.213.77"


def require_namespaces() -> None:
    """Skips the test where namespaces cannot be made, with the reason; fails it when CI=true."""
    reason = None
    if os.geteuid() != 0:
        reason = "network namespaces need root"
    else:
        name = f"ar{secrets.token_hex(3)}-try"
        try:
            _ip("netns", "add", name)
            _ip("netns", "delete", name)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or error
            reason = f"network namespaces cannot be made here: {said}"
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


class Network:
    """A relay's host and two others, each with one link to it."""

    def __init__(self) -> None:
        self._run = f"ar{secrets.token_hex(3)}"
        self._made: list[str] = []
        self._links: dict[str, str] = {}
        self.relay_url = f"http://{_NETWORK}.1:{PORT}"

    def __enter__(self) -> Self:
        try:
            relay = self._namespace("relay")
            _ip("-n", relay, "link", "add", "br0", "type", "bridge")
            _ip("-n", relay, "address", "add", f"{_NETWORK}.1/24", "dev", "br0")
            _ip("-n", relay, "link", "set", "br0", "up")
        except BaseException:
            self._remove()
            raise
        return self

    def host(self, name: str) -> str:
        """Another host on the bridge; its namespace."""
        relay, host = self._name("relay"), self._namespace(name)
        link = f"to-{name}"
        peer = ("peer", "name", "eth0", "netns", host)
        _ip("-n", relay, "link", "add", link, "type", "veth", *peer)
        _ip("-n", relay, "link", "set", link, "master", "br0", "up")
        address = f"{_NETWORK}.{len(self._made)}/24"
        _ip("-n", host, "address", "add", address, "dev", "eth0")
        _ip("-n", host, "link", "set", "eth0", "up")
        self._links[name] = link
        return host

    @property
    def relay_namespace(self) -> str:
        """Where the relay belongs."""
        return self._name("relay")

    def cut(self) -> None:
        """No packet gets through any more; the hosts do not notice (their own end stays up)."""
        for link in self._links.values():
            _ip("-n", self._name("relay"), "link", "set", link, "nomaster")

    def heal(self) -> None:
        """All get through again."""
        for link in self._links.values():
            _ip("-n", self._name("relay"), "link", "set", link, "master", "br0")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._remove()

    def _name(self, name: str) -> str:
        return f"{self._run}-{name}"

    def _namespace(self, name: str) -> str:
        full = self._name(name)
        _ip("netns", "add", full)
        self._made.append(full)
        _ip("-n", full, "link", "set", "lo", "up")
        return full

    def _remove(self) -> None:
        for name in reversed(self._made):
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", name)
        self._made = []


class Host(Machine):
    """A machine whose commands run in a namespace, with a relay elsewhere."""

    def __init__(self, namespace: str, url: str) -> None:
        self.home = IsolatedHome()
        self.namespace = namespace
        self.port = PORT
        self.url = url

    def environment(self, **more: str) -> dict[str, str]:
        """The relay asks for a token."""
        return super().environment(**({"AGENT_RELAY_TOKEN": TOKEN} | more))

    def argv(self, *arguments: str) -> list[str]:  # type: ignore[override]
        """A command, inside."""
        return [*inside(self.namespace), *Machine.argv(*arguments)]

    def context(self, key: str) -> str:
        """All that a stand-in session has in its context."""
        path = self.home.project / f"record-of-{key}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def tools(self, key: str) -> "Tools":
        """A session's connection to its tools."""
        control = next(self.home.runtime.glob("**/control-*.sock"))
        return Tools(self.environment(AGENT_RELAY_SESSION=key, AGENT_RELAY_CONTROL=str(control)))


class Tools:
    """An MCP client at the end of a session's pipe, as a provider would start it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._calls = 0
        self._pipe = subprocess.Popen(
            [sys.executable, "-I", "-S", mcp_pipe.__file__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        client = {"name": "test", "version": "1"}
        hands = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        self._ask("initialize", hands)
        self._say({"method": "notifications/initialized"})

    def call(self, name: str, **arguments: Any) -> str:
        """One call; what the model reads."""
        result = self._ask("tools/call", {"name": name, "arguments": arguments})
        text = str(result["content"][0]["text"])
        assert not result.get("isError"), text
        return text

    def _ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._calls += 1
        self._say({"id": self._calls, "method": method, "params": params})
        assert self._pipe.stdout is not None
        for line in self._pipe.stdout:
            answer = json.loads(line)
            if answer.get("id") == self._calls:
                result: dict[str, Any] = answer["result"]
                return result
        raise AssertionError("the pipe ended")

    def _say(self, message: dict[str, Any]) -> None:
        assert self._pipe.stdin is not None
        self._pipe.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._pipe.stdin.flush()

    def close(self) -> None:
        """End it."""
        assert self._pipe.stdin is not None
        assert self._pipe.stdout is not None
        self._pipe.stdin.close()
        self._pipe.wait(timeout=10)
        self._pipe.stdout.close()


def inside(namespace: str) -> list[str]:
    """What to put before a command so that it runs there."""
    return ["nsenter", f"--net=/run/netns/{namespace}", "--"]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20)
