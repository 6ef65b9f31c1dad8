"""The words of Codex's app-server that the relay uses: requests out, neutral events in.

Pure: builds and reads dictionaries, holds no connection and no state. Shapes were recorded from
codex 0.144 and 0.169 (`tests/codex/data`). Whatever is unknown, malformed or of no use to the
relay becomes None: the protocol is experimental and grows with each release.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

from relay_launchers.codex.questions import JsonObject, changes_of

Request = tuple[str, JsonObject]
"""A method and its parameters."""

# The most frequent notifications; nothing here reads them, so the server need not send them.
UNWANTED = (
    "item/agentMessage/delta",
    "item/reasoning/textDelta",
    "item/reasoning/summaryTextDelta",
    "item/commandExecution/outputDelta",
    "thread/tokenUsage/updated",
)

ThreadState = Literal["idle", "busy", "waiting", "gone"]
TurnEnd = Literal["completed", "interrupted", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadStatus:
    """What a thread is doing, with a word on why where there is one."""

    state: ThreadState
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A conversation as the server describes it."""

    id: str
    cwd: str
    status: ThreadStatus
    is_conversation: bool
    """False for the helper threads Codex makes for itself (titles) and for sub-agents."""
    root: str
    """The conversation it belongs to: its own id, or that of the one a sub-agent works for."""
    is_forked: bool
    recency: int
    """Seconds since the epoch of its last sign of life."""
    path: str | None = None
    """The file it is recorded in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadStarted:
    """A thread was created."""

    thread: Thread


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadOpened:
    """Somebody opened a thread that was loaded already.

    Codex then repeats the thread's goal to everybody; there is no other sign.
    """

    thread_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged:
    """Broadcast for every loaded thread, subscribed or not."""

    thread_id: str
    status: ThreadStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadClosed:
    """The server unloaded a thread."""

    thread_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCompleted:
    """A turn ended; after `interrupted` (Esc) the server holds the queue."""

    thread_id: str
    end: TurnEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class UserMessage:
    """A user message entered the conversation, with the id its sender gave it."""

    thread_id: str
    client_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchProposed:
    """A turn is about to change files; what it asks a person about it names only the item."""

    item_id: str
    changes: Sequence[JsonObject]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestResolved:
    """A request of the server was answered by somebody, or its turn is over."""

    thread_id: str
    request_id: int | str


Event = (
    ThreadStarted
    | ThreadOpened
    | StatusChanged
    | ThreadClosed
    | TurnCompleted
    | UserMessage
    | PatchProposed
    | RequestResolved
)


def initialize(version: str) -> Request:
    """The handshake. Queue methods need `experimentalApi`."""
    return "initialize", {
        "clientInfo": {"name": "relay_agentd", "title": "Agent Relay", "version": version},
        "capabilities": {"experimentalApi": True, "optOutNotificationMethods": list(UNWANTED)},
    }


def list_loaded(cursor: str | None = None) -> Request:
    """Ids of the threads in the server's memory."""
    return "thread/loaded/list", {"cursor": cursor} if cursor else {}


def read_thread(thread_id: str, *, turns: bool = False) -> Request:
    """Details of a thread, without subscribing to it."""
    return "thread/read", {"threadId": thread_id, "includeTurns": turns}


def subscribe(thread_id: str) -> Request:
    """Ask for a thread's turns and items. Fails until its first turn is on disk."""
    return "thread/resume", {"threadId": thread_id, "excludeTurns": True}


def start_thread(cwd: str, options: JsonObject) -> Request:
    """A new conversation."""
    return "thread/start", {"cwd": cwd, **options}


def resume_thread(thread_id: str, cwd: str, options: JsonObject) -> Request:
    """Load a conversation from disk and subscribe to it."""
    return "thread/resume", {"threadId": thread_id, "cwd": cwd, "excludeTurns": True, **options}


def is_unknown_thread(message: str) -> bool:
    """Whether an error says that nothing of the thread was ever written down."""
    return "no rollout found" in message


def change_settings(thread_id: str, settings: JsonObject) -> Request:
    """Change a thread's settings from its next turn on."""
    return "thread/settings/update", {"threadId": thread_id, **settings}


def interrupt(thread_id: str) -> Request:
    """Break off whatever turn runs: an empty turn id means any, and an idle thread is no error."""
    return "turn/interrupt", {"threadId": thread_id, "turnId": ""}


def end_terminals(thread_id: str) -> Request:
    """End the commands that a thread left running; they outlive their turn and its end."""
    return "thread/backgroundTerminals/clean", {"threadId": thread_id}


def tell_silently(thread_id: str, text: str) -> Request:
    """Put a developer message into the history: no turn, nothing on the screen.

    It also puts a new thread on disk, so that subscribing works before the first turn.
    """
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "developer", "content": content}
    return "thread/inject_items", {"threadId": thread_id, "items": [item]}


def queue_message(thread_id: str, message_id: str, text: str) -> Request:
    """A turn of its own: at once when idle, else after those before it."""
    return "thread/queue/add", _message(thread_id, message_id, text)


def start_turn(thread_id: str, message_id: str, text: str) -> Request:
    """A turn at once; while one runs, the message joins (steers) it."""
    return "turn/start", _message(thread_id, message_id, text)


def list_queue(thread_id: str, cursor: str | None = None) -> Request:
    """What waits for its turn."""
    return "thread/queue/list", {"threadId": thread_id, **({"cursor": cursor} if cursor else {})}


def release_queue(thread_id: str) -> Request:
    """Run the queue again after an interrupt held it. An error while a turn is pending."""
    return "thread/queue/start", {"threadId": thread_id}


def withdraw(thread_id: str, submission_id: str) -> Request:
    """Take one submission out of the queue."""
    return "thread/queue/delete", {"threadId": thread_id, "queuedSubmissionId": submission_id}


def list_turns(thread_id: str, cursor: str | None = None) -> Request:
    """A page of turns with their items, newest first."""
    page = {"threadId": thread_id, "limit": 25, "itemsView": "full", "sortDirection": "desc"}
    return "thread/turns/list", {**page, **({"cursor": cursor} if cursor else {})}


def parse_notification(method: str, params: Mapping[str, Any]) -> Event | None:
    """A notification as an event; None when it means nothing to the relay."""
    read = _READERS.get(method)
    try:
        return None if read is None else read(params)
    except (KeyError, TypeError, AttributeError):
        return None


def parse_thread(thread: Mapping[str, Any]) -> Thread:
    """The `thread` object of answers and notifications. Raises KeyError, TypeError: it is none."""
    times = [thread.get(name) for name in ("createdAt", "updatedAt", "recencyAt")]
    return Thread(
        id=_text(thread["id"]),
        cwd=_text(thread["cwd"]),
        status=parse_status(thread["status"]),
        is_conversation=_is_conversation(thread),
        root=_text(thread.get("sessionId") or thread.get("parentThreadId") or thread["id"]),
        is_forked=bool(thread.get("forkedFromId")),
        recency=max([0, *(int(time) for time in times if _is_time(time))]),
        path=path if isinstance(path := thread.get("path"), str) else None,
    )


def parse_status(status: Mapping[str, Any]) -> ThreadStatus:
    """A thread's status in the relay's four words."""
    match status["type"]:
        case "active":
            flags = status.get("activeFlags") or []
            return _active(flags)
        case "notLoaded":
            return ThreadStatus(state="gone")
        case "systemError":
            return ThreadStatus(state="idle", detail="the last turn failed")
        case _:
            return ThreadStatus(state="idle")


def client_ids(turns: list[JsonObject]) -> set[str]:
    """The ids that senders gave to the user messages in these turns."""
    return {
        item["clientId"]
        for turn in turns
        for item in turn.get("items") or []
        if item.get("type") == "userMessage" and item.get("clientId")
    }


def patch_in(turns: list[JsonObject], item_id: str) -> Sequence[JsonObject]:
    """The changes of one patch in these turns."""
    for turn in turns:
        for item in turn.get("items") or []:
            patch = changes_of(item)
            if patch is not None and patch[0] == item_id:
                return patch[1]
    return ()


def is_unknown_method(message: str) -> bool:
    """Whether an error says that this server does not have the method (an older version)."""
    return "unknown variant" in message or "Method not found" in message


def _message(thread_id: str, message_id: str, text: str) -> JsonObject:
    return {
        "threadId": thread_id,
        "clientUserMessageId": message_id,
        "input": [{"type": "text", "text": text}],
    }


def _text(value: object) -> str:
    """Ids become keys, so nothing else may pass. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError
    return value


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_conversation(thread: Mapping[str, Any]) -> bool:
    # `source` is "vscode" for every thread of an app-server: no help here.
    return (
        not thread.get("ephemeral")
        and thread.get("threadSource") in (None, "user")
        and not thread.get("parentThreadId")
    )


def _active(flags: list[str]) -> ThreadStatus:
    if "waitingOnApproval" in flags:
        return ThreadStatus(state="waiting", detail="waiting for an approval")
    if "waitingOnUserInput" in flags:
        return ThreadStatus(state="waiting", detail="waiting for an answer in the terminal")
    return ThreadStatus(state="busy")


def _turn_completed(params: Mapping[str, Any]) -> TurnCompleted | None:
    end = params["turn"]["status"]
    if end not in ("completed", "interrupted", "failed"):
        return None
    return TurnCompleted(thread_id=_text(params["threadId"]), end=end)


def _item(params: Mapping[str, Any]) -> Event | None:
    item = params["item"]
    if patch := changes_of(item):
        return PatchProposed(item_id=patch[0], changes=patch[1])
    if item["type"] != "userMessage" or not item.get("clientId"):
        return None
    return UserMessage(thread_id=_text(params["threadId"]), client_id=_text(item["clientId"]))


def _resolved(params: Mapping[str, Any]) -> RequestResolved:
    request_id = params["requestId"]
    if not isinstance(request_id, int | str):
        raise TypeError
    return RequestResolved(thread_id=_text(params["threadId"]), request_id=request_id)


def _thread_opened(params: Mapping[str, Any]) -> ThreadOpened:
    return ThreadOpened(thread_id=_text(params["threadId"]))


_READERS: dict[str, Callable[[Mapping[str, Any]], Event | None]] = {
    "thread/started": lambda params: ThreadStarted(thread=parse_thread(params["thread"])),
    "thread/goal/cleared": _thread_opened,
    "thread/goal/updated": _thread_opened,
    "thread/status/changed": lambda params: StatusChanged(
        thread_id=_text(params["threadId"]), status=parse_status(params["status"])
    ),
    "thread/closed": lambda params: ThreadClosed(thread_id=_text(params["threadId"])),
    "turn/completed": _turn_completed,
    "serverRequest/resolved": _resolved,
    "item/started": _item,
    "item/completed": _item,
}
