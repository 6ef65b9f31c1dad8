"""What Tab offers, in real shells and when the relay is away."""

import shutil
import subprocess
import time

import pytest

from relay_agentd import relay_calls as calls
from relay_agentd.relay_client import RelayClient
from tests.cli.machine import Machine

AGENT = "box-claude-shop-7f7f7f7f"


def completed(machine: Machine, *words: str, **more: str) -> list[str]:
    """What bash is offered for the last word."""
    asked = {
        "_RELAY_AGENTD_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["relay-agentd", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = machine.run(within=30.0, **asked, **more)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_and_options_are_completed(running: Machine) -> None:
    assert completed(running, "appro") == ["approvals", "approve"]
    assert "--watch" in completed(running, "approvals", "--w")


def test_names_on_the_relay_are_completed(running: Machine) -> None:
    with RelayClient(running.url) as client:
        agent = {"id": AGENT, "label": "backend", "tags": ["shop"], "capabilities": ["chat"]}
        client.request(calls.register(agent))
        client.request(calls.set_status(AGENT, "idle"))
        fields = {"tool": "Bash", "summary": "make"}
        approval = client.request(calls.ask(AGENT, fields, idempotency_key="tab"))

    assert completed(running, "send", "box-") == [AGENT]
    assert completed(running, "send", "tag:") == ["tag:shop"]
    assert completed(running, "send", "label:b") == ["label:backend"]
    assert completed(running, "inbox", "--for", "box") == [AGENT]
    assert completed(running, "claim", "1", "--for", "box") == [AGENT]
    assert str(approval["id"]) in completed(running, "approve", "")


def test_sessions_of_this_machine_are_completed(running: Machine) -> None:
    with running.terminal("run", "stand-in") as window:
        window.wait_for_text("READY")
        agent = running.a_session()["agentId"]

        assert agent in completed(running, "stop", "")
        running.run("stop", agent)
        window.exit_status()


@pytest.mark.parametrize("words", [("send", ""), ("approve", ""), ("stop", ""), ("label", "--a")])
def test_without_a_relay_tab_is_quick_and_silent(machine: Machine, words: tuple[str, ...]) -> None:
    before = time.monotonic()

    completed(machine, *words)
    completed(machine, *words, AGENT_RELAY_URL="no url")

    assert time.monotonic() - before < 10


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_takes_the_script(running: Machine, shell: str) -> None:
    done = running.run("completion", shell)

    assert "_RELAY_AGENTD_COMPLETE" in done.stdout
    assert done.stderr == ""
    program = shutil.which(shell)
    if program is not None:
        check = [program, "-n"] if shell != "fish" else [program, "--no-execute"]
        subprocess.run(check, input=done.stdout, text=True, check=True, timeout=20)


def test_tab_completes_in_a_real_bash(running: Machine) -> None:
    with running.shell() as shell:
        shell.wait_for_text("shell>")
        shell.write('eval "$(relay-agentd completion bash)"; echo rea""dy\r')
        shell.wait_for_text(r"^ready")
        shell.write("relay-agentd thr\t")
        shell.wait_for_text(r"relay-agentd thread")


def test_a_shell_we_do_not_know_is_named(running: Machine) -> None:
    done = running.run("completion", SHELL="/bin/tcsh")

    assert done.returncode == 2
    assert "bash, zsh, fish" in done.stderr
