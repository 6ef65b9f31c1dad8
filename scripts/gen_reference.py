"""Write docs/reference/ from the code: the API, its errors, settings, metrics and events.

    python -m scripts.gen_reference

A test compares the files with `pages()`, so that neither the code nor they change alone.
"""

import dataclasses
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from relay_agentd.settings import Settings as MachineSettings
from relay_server.errors import CODES
from relay_server.metrics import COUNTERS, GAUGES, HISTOGRAMS, Kind
from relay_server.settings import SETTINGS, from_sources
from relay_server.wire import EVENT_TYPES
from relay_server.wiring import build
from scripts.reference_types import example, fields_of, kind_of

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs/reference"
COMMAND: Final = "python -m scripts.gen_reference"
_NOTE: Final = f"<!-- made by `{COMMAND}`; change the code, not this page -->"
# What nearly every operation may answer is said once.
_EVERYWHERE: Final = frozenset(
    {
        *("malformed_request", "unauthorized", "forbidden", "misdirected_request"),
        *("invalid_request", "not_found", "internal_error", "store_unavailable"),
        *("payload_too_large", "unsupported_media_type"),
    }
)

_API: Final = """# The HTTP API

Machines read the same at `GET /api/openapi.json`. Tokens: the scopes that may call; `admin` may
call everything. A name with `?` may be left out. Besides the problems it names, any call may answer
"""
_ERRORS: Final = """# Errors of the HTTP API

Every failure is a problem object (RFC 9457, `application/problem+json`): `type`, `title`, `status`,
`detail` for people, and `code`, a stable word for programs. Other fields are named below.

"""
_SETTINGS: Final = """# Settings

All are environment variables. A wrong value is named together with what is accepted; an empty one
counts as not set.

"""
_METRICS: Final = """# Metrics

`GET /metrics` answers in Prometheus' text format and needs a token like the API. Besides these
there are `agent_relay_build_info` with the version, and the usual `process_*`.

"""
_EVENTS: Final = """# Events

`GET /api/events` tells these as server-sent events; `types=` chooses some, `task.*` a whole family.
Each has an `id` for `Last-Event-ID`, and its data are `id`, `type`, `at` and what the table names.
When the log does not reach back to that id, the first event is `reset`.

"""

Json = dict[str, Any]
Row = tuple[str, ...]


def published() -> Json:
    """The OpenAPI page of a relay that exists only for this."""
    with tempfile.TemporaryDirectory(prefix="relay-reference-") as folder:
        relay = build(from_sources([{"AGENT_RELAY_DB": str(Path(folder) / "relay.db")}]))
        try:
            transport = httpx.WSGITransport(relay.app)
            with httpx.Client(transport=transport, base_url="http://localhost") as client:
                return dict(client.get("/api/openapi.json").json())
        finally:
            relay.stop()


def pages() -> dict[str, str]:
    """The text of each page by its file name."""
    made = {
        "api.md": _api(published()),
        "errors.md": _errors(),
        "settings.md": _settings(),
        "metrics.md": _metrics(),
        "events.md": _events(),
    }
    return {name: "\n".join([_NOTE, "", *lines]) + "\n" for name, lines in made.items()}


def _table(head: Row, rows: Iterable[Row]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines]


# -- the API


def _api(document: Json) -> list[str]:
    areas: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines = _operation(method.upper(), path, operation)
            areas.setdefault(operation["tags"][0], []).extend(lines)
    usual = ", ".join(f"[`{code}`](errors.md)" for code in sorted(_EVERYWHERE))
    lines = [*_API.splitlines(), f"{usual}."]
    for area, found in areas.items():
        lines += ["", f"## {area}", *found]
    lines += ["", "## Objects"]
    for name, schema in document["components"]["schemas"].items():
        if fields := fields_of(schema):
            lines += ["", f"### {name}", "", *_table(("field", "type"), fields)]
    return lines


def _operation(method: str, path: str, operation: Json) -> list[str]:
    tokens = ", ".join(f"`{scope}`" for scope in operation["x-tokens"]) or "none needed"
    lines = ["", f"### `{method} {path}`", "", f"{operation['summary']}.", f"Tokens: {tokens}."]
    given = [
        (f"`{p['name']}`{'' if p['required'] else '?'}", p["in"], kind_of(p["schema"]), _about(p))
        for p in operation["parameters"]
    ]
    if given:
        lines += ["", *_table(("parameter", "in", "type", "meaning"), given)]
    body = _body(operation)
    if body.get("properties"):
        lines += ["", *_table(("body", "type"), fields_of(body))]
    lines += ["", *_answers(operation), "", "```sh", curl(method, path, operation), "```"]
    return lines


def _about(parameter: Json) -> str:
    return str(parameter.get("description", ""))


def _body(operation: Json) -> Json:
    content = operation.get("requestBody", {}).get("content", {})
    return dict(content.get("application/json", {}).get("schema", {}))


def _answers(operation: Json) -> Iterable[str]:
    codes = []
    for status, answer in operation["responses"].items():
        for media, content in answer.get("content", {}).items():
            if media == "application/problem+json":
                codes += content["schema"]["allOf"][1]["properties"]["code"]["enum"]
            else:
                yield f"- {status}: {kind_of(content['schema'])} (`{media}`)"
        if "content" not in answer:
            yield f"- {status}: no body"
    if special := [code for code in codes if code not in _EVERYWHERE]:
        yield f"- problems: {', '.join(map(_code, special))}"


def _code(code: str) -> str:
    return f"[`{code}`](errors.md)"


def curl(method: str, path: str, operation: Json) -> str:
    """A line that does it."""
    names = [p for p in operation["parameters"] if p["in"] == "path"]
    for parameter in names:
        path = path.replace(f"{{{parameter['name']}}}", str(example(parameter["name"], {})))
    asked = [p for p in operation["parameters"] if p["in"] == "query" and p["required"]]
    query = "&".join(f"{p['name']}={example(p['name'], p['schema'])}" for p in asked)
    words = ["curl", "-sS", *([] if method == "GET" else ["-X", method])]
    words.append(f'"$RELAY{path}{"?" + query if query else ""}"')
    if operation["x-tokens"]:
        words.append('-H "Authorization: Bearer $TOKEN"')
    body = _body(operation)
    if "requestBody" in operation and (filled := example_body(body)):
        words += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(filled)}'"]
    return " ".join(words)


def example_body(schema: Json) -> Json:
    """A body with what it must have."""
    properties = schema.get("properties", {})
    return {name: example(name, properties[name]) for name in schema.get("required", ())}


# -- the others


def _errors() -> list[str]:
    return [
        *_ERRORS.splitlines(),
        *_table(
            ("code", "status", "meaning"),
            [(f"`{code}`", str(known.status), known.meaning) for code, known in CODES.items()],
        ),
    ]


def _settings() -> list[str]:
    relay = [(f"`{s.name}`", _default(s.name, s.default()), s.about, s.accepted) for s in SETTINGS]
    machine = [
        (f"`{m['variable']}`", _default(m["variable"], item.default), m["about"])
        for item in dataclasses.fields(MachineSettings)
        for m in [item.metadata]
    ]
    return [
        *_SETTINGS.splitlines(),
        "## relay-server",
        "",
        *_table(("variable", "default", "meaning", "accepted"), relay),
        "",
        "## relay-agentd",
        "",
        *_table(("variable", "default", "meaning"), machine),
    ]


def _default(name: str, value: Any) -> str:
    if name == "AGENT_RELAY_DB":
        return "in your data folder"
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    if value in (None, ""):
        return "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _metrics() -> list[str]:
    families: list[tuple[str, str, Mapping[str, Kind]]] = [
        ("counter", "_total", COUNTERS),
        ("histogram", "", HISTOGRAMS),
        ("gauge", "", GAUGES),
    ]
    rows = [
        (f"`agent_relay_{name}{end}`", kind, ", ".join(known.labels), known.about)
        for kind, end, family in families
        for name, known in family.items()
    ]
    return [
        *_METRICS.splitlines(),
        *_table(("metric", "type", "labels", "meaning"), rows),
    ]


def _events() -> list[str]:
    return [
        *_EVENTS.splitlines(),
        *_table(
            ("type", "what happened", "data"),
            [(f"`{name}`", about, f"`{data}`") for name, (about, data) in EVENT_TYPES.items()],
        ),
    ]


def main() -> None:
    """Write them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
