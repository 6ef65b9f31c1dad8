"""`install` and `uninstall`: making a provider's own sessions join, and leaving no trace of it.

Carries out what a provider's `Installer` plans. Owns one folder for each provider and home, with
`record.json`: the person's files as they were, written down before the first of them is changed,
and what they looked like afterwards. A file that nobody has changed since is put back byte for
byte; out of any other only what is ours is taken. Whatever line it is killed at, the same command
again finishes it. Runs in the command's process.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from typing import Any

from relay_agentd.errors import AgentdError
from relay_agentd.install_record import Record, content_of, digest_of, replace_content
from relay_agentd.paths import Paths, make_private
from relay_agentd.spawn import run_quietly
from relay_launchers.base import Binary, Command
from relay_launchers.environment import without_session
from relay_launchers.install import (
    Change,
    Installer,
    InstallPlan,
    InstallRefused,
    InstallRequest,
    Traces,
)

_COMMAND_SECONDS = 120.0


class InstallFailed(AgentdError):
    """A file could not be changed, or a command of the provider's failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was done, or would be."""

    state: str
    """installed, updated, already installed, uninstalled, not installed"""
    home: Path
    version: str | None = None
    writes: Mapping[Path, str] = field(default_factory=dict)
    """Each file, and what becomes of it."""
    runs: tuple[tuple[str, ...], ...] = ()
    texts: Mapping[Path, tuple[str, str]] = field(default_factory=dict)
    """What we write ourselves: before and after."""

    def as_json(self, provider: str, *, dry_run: bool) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "provider": provider,
            "state": self.state,
            "dryRun": dry_run,
            "home": str(self.home),
            "version": self.version,
            "files": [
                {"path": str(path), "what": what, **self._change(path)}
                for path, what in self.writes.items()
            ],
            "commands": [list(argv) for argv in self.runs],
        }

    def diff(self, path: Path) -> list[str]:
        """The lines that change in a file, as `diff -u` shows them."""
        before, after = self.texts.get(path, ("", ""))
        lines = unified_diff(before.splitlines(), after.splitlines(), n=1, lineterm="")
        return [line for line in lines if not line.startswith(("---", "+++"))]

    def _change(self, path: Path) -> dict[str, list[str]]:
        diff = self.diff(path)
        return {"diff": diff} if diff else {}


def install(installer: Installer, request: InstallRequest, *, dry_run: bool) -> Report:
    """Install, or bring up to date. Raises: AgentdError."""
    try:
        plan = installer.plan(request)
        traces = installer.traces(request.home, request.data)
        record = Record.load(request.data)
        if record is not None and record.version == plan.version and _is_there(plan):
            return Report(state="already installed", home=request.home, version=plan.version)
        if record is None:
            _refuse_folders_of_others(plan, traces, request.data)
        report = _forecast(plan, request.home, is_update=record is not None)
        if not dry_run:
            _carry_out(plan, traces, request, record)
        return report
    except InstallRefused as refusal:
        raise InstallFailed(str(refusal)) from refusal
    except OSError as error:
        raise InstallFailed(f"cannot change {error.filename}: {error.strerror}") from error


def uninstall(
    installer: Installer, home: Path, data: Path, *, dry_run: bool, purge: bool
) -> Report:
    """Take out what `install` put in. Raises: AgentdError."""
    try:
        traces = installer.traces(home, data)
        record = Record.load(data)
        leftovers = {data: "removed"} if purge and data.exists() else {}
        steps = _undoing(traces, record or Record.empty(), home)
        if record is None and not steps:
            if not dry_run and leftovers:
                shutil.rmtree(data)
            return Report(state="not installed", home=home, writes=leftovers)
        texts = {
            path: (_text(path) or "", _shown(steps[path][1]))
            for path, change in traces.changes.items()
            if path in steps and not change.by_command
        }
        report = Report(
            state="uninstalled",
            home=home,
            version=record.version if record else None,
            writes={path: what for path, (what, _) in steps.items()}
            | {folder: "removed" for folder in (*traces.folders, data) if folder.exists()},
            texts=texts,
        )
        if not dry_run:
            _undo(steps, traces, record, data)
        return report
    except InstallRefused as refusal:
        raise InstallFailed(str(refusal)) from refusal
    except OSError as error:
        raise InstallFailed(f"cannot change {error.filename}: {error.strerror}") from error


def folder_for(provider: str, home: Path, paths: Paths) -> Path:
    """The installation's own folder."""
    mark = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:8]
    return paths.data / "installed" / f"{provider}-{mark}"


def request_for(
    provider: str,
    installer: Installer,
    binary: Binary | None,
    paths: Paths,
    environment: Mapping[str, str],
) -> InstallRequest:
    """What `install` is told on this machine."""
    home = installer.home(environment).absolute()
    return InstallRequest(
        home=home,
        data=folder_for(provider, home, paths),
        binary=binary if installer.needs_program else None,
        environment=without_session(environment),
        python=Path(sys.executable),
        pipe=Path(__file__).with_name("mcp_pipe.py"),
        control_socket=paths.control_socket,
        config=paths.env_file,
    )


# --- installing ---


def _is_there(plan: InstallPlan) -> bool:
    files = all(_text(path) == text for path, text in plan.files.items())
    return files and all(_is_in(path, change) for path, change in plan.changes.items())


def _refuse_folders_of_others(plan: InstallPlan, traces: Traces, data: Path) -> None:
    """What would be ours to remove later must not be somebody's now. Raises: InstallRefused."""
    for folder in traces.folders:
        ours = [path for path in plan.files if path.is_relative_to(folder)]
        if folder.is_relative_to(data) or not folder.is_dir() or not any(folder.iterdir()):
            continue
        if any(_text(path) != plan.files[path] for path in ours):
            raise InstallRefused(f"{folder} is there already and is not ours: move it away first")


def _forecast(plan: InstallPlan, home: Path, *, is_update: bool) -> Report:
    texts = {
        path: (_text(path) or "", text) for path, text in plan.files.items() if _text(path) != text
    }
    writes = dict.fromkeys(texts, "written")
    for path, change in plan.changes.items():
        if change.by_command:
            writes[path] = "changed by the commands"
        elif not _is_in(path, change):
            texts[path] = (_text(path) or "", _changed(path, change))
            writes[path] = "changed" if path.exists() else "written"
    commands = plan.commands + (plan.update if is_update else ())
    return Report(
        state="updated" if is_update else "installed",
        home=home,
        version=plan.version,
        writes=writes,
        runs=tuple(command.argv for command in commands),
        texts=texts,
    )


def _carry_out(
    plan: InstallPlan, traces: Traces, request: InstallRequest, record: Record | None
) -> None:
    if record is None:
        record = Record.before(
            (*traces.changes, *traces.touched),
            _entries(request.home, traces),
            _folders_above(request, traces),
        )
    make_private(request.data)
    record.started(request.data)
    for path, text in plan.files.items():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_content(path, text.encode())
    for path, change in plan.changes.items():
        if not change.by_command:
            replace_content(path, _changed(path, change).encode())
    for command in plan.commands + (plan.update if record.version else ()):
        _run(command)
    for path, change in plan.changes.items():
        if not _is_in(path, change):
            raise InstallFailed(f"{path} did not take the change: install the provider's update")
    record.finished(request.data, plan.version, _entries(request.home, traces) - record.entries)


def _run(command: Command) -> None:
    status, said = run_quietly(
        command.argv, command.environment, command.cwd, seconds=_COMMAND_SECONDS
    )
    if status != 0:
        line = " ".join(command.argv)
        last = said.strip().splitlines()[-1:] or ["it said nothing"]
        raise InstallFailed(f"`{line}` failed ({status}): {last[0]}")


def _changed(path: Path, change: Change) -> str:
    """Raises InstallRefused that names the file."""
    try:
        return change.put_in(_text(path) or "")
    except InstallRefused as refusal:
        raise InstallRefused(f"{path}: {refusal}") from refusal


# --- uninstalling ---


def _undoing(traces: Traces, record: Record, home: Path) -> dict[Path, tuple[str, bytes | None]]:
    """What becomes of each file: for people, and its content (None: it goes)."""
    steps: dict[Path, tuple[str, bytes | None]] = {}
    for path, change in traces.changes.items():
        now = content_of(path)
        if now is None:
            continue
        rest = _rest(path, change, now, record)
        if rest != now:
            steps[path] = ("removed" if rest is None else "put back", rest)
    for path in traces.touched:
        before = record.files.get(path)
        if digest_of(path) == record.after.get(path) and content_of(path) != before:
            steps[path] = ("removed" if before is None else "put back", before)
    for path, digest in record.appeared.items():
        if path.is_relative_to(home) and digest_of(path) == digest and path not in steps:
            steps[path] = ("removed", None)
    return steps


def _rest(path: Path, change: Change, now: bytes, record: Record) -> bytes | None:
    """What is left of a file without ours."""
    before = record.files.get(path)
    if digest_of(path) == record.after.get(path):
        return before
    try:
        text, earlier = now.decode(), None if before is None else before.decode()
        rest = change.take_out(text, earlier)
        if rest != text and change.is_same(rest, earlier):
            return before
    except (InstallRefused, UnicodeError) as problem:
        raise InstallRefused(f"{path}: {problem}") from problem
    return rest.encode()


def _undo(
    steps: Mapping[Path, tuple[str, bytes | None]],
    traces: Traces,
    record: Record | None,
    data: Path,
) -> None:
    for path, (_, content) in steps.items():
        if content is None:
            # A person's link to a file that was not there yet stays.
            (path.resolve() if path in traces.changes else path).unlink(missing_ok=True)
        else:
            replace_content(path, content)
    for folder in traces.folders:
        shutil.rmtree(folder, ignore_errors=True)
    # Nearly last: until here the same command again finishes it.
    shutil.rmtree(data, ignore_errors=True)
    for folder in sorted(record.made if record else (), reverse=True):
        with suppress(OSError):  # something else is in it by now
            folder.rmdir()


# --- looking ---


def _text(path: Path) -> str | None:
    content = content_of(path)
    try:
        return None if content is None else content.decode()
    except UnicodeError as error:
        raise InstallRefused(f"{path} is not UTF-8: mend it first") from error


def _shown(content: bytes | None) -> str:
    return "" if content is None else content.decode(errors="replace")


def _is_in(path: Path, change: Change) -> bool:
    text = _text(path)
    try:
        return text is not None and change.is_in(text)
    except InstallRefused as refusal:
        raise InstallRefused(f"{path}: {refusal}") from refusal


def _entries(home: Path, traces: Traces) -> set[Path]:
    """What is below the provider's home where its commands may add to."""
    inside = {path for pattern in traces.byproducts for path in home.glob(pattern)}
    inside |= {folder for path in inside for folder in path.parents if folder != home}
    watched = {*traces.changes, *traces.touched}
    return {
        path
        for path in inside - watched
        if path.is_relative_to(home)
        and not any(path.is_relative_to(folder) for folder in traces.folders)
    }


def _folders_above(request: InstallRequest, traces: Traces) -> set[Path]:
    """The folders that do not exist yet, above everything we or the commands write."""
    written = (*traces.changes, *traces.touched, *traces.folders, request.data)
    above: Iterable[Path] = (parent for path in written for parent in path.parents)
    return {folder for folder in above if not folder.exists()}
