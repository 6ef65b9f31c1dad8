"""Finding Claude Code on a machine."""

from pathlib import Path

import pytest

from relay_launchers.base import ProviderNotFound
from relay_launchers.claude.find import find_claude, native_program


def program(path: Path, version: str = "2.1.330 (Claude Code)") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(0o755)
    return path


def test_the_program_on_path_is_found_with_its_version(tmp_path: Path) -> None:
    claude = program(tmp_path / "bin" / "claude")

    found = find_claude({"PATH": f"{claude.parent}:/bin"})

    assert (found.path, found.version) == (claude, "2.1.330")


def test_the_variable_wins_over_path(tmp_path: Path) -> None:
    on_path, named = program(tmp_path / "a" / "claude"), program(tmp_path / "b" / "mine")

    found = find_claude({"PATH": f"{on_path.parent}:/bin", "AGENT_RELAY_CLAUDE": str(named)})

    assert found.path == named


def test_no_program_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ProviderNotFound, match=r"npm install.*AGENT_RELAY_CLAUDE"):
        find_claude({"PATH": str(tmp_path)})


def test_a_version_without_exec_hooks_is_refused_with_the_reason(tmp_path: Path) -> None:
    claude = program(tmp_path / "claude", "2.1.138 (Claude Code)")

    with pytest.raises(ProviderNotFound, match=r"2\.1\.138.*too old.*2\.1\.139"):
        find_claude({"PATH": f"{claude.parent}:/bin"})


def test_a_newer_version_than_any_known_is_taken(tmp_path: Path) -> None:
    claude = program(tmp_path / "claude", "3.0.0 (Claude Code)")

    assert find_claude({"PATH": f"{claude.parent}:/bin"}).version == "3.0.0"


def test_npms_script_is_followed_to_the_program(tmp_path: Path) -> None:
    scope = tmp_path / "node_modules" / "@anthropic-ai"
    script = program(scope / "claude-code" / "cli-wrapper.cjs")
    native = program(scope / "claude-code-linux-x64" / "claude")

    assert native_program(script) == native


def test_a_script_without_a_program_beside_it_stays_what_it_is(tmp_path: Path) -> None:
    script = program(tmp_path / "claude-code" / "cli-wrapper.cjs")

    assert native_program(script) == script
