"""The machine's settings: one frozen value, built once and passed down.

The only module that knows the names of our environment variables. Precedence: option,
environment, profile (what describes an agent), env file, default. All problems are reported
together; a token's value is never shown.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from relay_agentd.errors import SettingsInvalid
from relay_server.wire import DEFAULT_PORT, ApprovalMode

# Never in the environment of a session: the relay's token is the daemon's alone.
TOKEN_VARIABLE: Final = "AGENT_RELAY_TOKEN"  # noqa: S105 - a variable's name, not a token

_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/-")
_LONGEST_LABEL = 80


def _parse_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a URL like http://localhost:4850")
    _ = parts.port  # raises ValueError for a port that is none
    return text.rstrip("/")


def _parse_token(text: str) -> str:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("visible ASCII characters without blanks")
    return text


def _parse_names(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if any(len(name) > 64 or set(name) - _NAME_CHARACTERS for name in names):
        raise ValueError("names of 1 to 64 of A-Z a-z 0-9 . _ / - separated by commas")
    return tuple(dict.fromkeys(names))


def _parse_approval(text: str) -> ApprovalMode:
    if text not in list(ApprovalMode):
        raise ValueError("open, guarded or read-only")
    return ApprovalMode(text)


def _parse_label(text: str) -> str:
    if len(text) > _LONGEST_LABEL or not text.isprintable():
        raise ValueError("up to 80 printable characters")
    return text


def _parse_folders(text: str) -> tuple[Path, ...]:
    folders = [Path(name.strip()).expanduser() for name in text.split(",") if name.strip()]
    if not all(folder.is_absolute() for folder in folders):
        raise ValueError("absolute folders separated by commas")
    return tuple(folders)


def _parse_seconds(text: str) -> float:
    seconds = float(text)
    if not 0.05 <= seconds <= 3600:
        raise ValueError("seconds from 0.05 to 3600")
    return seconds


def _setting(
    variable: str, parse: Callable[[str], Any], default: Any, about: str, *, secret: bool = False
) -> Any:
    metadata = {"variable": variable, "parse": parse, "about": about, "secret": secret}
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything about this machine that a person can set."""

    url: str = _setting(
        "AGENT_RELAY_URL", _parse_url, f"http://localhost:{DEFAULT_PORT}", "where the relay is"
    )
    token: str | None = _setting(
        TOKEN_VARIABLE, _parse_token, None, "what to show the relay", secret=True
    )
    capabilities: tuple[str, ...] = _setting(
        "AGENT_RELAY_CAPS", _parse_names, ("chat",), "what new sessions can do: `cap:NAME`"
    )
    approval: ApprovalMode = _setting(  # noqa: RUF009 - makes a field, as the others
        "AGENT_RELAY_APPROVAL",
        _parse_approval,
        ApprovalMode.OPEN,
        "approval mode of new sessions: `open`, `guarded` or `read-only`",
    )
    profile: str | None = _setting(
        "AGENT_RELAY_PROFILE", str, None, "which entry of the profiles file describes new sessions"
    )
    tags: tuple[str, ...] = _setting(
        "AGENT_RELAY_TAGS", _parse_names, (), "tags of new sessions: `tag:NAME`"
    )
    label: str | None = _setting(
        "AGENT_RELAY_LABEL", _parse_label, None, "what people call a new session: `label:NAME`"
    )
    channels: tuple[str, ...] = _setting(
        "AGENT_RELAY_CHANNELS", _parse_names, (), "channels new sessions listen to; none: all"
    )
    rig: str | None = _setting(
        "AGENT_RELAY_RIG", _parse_label, None, "what the kind of session is called, in its name"
    )
    launch_roots: tuple[Path, ...] = _setting(
        "AGENT_RELAY_LAUNCH_ROOTS",
        _parse_folders,
        (),
        "folders below which the relay may start sessions; none: it may not",
    )
    # The relay calls an agent offline after 90 s of silence: four beats may get lost.
    heartbeat_seconds: float = _setting(
        "AGENT_RELAY_HEARTBEAT_SECONDS", _parse_seconds, 20.0, "how often the relay hears of us"
    )

    def described(self) -> dict[str, Any]:
        """A new session, in the words of the control socket's `session.open`."""
        return {
            "approval": self.approval.value,
            "label": self.label,
            "tags": list(self.tags),
            "capabilities": list(self.capabilities),
            "channels": list(self.channels),
            "rig": self.rig,
        }


# What a profile may hold, and the setting it stands for.
PROFILE_KEYS: Final = ("label", "tags", "capabilities", "channels", "approval")
_FIELDS: Final = {item.name: item for item in fields(Settings)}


def load_settings(
    environ: Mapping[str, str],
    *,
    options: Mapping[str, str | None] | None = None,
    env_file: Path | None = None,
    profiles_file: Path | None = None,
) -> Settings:
    """Build the settings; `options` maps field names to what the command line gave.

    Raises: SettingsInvalid.
    """
    problems: list[str] = []
    given = {name: text for name, text in (options or {}).items() if text is not None}
    filed = _read_env_file(env_file, problems)
    layers: list[tuple[str, Mapping[str, str]]] = [
        ("option", given),
        ("environment", _by_field(environ)),
    ]
    chosen = _first(layers, "profile") or _by_field(filed).get("profile")
    layers.append((f"profile {chosen}", _read_profile(chosen, profiles_file, problems)))
    layers.append((str(env_file), _by_field(filed)))
    values = {
        name: value for name in _FIELDS if (value := _value(name, layers, problems)) is not None
    }
    if problems:
        raise SettingsInvalid(problems)
    return Settings(**values)


def parse_env_lines(text: str) -> dict[str, str]:
    """KEY=VALUE lines; blank lines and # comments count for nothing, quotes around a value go.

    Raises: ValueError naming the line.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            raise ValueError(f"line {number} is not KEY=VALUE")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name.strip()] = value
    return found


def with_settings(text: str, values: Mapping[str, str]) -> str:
    """The text of an env file with these fields set; all its other lines stay as they are."""
    left = {_FIELDS[name].metadata["variable"]: value for name, value in values.items()}
    ours, lines = frozenset(left), []
    for line in text.splitlines():
        variable = line.strip().removeprefix("export ").partition("=")[0].strip()
        if variable not in ours:
            lines.append(line)
        elif variable in left:
            lines.append(f"{variable}={left.pop(variable)}")
    lines.extend(f"{variable}={value}" for variable, value in left.items())
    return "\n".join(lines) + "\n"


def overruled(environ: Mapping[str, str], values: Mapping[str, str]) -> list[str]:
    """The variables of the environment that say something else than these fields, and win."""
    said = _by_field(environ)
    return [
        _FIELDS[name].metadata["variable"]
        for name, value in values.items()
        if said.get(name, value) != value
    ]


def _by_field(variables: Mapping[str, str]) -> dict[str, str]:
    """What the variables say about our fields; an empty value counts as not given."""
    return {
        name: text
        for name, item in _FIELDS.items()
        if (text := variables.get(item.metadata["variable"], "").strip())
    }


def _first(layers: list[tuple[str, Mapping[str, str]]], name: str) -> str | None:
    return next((layer[name] for _, layer in layers if name in layer), None)


def _value(
    name: str, layers: list[tuple[str, Mapping[str, str]]], problems: list[str]
) -> Any | None:
    metadata = _FIELDS[name].metadata
    for source, layer in layers:
        if name not in layer:
            continue
        try:
            return metadata["parse"](layer[name])
        except ValueError as error:
            shown = "(hidden)" if metadata["secret"] else repr(layer[name])
            problems.append(f"{metadata['variable']} ({source}): {shown}: expected {error}")
            return None
    return None


def _read_env_file(path: Path | None, problems: list[str]) -> dict[str, str]:
    if path is None:
        return {}
    try:
        return parse_env_lines(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error.strerror}")
    except ValueError as error:
        problems.append(f"{path}: {error}")
    return {}


def _read_profile(name: str | None, path: Path | None, problems: list[str]) -> dict[str, str]:
    """A profile as texts of settings, so that it is parsed by the same rules."""
    if name is None or path is None:
        return {}
    profiles: dict[str, Any] = {}
    try:
        profiles = json.loads(path.read_text(encoding="utf-8"))
        profile = profiles[name]
        unknown = profile.keys() - set(PROFILE_KEYS)
    except FileNotFoundError:
        problems.append(f"AGENT_RELAY_PROFILE: {name!r}: there is no {path}")
    except KeyError:
        problems.append(f"AGENT_RELAY_PROFILE: {name!r}: {path} has {sorted(profiles)}")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        problems.append(f"{path}: expected an object of profiles: {error}")
    else:
        problems.extend(
            f"{path}: profile {name!r}: unknown key {key!r}: expected {', '.join(PROFILE_KEYS)}"
            for key in sorted(unknown)
        )
        return {
            key: ",".join(map(str, value)) if isinstance(value, list) else str(value)
            for key, value in profile.items()
            if key in PROFILE_KEYS and value is not None
        }
    return {}
