"""Finding the native program, whatever put Codex on the machine, and saying what is wrong."""

import platform
import sys
from pathlib import Path

import pytest

from relay_launchers.base import ProviderNotFound
from relay_launchers.codex.find import OVERRIDE_VARIABLE, find_codex, native_program

ELF = b"\x7fELF native"
MACHINE = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(
    platform.machine(), platform.machine()
)
NATIVE_PACKAGE = f"codex-{sys.platform}-{MACHINE}"


def an_executable(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def a_program(path: Path, says: str, status: int = 0) -> Path:
    return an_executable(path, f"#!/bin/sh\necho '{says}'\nexit {status}\n".encode())


def an_npm_install(folder: Path) -> Path:
    """npm's wrapper with its link in a folder of PATH; returns that folder."""
    wrapper = an_executable(folder / "node_modules/@openai/codex/bin/codex.js", b"#!/usr/bin/node")
    (folder / "bin").mkdir()
    (folder / "bin" / "codex").symlink_to(wrapper)
    return folder / "bin"


def test_a_program_on_path_is_found_with_its_version(tmp_path: Path) -> None:
    program = a_program(tmp_path / "codex", "codex-cli 0.169.0")

    binary = find_codex({"PATH": str(tmp_path)})

    assert (binary.path, binary.version) == (program, "0.169.0")


def test_the_override_goes_before_path(tmp_path: Path) -> None:
    a_program(tmp_path / "codex", "codex-cli 0.150.0")
    chosen = a_program(tmp_path / "mine" / "codex-dev", "codex-cli 0.170.0-alpha.3")

    binary = find_codex({"PATH": str(tmp_path), OVERRIDE_VARIABLE: str(chosen)})

    assert (binary.path, binary.version) == (chosen, "0.170.0-alpha.3")


def test_npms_wrapper_leads_to_the_native_program(tmp_path: Path) -> None:
    scope = tmp_path / "node_modules" / "@openai"
    wrapper = (an_npm_install(tmp_path) / "codex").resolve()
    native = an_executable(scope / NATIVE_PACKAGE / "vendor/some-triple/bin/codex", ELF)
    an_executable(native.with_name("codex-code-mode-host"), ELF)

    assert native_program(wrapper) == native


def test_a_nested_native_package_goes_before_one_further_up(tmp_path: Path) -> None:
    wrapper = (an_npm_install(tmp_path) / "codex").resolve()
    scope = tmp_path / "node_modules" / "@openai"
    an_executable(scope / NATIVE_PACKAGE / "vendor/some-triple/bin/codex", ELF)
    inner = scope / "codex" / "node_modules" / "@openai" / NATIVE_PACKAGE
    nested = an_executable(inner / "vendor/some-triple/bin/codex", ELF)

    assert native_program(wrapper) == nested


def test_a_native_program_is_taken_where_it_is(tmp_path: Path) -> None:
    program = an_executable(tmp_path / "codex", ELF)

    assert native_program(program) == program


def test_a_missing_program_is_said_with_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ProviderNotFound, match=r"not found on PATH.*npm install.*AGENT_RELAY_CO"):
        find_codex({"PATH": str(tmp_path)})


def test_an_override_that_leads_nowhere_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProviderNotFound, match=r"AGENT_RELAY_CODEX=.* is no executable file"):
        find_codex({"PATH": str(tmp_path), OVERRIDE_VARIABLE: str(tmp_path / "nothing")})


def test_a_wrapper_without_its_program_is_said(tmp_path: Path) -> None:
    folder = an_npm_install(tmp_path)

    with pytest.raises(ProviderNotFound, match=f"@openai/{NATIVE_PACKAGE}.* is missing.*npm inst"):
        find_codex({"PATH": str(folder)})


def test_a_version_that_is_too_old_is_said(tmp_path: Path) -> None:
    a_program(tmp_path / "codex", "codex-cli 0.143.9")

    with pytest.raises(ProviderNotFound, match=r"0\.143\.9 .* is too old.*needs 0\.144\.0"):
        find_codex({"PATH": str(tmp_path)})


def test_a_build_from_source_is_taken(tmp_path: Path) -> None:
    a_program(tmp_path / "codex", "codex-cli 0.0.0")

    assert find_codex({"PATH": str(tmp_path)}).version == "0.0.0"


def test_a_program_that_is_no_codex_is_said(tmp_path: Path) -> None:
    a_program(tmp_path / "codex", "who are you?")

    with pytest.raises(ProviderNotFound, match=r"names no version \(exit 0\): who are you"):
        find_codex({"PATH": str(tmp_path)})


def test_a_program_that_fails_is_said(tmp_path: Path) -> None:
    a_program(tmp_path / "codex", "libssl.so.9 is missing", status=127)

    with pytest.raises(ProviderNotFound, match=r"\(exit 127\): libssl.so.9 is missing"):
        find_codex({"PATH": str(tmp_path)})
