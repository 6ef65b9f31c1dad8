"""JSON Schema in the words of the reference pages, and example values for its curl lines."""

from typing import Any, Final

Json = dict[str, Any]

_EXAMPLES: Final[Json] = {
    "from": "operator",
    "body": "Is the migration clean?",
    "to": "label:backend",
    "target": "tag:ops",
    "title": "Disk full on db-1",
    "agents": [{"id": "backend"}],
    "receipts": [{"messageId": 12, "state": "in_context"}],
    "id": "backend",
    "agentId": "backend",
    "machineId": "build-box",
    "messageId": 12,
    "taskId": 7,
    "approvalId": 3,
    "commandId": 5,
    "tokenId": 2,
    "streamId": "STREAM",
    "tool": "Bash",
    "summary": "rm -r build",
    "token": "TOKEN",
    "cwd": "/home/me/project",
    "provider": "claude",
    "name": "ci",
    "scopes": ["tasks:create"],
}


def example(name: str, schema: Json) -> Any:
    """A value for a field or a parameter of this name."""
    if isinstance(schema.get("enum"), list):
        return schema["enum"][0]
    if name == "agents" and schema.get("items", {}).get("type") == "string":
        return ["backend"]
    return _EXAMPLES.get(name, name)


def fields_of(schema: Json) -> list[tuple[str, str]]:
    """(name, type) of an object's fields; a `?` marks what may be left out."""
    required = schema.get("required", ())
    return [
        (f"`{name}`{'' if name in required else '?'}", kind_of(field))
        for name, field in schema.get("properties", {}).items()
    ]


def kind_of(schema: Json) -> str:
    """What a value may be."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(kind_of(each) for each in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join("null" if word is None else f"`{word}`" for word in schema["enum"])
    kinds = schema.get("type", "any JSON")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return " or ".join(_with_limits(kind, schema) for kind in kinds)


def _with_limits(kind: str, schema: Json) -> str:
    shown = kind
    match kind:
        case "array":
            shown = f"list of {kind_of(schema['items'])}" if "items" in schema else "list"
        case "object" if schema.get("properties"):
            shown = f"object ({', '.join(f'{name}: {of}' for name, of in fields_of(schema))})"
        case "integer" | "number" if "maximum" in schema:
            shown = f"{kind} {schema['minimum']}..{_most(schema['maximum'])}"
        case "string" if schema.get("format") == "date-time":
            shown = "time"
        case "string" if "maxLength" in schema:
            shown = f"string {schema.get('minLength', 0)}..{schema['maxLength']}"
        case "string" if "pattern" in schema:
            shown = f"string `{schema['pattern']}`"
    return shown


def _most(number: int) -> str:
    return "2^53-1" if number == 2**53 - 1 else str(number)
