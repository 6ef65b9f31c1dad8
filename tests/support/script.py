"""What a stand-in model does next, read out of the conversation itself.

The text a model is given drives it: a test scripts both sides of a talk by what it types or sends.

    [[tool: NAME {json}]]          call any tool; NAME may be "namespace/name"
    [[mcp: SERVER TOOL {json}]]    call an MCP tool, whatever the provider made of its name
    [[shell: CMD]]                 call the provider's shell tool
    [[shellesc: CMD]]              the same, asking to leave the sandbox (Codex)
    [[patch: FILE | TEXT]]         add FILE with TEXT
    [[sleep: S]]  [[delay: S]]     wait S seconds before the next answer
    [[hold: NAME]]                 wait before the next answer until the test calls `release(NAME)`
    [[slow: S]]                    stream the final answer over S seconds
    [[say: TEXT]]  [[text: TEXT]]  the final answer
    [[http: N]]  [[error: N]]      answer with this HTTP status while this is the newest text

Calls run in the order they stand in, one model round trip each, over all the texts since the
model's last final answer; then the final answer comes. A directive may hold directives (a message
that asks its receiver to answer). `%N%` in a directive becomes the id of the `[msg:N]` that stands
before it in the same text, except inside the nested ones: there it is the receiver's to fill in.
"""

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

CallKind = Literal["tool", "mcp", "shell", "shellesc", "patch"]
CALLS: dict[str, CallKind] = {
    "tool": "tool",
    "mcp": "mcp",
    "shell": "shell",
    "shellesc": "shellesc",
    "patch": "patch",
}
MESSAGE = re.compile(r"\[msg:(\d+)\] from\b")
_OPENING = re.compile(r"\[\[(\w+):")
_BRACKETS = re.compile(r"\[\[|\]\]")


@dataclass(frozen=True, slots=True)
class Call:
    """The model calls a tool."""

    kind: CallKind
    argument: str


@dataclass(frozen=True, slots=True)
class Say:
    """The model ends its turn with this text, streamed over so many seconds."""

    text: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Fail:
    """The model's server answers with this HTTP status."""

    status: int


@dataclass(frozen=True, slots=True)
class Step:
    """One answer of the model, and what it waits for first."""

    action: Call | Say | Fail
    delay: float = 0.0
    hold: str | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a provider sent since the model's last final answer."""

    texts: Sequence[str]
    calls_made: int = 0
    outputs: Sequence[str] = field(default=())


def directives(text: str) -> Iterator[tuple[str, str]]:
    """Each `[[name: argument]]` of the text, in order, the nested ones left inside the argument."""
    position = 0
    while opening := _OPENING.search(text, position):
        closing = _closing(text, opening.end())
        if closing is None:
            position = opening.end()
            continue
        argument = text[opening.end() : closing].strip()
        yield opening.group(1), _filled(argument, _message_before(text, opening.start()))
        position = closing + 2


def next_step(conversation: Conversation, on_message: str | None = None) -> Step:
    """The next answer. `on_message`: directives that stand behind each `[msg:N] from`."""
    texts = [_with_rule(text, on_message) for text in conversation.texts]
    if texts and (status := _failure(texts[-1])):
        return Step(Fail(status))
    calls, last = _plan(texts)
    if conversation.calls_made < len(calls):
        return calls[conversation.calls_made]
    if isinstance(last.action, Say) and not last.action.text:
        return replace(last, action=Say(_echo(conversation), last.action.seconds))
    return last


def arguments_of(call: Call) -> tuple[str, dict[str, Any]]:
    """The tool's name and arguments of a `tool` or `mcp` call (for `mcp`: "SERVER TOOL")."""
    words = 2 if call.kind == "mcp" else 1
    parts = call.argument.split(maxsplit=words)
    name = " ".join(parts[:words])
    raw = parts[words] if len(parts) > words else "{}"
    try:
        arguments = json.loads(raw)
    except ValueError:
        # A provider's envelope may have escaped quotes on the message's way into the context.
        arguments = json.loads(html.unescape(raw))
    if not isinstance(arguments, dict):
        message = f"the arguments of {name} are no object: {raw}"
        raise TypeError(message)
    return name, arguments


def message_ids(texts: Sequence[str]) -> list[int]:
    """The ids of all relay messages the texts show, in order, repeats included."""
    return [int(number) for text in texts for number in MESSAGE.findall(text)]


def _plan(texts: Sequence[str]) -> tuple[list[Step], Step]:
    """The calls in order, and the final answer that follows them."""
    calls: list[Step] = []
    delay, hold, slow, say = 0.0, None, 0.0, ""
    for name, argument in (pair for text in texts for pair in directives(text)):
        if name in CALLS:
            calls.append(Step(Call(CALLS[name], argument), delay, hold))
            delay, hold = 0.0, None
        elif name in {"sleep", "delay"}:
            delay += float(argument)
        elif name == "hold":
            hold = argument
        elif name == "slow":
            slow = float(argument)
        elif name in {"say", "text"}:
            say = argument
    return calls, Step(Say(say, slow), delay, hold)


def _failure(text: str) -> int | None:
    """The HTTP status a text asks for."""
    asked = [argument for name, argument in directives(text) if name in {"http", "error"}]
    return int(asked[-1]) if asked else None


def _echo(conversation: Conversation) -> str:
    """What a model without anything to say says: enough for a test to recognise it."""
    said = " ++ ".join(text.strip()[:200] for text in conversation.texts)
    if conversation.outputs:
        said += " || OUTPUTS: " + " ## ".join(output.strip() for output in conversation.outputs)
    return f"MOCK-ANSWER: {said}"


def _with_rule(text: str, rule: str | None) -> str:
    """The text with the rule's directives behind each relay message's head."""
    return text if rule is None else MESSAGE.sub(lambda head: f"{head.group(0)} {rule} ", text)


def _closing(text: str, start: int) -> int | None:
    """Where the directive that was opened before `start` is closed."""
    depth = 1
    for bracket in _BRACKETS.finditer(text, start):
        depth += 1 if bracket.group(0) == "[[" else -1
        if depth == 0:
            return bracket.start()
    return None


def _message_before(text: str, position: int) -> str | None:
    """The id of the newest relay message that begins before a place in the text."""
    found = MESSAGE.findall(text[:position])
    return found[-1] if found else None


def _filled(argument: str, number: str | None) -> str:
    """The argument with `%N%` replaced, except inside nested directives."""
    if number is None:
        return argument
    filled, depth, position = "", 0, 0
    for bracket in _BRACKETS.finditer(argument):
        piece = argument[position : bracket.start()]
        filled += piece if depth else piece.replace("%N%", number)
        filled += bracket.group(0)
        depth = max(0, depth + (1 if bracket.group(0) == "[[" else -1))
        position = bracket.end()
    rest = argument[position:]
    return filled + (rest if depth else rest.replace("%N%", number))
