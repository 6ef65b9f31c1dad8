"""`install` and `uninstall` as a person reads them; `tests/e2e/test_plain.py` has what they do."""

from tests.cli.machine import Machine


def test_a_dry_run_shows_what_would_change_in_the_persons_own_file(machine: Machine) -> None:
    config = machine.home.codex_home / "config.toml"
    before = config.read_text() if config.exists() else None

    said = machine.run("install", "codex", "--dry-run").stdout

    assert said.startswith("codex: would be installed\n")
    assert said.endswith("Nothing was changed: this was a dry run.\n")
    assert "      +[mcp_servers.relay] # agent-relay\n" in said
    # Of a file of our own it is enough to know that it is there.
    assert "  written: ~/.codex/skills/agent-relay/SKILL.md\n" in said
    assert "name: agent-relay" not in said
    assert "name: agent-relay" in str(machine.json("install", "codex", "--dry-run"))
    assert (config.read_text() if config.exists() else None) == before


def test_what_was_done_is_said_and_the_second_time_there_is_nothing_to_do(
    machine: Machine,
) -> None:
    first, second = machine.run("install", "codex"), machine.run("install", "codex")
    undone, again = machine.run("uninstall", "codex"), machine.run("uninstall", "codex")

    assert "Sessions that you start with `codex` from now on join" in first.stdout
    assert second.stdout == "codex: already installed\n"
    assert undone.stdout.startswith("codex: uninstalled\n")
    assert again.stdout == "codex: not installed\n"
