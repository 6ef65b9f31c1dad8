"""An integration as people write it (settings, request, command line), checked. Pure.

No message repeats a value: people put secrets into wrong fields.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard
from urllib.parse import urlsplit

from relay_server.domain.access import Integration
from relay_server.domain.routing import NAME, MalformedTarget, parse_target
from relay_server.domain.token import fingerprint
from relay_server.wire import RESERVED_IDS, IntegrationScope

INTEGRATION_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
MAX_SECRET: Final = 512
SECRET: Final = re.compile(rf"[\x21-\x7e]{{1,{MAX_SECRET}}}")
MAX_URL: Final = 2000
MAX_LISTED: Final = 64

_SCOPES: Final = frozenset(IntegrationScope)
_SECRETS: Final = ("callbackSecret", "webhookSecret")
_FIELDS: Final = frozenset({"name", "scopes", "targets", "channels", "callbackUrl", *_SECRETS})

Problem = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Configured:
    """One of the settings: it cannot be removed while the relay runs."""

    integration: Integration
    token_hash: str = field(repr=False)


def checked(given: Mapping[str, Any]) -> tuple[Integration | None, list[Problem]]:
    """The integration, or (field, what is wrong with it) for everything wrong."""
    problems = [(name, "unknown field") for name in given if name not in _FIELDS]
    problems += _name_problems(given.get("name"))
    problems += _list_problems("scopes", given.get("scopes"), _is_scope, _SCOPE_RULE)
    for name, is_good, rule in (
        ("targets", _is_target, "an agent id, tag:X, cap:X, label:X, broadcast or operator"),
        ("channels", _is_channel, "1..64 of A-Za-z0-9._/-"),
    ):
        if given.get(name) is not None:
            problems += _list_problems(name, given[name], is_good, rule)
    if given.get("callbackUrl") is not None:
        problems += _url_problems(given["callbackUrl"])
    for name in _SECRETS:
        secret = given.get(name)
        if secret is not None and not _is_secret(secret):
            problems.append((name, f"expected 1..{MAX_SECRET} visible ASCII characters"))
    if problems:
        return None, problems
    return _made(given), []


def from_settings(listed: object) -> tuple[tuple[Configured, ...], list[Problem]]:
    """The setting's JSON; each problem with its position, as in `[1].scopes`."""
    if not isinstance(listed, list):
        return (), [("", "expected a list of objects")]
    found: list[Configured] = []
    problems: list[Problem] = []
    for position, given in enumerate(listed):
        configured, wrong = _from_setting(given, found)
        problems += [(f"[{position}]{f'.{name}' if name else ''}", text) for name, text in wrong]
        if configured:
            found.append(configured)
    return tuple(found), problems


def _from_setting(
    given: object, earlier: Iterable[Configured]
) -> tuple[Configured | None, list[Problem]]:
    if not isinstance(given, dict):
        return None, [("", "expected an object")]
    rest = {name: value for name, value in given.items() if name != "token"}
    integration, problems = checked(rest)
    token = given.get("token")
    token_hash = fingerprint(token) if _is_secret(token) else None
    if token_hash is None:
        problems.append(("token", f"expected 1..{MAX_SECRET} visible ASCII characters"))
    elif any(token_hash == other.token_hash for other in earlier):
        problems.append(("token", "another integration has the same one"))
    if integration and any(other.integration.name == integration.name for other in earlier):
        problems.append(("name", "another integration has the same one"))
    if problems or integration is None or token_hash is None:
        return None, problems
    return Configured(integration, token_hash), []


def _made(given: Mapping[str, Any]) -> Integration:
    def listed(name: str) -> tuple[str, ...] | None:
        return None if given.get(name) is None else tuple(dict.fromkeys(given[name]))

    return Integration(
        name=given["name"],
        scopes=frozenset(IntegrationScope(scope) for scope in given["scopes"]),
        targets=listed("targets"),
        channels=listed("channels"),
        callback_url=given.get("callbackUrl"),
        callback_secret=given.get("callbackSecret"),
        webhook_secret=given.get("webhookSecret"),
    )


_URL_RULE: Final = (
    f"expected http://... or https://... of at most {MAX_URL} visible ASCII characters,"
    " without user and password"
)
_SCOPE_RULE: Final = " or ".join(IntegrationScope)


def _is_scope(value: str) -> bool:
    return value in _SCOPES


def _is_channel(value: str) -> bool:
    return NAME.fullmatch(value) is not None


def _is_target(value: str) -> bool:
    try:
        parse_target(value)
    except MalformedTarget:
        return False
    return True


def _is_secret(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and SECRET.fullmatch(value) is not None


def _name_problems(value: object) -> Iterator[Problem]:
    if not isinstance(value, str) or not INTEGRATION_NAME.fullmatch(value):
        yield "name", "expected 1..64 of A-Za-z0-9._-"
    elif value in RESERVED_IDS:
        yield "name", "is a reserved word"


def _list_problems(name: str, value: object, is_good: Any, rule: str) -> Iterator[Problem]:
    if not isinstance(value, list | tuple) or len(value) > MAX_LISTED:
        yield name, f"expected a list of at most {MAX_LISTED}"
        return
    for position, item in enumerate(value):
        if not isinstance(item, str) or not is_good(item):
            yield f"{name}[{position}]", f"expected {rule}"


def _url_problems(value: object) -> Iterator[Problem]:
    if not is_callback_url(value):
        yield "callbackUrl", _URL_RULE


def is_callback_url(value: object) -> bool:
    """Somewhere that may be posted to. Credentials in it would be shown in listings."""
    if not isinstance(value, str) or len(value) > MAX_URL:
        return False
    if any(not 0x21 <= ord(character) <= 0x7E for character in value):
        return False
    try:
        parts = urlsplit(value)
        is_whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port or an IPv6 address that is none
        return False
    return bool(is_whole) and parts.username is None and parts.password is None
