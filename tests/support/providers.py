"""Real provider command lines in a home of their own, talking to stand-in models only.

A home holds everything a provider, the daemon or the relay may want to write, and its environment
holds nothing of the person who runs the tests. `scripts/test` fetches the command lines and says
where they are.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import pytest

from tests.support.standin_anthropic import StandInAnthropic
from tests.support.standin_openai import StandInOpenAI

CliName = Literal["codex", "claude-2.1.197", "claude-2.1.330"]

MARKER = "HOME"
"""Its value, the home's folder, marks everything that was started in a home: providers scrub the
environment of what they start, but this variable they all pass on."""

READY: dict[CliName, str] = {
    "codex": r"gpt-5\.1-codex default",
    "claude-2.1.197": "^\u276f",
    "claude-2.1.330": "^\u276f",
}
"""What a provider's screen shows once it takes prompts. (Codex shows its composer earlier, and
then keeps what is submitted.)"""

DUMMY_KEY = "dummy-key"
_REPOSITORY = Path(__file__).resolve().parents[2]
_VARIABLES: dict[CliName, str] = {
    "codex": "RELAY_TEST_CODEX",
    "claude-2.1.197": "RELAY_TEST_CLAUDE_2_1_197",
    "claude-2.1.330": "RELAY_TEST_CLAUDE_2_1_330",
}
_CODEX_CONFIG = """\
model = "gpt-5.1-codex"
model_provider = "standin"
check_for_update_on_startup = false

[model_providers.standin]
name = "standin"
base_url = "{url}"
wire_api = "responses"
env_key = "STANDIN_KEY"
request_max_retries = 0
stream_max_retries = 0
supports_websockets = false

[analytics]
enabled = false

[projects."{project}"]
trust_level = "trusted"
"""


def find_cli(name: CliName) -> Path:
    """The provider's native program; skips the test when it is absent, fails it when CI=true."""
    places = [_REPOSITORY / ".cache" / "clis" / name]
    if said := os.environ.get(_VARIABLES[name]):
        places.insert(0, Path(said))
    for place in places:
        if os.access(place, os.X_OK) and place.is_file():
            return place
    missing = f"no {name}: `scripts/test` fetches it, or set {_VARIABLES[name]}"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


class IsolatedHome:
    """A fresh home with a project folder in it, gone after the `with` block.

    The path is short, because unix sockets below it may have 107 bytes, and not under /tmp, where
    Codex declines to put its helper programs.
    """

    def __init__(
        self, openai: StandInOpenAI | None = None, anthropic: StandInAnthropic | None = None
    ) -> None:
        outside_tmp = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None
        self.path = Path(tempfile.mkdtemp(prefix="ar-", dir=outside_tmp)).resolve()
        self.project = self._folder("project")
        self.codex_home = self._folder(".codex")
        self.claude_config = self._folder(".claude")
        self.runtime = self._folder("run", mode=0o700)
        self.temporary = self._folder("tmp")
        self._openai, self._anthropic = openai, anthropic
        self._seed_claude()
        if openai is not None:
            config = _CODEX_CONFIG.format(url=openai.url, project=self.project)
            (self.codex_home / "config.toml").write_text(config)

    def environment(self, **more: str) -> dict[str, str]:
        """The whole environment for a program in this home, and nothing inherited but PATH."""
        environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "SHELL": "/bin/sh",
            "HOME": str(self.path),
            "TMPDIR": str(self.temporary),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "XDG_CONFIG_HOME": str(self.path / ".config"),
            "XDG_DATA_HOME": str(self.path / ".local" / "share"),
            "XDG_STATE_HOME": str(self.path / ".local" / "state"),
            "XDG_CACHE_HOME": str(self.path / ".cache"),
            "CODEX_HOME": str(self.codex_home),
            "STANDIN_KEY": DUMMY_KEY,
            "CLAUDE_CONFIG_DIR": str(self.claude_config),
            "ANTHROPIC_API_KEY": DUMMY_KEY,
            "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "IS_SANDBOX": "1",
        }
        if self._anthropic is not None:
            environment["ANTHROPIC_BASE_URL"] = self._anthropic.url
        return environment | more

    def tool_connections(self) -> int:
        """How often a Claude Code of this home has got the tools of the relay.

        It takes prompts before that, and then offers its model no such tools in the first turn.
        """
        logs = self.path.glob(".cache/claude-cli-nodejs/*/mcp-logs-*relay*/*.jsonl")
        return sum(log.read_text().count("Successfully connected") for log in logs)

    def close(self) -> None:
        """Removes the home with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _folder(self, name: str, mode: int = 0o755) -> Path:
        folder = self.path / name
        folder.mkdir(mode=mode)
        return folder

    def _seed_claude(self) -> None:
        """Answers every question a Claude Code that was never started before would ask."""
        trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
        state = {
            "hasCompletedOnboarding": True,
            "lastOnboardingVersion": "2.1.197",
            "theme": "dark",
            "fullscreenUpsellSeenCount": 9,
            "customApiKeyResponses": {"approved": [DUMMY_KEY[-20:]], "rejected": []},
            "projects": {str(self.project): {**trusted, "allowedTools": []}},
        }
        (self.claude_config / ".claude.json").write_text(json.dumps(state))
