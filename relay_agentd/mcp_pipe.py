"""The stdio MCP server a provider starts for each session: a thin pipe to the daemon.

Run as ``python -I -S mcp_pipe.py`` with AGENT_RELAY_SESSION and AGENT_RELAY_CONTROL set, and with
AGENT_RELAY_JOIN where the pipe alone is the session (`relay-agentd mcp`): what a daemon needs to
take it up. The MCP SDK costs 65 MB and a second, so it lives once, in the daemon; this passes lines
between stdin/stdout and the control socket, with the standard library only (20 MB, 150 ms).

It outlives the daemon. It remembers the client's handshake and every request without an answer;
on a new connection it replays the first, swallows that answer, and sends the requests again. The
daemon knows them by (instance, request id), so nothing happens twice.

A daemon that is not there at the start: a client gives a server up for good when `initialize`
fails, and waits 10 s and more before it does. So a missing daemon is waited for shortly, then
`initialize` and `tools/list` are answered here (with no tools), and once the daemon is there the
client is told that the tools have changed. A session that starts in the seconds of a daemon's
restart notices nothing, one without any starts as if it had no relay. One thread, one loop, and
no descriptor that blocks.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any, Final

# How long a request may wait for an absent daemon. A call waits longer than a daemon takes to
# restart (its service manager or a launcher starts it within 5 s) and shorter than clients do;
# where we start the daemon ourselves (`relay-agentd mcp`) it takes a little longer.
JOIN: Final = os.environ.get("AGENT_RELAY_JOIN")
PATIENCE: Final = dict.fromkeys(("initialize", "tools/list"), 8.0 if JOIN else 4.0)
CALL_PATIENCE: Final = 25.0
# A daemon that accepts and then says nothing (stopped, or busy importing) is tried anew after it.
HANDSHAKE_SECONDS: Final = 10.0
FIRST_RETRY: Final = 0.02
LAST_RETRY: Final = 0.5
CHUNK: Final = 65536
# Nothing legal comes near it (a message body is at most 64 KiB): what does is no protocol.
MAX_LINE: Final = 8 * 1024 * 1024
REPLAY_ID: Final = "agent-relay-pipe-replay"

LOST: Final = (
    "Agent Relay's daemon on this machine went away during this call and has not come back. The "
    "call may or may not have taken effect: look with relay_inbox before you repeat it. If this "
    "stays so, tell your user to run `relay-agentd up`."
)
ABSENT: Final = (
    "Agent Relay's daemon on this machine is not running, so nothing was done{reason}. Try again "
    "in a minute; if this stays so, tell your user to run `relay-agentd up`."
)

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """One line of the protocol."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message | None:
    """The message on a line, None when it is none (`params` by position are not MCP's)."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_message = isinstance(message, dict) and isinstance(message.get("params") or {}, dict)
    return message if is_message else None


class Waiting:
    """A request of the client's that has no answer yet."""

    __slots__ = ("line", "message", "sendings", "since")

    def __init__(self, message: Message, line: bytes, now: float) -> None:
        self.message = message
        self.line = line
        self.since = now
        self.sendings = 0

    def deadline(self) -> float:
        """When it is answered here, if the daemon stays away."""
        return self.since + PATIENCE.get(str(self.message["method"]), CALL_PATIENCE)


class Conversation:
    """What the client has said, as far as another daemon would have to hear it. Knows no clock."""

    def __init__(self) -> None:
        self.initialize: Message | None = None
        self.initialized: bytes | None = None
        self.waiting: dict[str, Waiting] = {}
        self.tools_withheld = False

    def note_from_client(self, message: Message, line: bytes, now: float) -> Waiting | None:
        """Remember a step of the handshake, and what wants an answer (it is returned)."""
        method = message.get("method")
        if method == "initialize" and "id" in message:
            self.initialize = message
        elif method == "notifications/initialized":
            self.initialized = line
        elif method == "notifications/cancelled":
            cancelled = (message.get("params") or {}).get("requestId")
            self.waiting.pop(json.dumps(cancelled), None)
        if method is None or "id" not in message:
            return None
        request = self.waiting[json.dumps(message["id"])] = Waiting(message, line, now)
        return request

    def wants(self, message: Message) -> bool:
        """Is this from the daemon for the client? Not an answer to a replay, or a second one."""
        # A request of the daemon's own may carry the number of one of the client's.
        return "method" in message or bool(self.waiting.pop(json.dumps(message.get("id")), None))

    def greeting(self) -> bytes | None:
        """The client's `initialize` for a new daemon, when it already has its answer."""
        if self.initialize is None or json.dumps(self.initialize["id"]) in self.waiting:
            return None
        return encode({**self.initialize, "id": REPLAY_ID})

    def resume(self) -> bytes:
        """What a daemon that knows the client must hear again."""
        lines = [self.initialized] if self.initialized and self.greeting() else []
        for request in self.waiting.values():
            request.sendings += 1
            lines.append(request.line)
        return b"".join(lines)

    def interrupted(self, now: float) -> None:
        """The daemon is gone: what it owed starts to wait anew. Once: what ends one daemon after
        the other must not go on for ever."""
        for request in self.waiting.values():
            request.since = now if request.sendings == 1 else request.since

    def give_up(self, now: float, reason: str) -> bytes:
        """Answers to the requests that have waited too long for an absent daemon."""
        answers = []
        for key, request in list(self.waiting.items()):
            if request.deadline() <= now:
                del self.waiting[key]
                answers.append(encode(self._stand_in(request, reason)))
        return b"".join(answers)

    def _stand_in(self, request: Waiting, reason: str) -> Message:
        answer: Message = {"jsonrpc": "2.0", "id": request.message["id"]}
        method = request.message["method"]
        text = LOST if request.sendings else ABSENT.format(reason=f" ({reason})" if reason else "")
        if method == "initialize":
            answer["result"] = initialize_result(request.message)
        elif method == "tools/list":
            self.tools_withheld = True
            answer["result"] = {"tools": []}
        elif method == "tools/call":
            answer["result"] = {"content": [{"type": "text", "text": text}], "isError": True}
        else:
            answer["error"] = {"code": -32000, "message": text}
        return answer


def initialize_result(request: Message) -> Message:
    """An answer to `initialize` in the daemon's stead."""
    asked = (request.get("params") or {}).get("protocolVersion")
    return {
        "protocolVersion": asked or "2025-11-25",
        "capabilities": {"tools": {"listChanged": True}},
        "serverInfo": {"name": "agent-relay", "version": "0"},
    }


class Lines:
    """Cuts a stream of bytes into lines."""

    def __init__(self) -> None:
        self.rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The complete lines so far. Raises ValueError when one grows without end."""
        self.rest += data
        if b"\n" not in data:
            if len(self.rest) > MAX_LINE:
                raise ValueError("endless line")
            return []
        *lines, rest = bytes(self.rest).split(b"\n")
        self.rest = bytearray(rest)
        return [line + b"\n" for line in lines if line.strip()]


class Link:
    """The connection to the daemon, in one of these states:

    away -> greeting (control line sent) [-> replaying (handshake sent again)] -> ready -> away
    """

    def __init__(self, path: str, session: str) -> None:
        self.path = path
        hello = {"op": "mcp", "session": session, "instance": os.urandom(16).hex()}
        self.hello = encode(hello | ({"join": json.loads(JOIN)} if JOIN else {}))
        self.state = "away"
        self.socket: socket.socket | None = None
        self.lines = Lines()
        self.out = bytearray()
        self.attempts = 0
        self.next_step = 0.0
        """When to connect again (away) or to give this connection up (greeting, replaying)."""
        self.refusal = ""

    def connect(self, now: float) -> None:
        """Try once; the outcome is a new state."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        try:
            self.socket.connect(self.path)
        except OSError:
            self.close(now)
            return
        self.state, self.next_step = "greeting", now + HANDSHAKE_SECONDS
        self.lines, self.out = Lines(), bytearray(self.hello)

    def close(self, now: float) -> None:
        """Back to away; tried again at once at first (a restart is short), then twice a second."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self.state = "away"
        self.next_step = now + min(FIRST_RETRY * 2.0**self.attempts, LAST_RETRY)
        self.attempts = min(self.attempts + 1, 10)

    def receive(self) -> list[bytes] | None:
        """Lines that have arrived, None when the daemon is gone."""
        assert self.socket is not None
        try:
            data = self.socket.recv(CHUNK)
            return self.lines.feed(data) if data else None
        except BlockingIOError:
            return []
        except (OSError, ValueError):
            return None

    def flush(self) -> bool:
        """Send what is there to send; False when the daemon is gone."""
        assert self.socket is not None
        try:
            del self.out[: self.socket.send(self.out)]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True


class Pipe:
    """The loop."""

    def __init__(self, path: str, session: str) -> None:
        self.link = Link(path, session)
        self.conversation = Conversation()
        self.client_lines = Lines()
        self.client_out = bytearray()

    def run(self) -> int:
        """Serve until the client closes its end; the exit status."""
        os.set_blocking(0, False)
        os.set_blocking(1, False)
        serving = True
        while serving:
            self.step(time.monotonic())
            readable, writable = self.wait()
            serving = (1 not in writable or self.write_client()) and (
                0 not in readable or self.read_client()
            )
            peer = self.link.socket
            if peer is not None and peer in writable and not self.link.flush():
                self.lost()
            elif peer is not None and peer in readable:
                self.read_daemon()
        return 0

    def step(self, now: float) -> None:
        """What time alone brings about."""
        link = self.link
        if link.state == "ready":
            return
        if link.next_step <= now and link.state == "away":
            link.connect(now)
        elif link.next_step <= now:
            self.lost()
        self.client_out += self.conversation.give_up(now, link.refusal)

    def wait(self) -> tuple[list[Any], list[Any]]:
        """Sleep until a descriptor is ready or time brings something about."""
        link = self.link
        peers: list[Any] = [link.socket] if link.socket else []
        writing, timeout = ([1] if self.client_out else []) + (peers if link.out else []), None
        if link.state != "ready":
            waiting = self.conversation.waiting.values()
            due = min([link.next_step, *(request.deadline() for request in waiting)])
            timeout = max(0.0, due - time.monotonic())
        readable, writable, _ = select.select([0, *peers], writing, [], timeout)
        return readable, writable

    def read_client(self) -> bool:
        """Take what the client says; False at its end."""
        try:
            data = os.read(0, CHUNK)
            for line in self.client_lines.feed(data):
                self.from_client(line)
            return bool(data)
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            return False

    def from_client(self, line: bytes) -> None:
        """One line of the client's."""
        message = decode(line)
        if message is None:
            error = {"code": -32700, "message": "Parse error"}
            self.client_out += encode({"jsonrpc": "2.0", "id": None, "error": error})
            return
        request = self.conversation.note_from_client(message, line, time.monotonic())
        if self.link.state == "ready":
            self.link.out += line
            if request is not None:
                request.sendings += 1

    def read_daemon(self) -> None:
        """Take what the daemon says."""
        lines = self.link.receive()
        if lines is None:
            self.lost()
        for line in lines or ():
            message = decode(line) or {}
            if self.link.state == "greeting":
                self.greeted(message)
            elif self.link.state == "replaying" and message.get("id") == REPLAY_ID:
                self.ready()
            elif self.conversation.wants(message):
                self.client_out += line
                self.link.attempts = 0
            if self.link.state == "away":
                return

    def greeted(self, answer: Message) -> None:
        """The daemon has answered the control line."""
        if not answer.get("ok"):
            error = answer.get("error")
            self.link.refusal = str(error.get("detail", "")) if isinstance(error, dict) else ""
            self.lost()
            return
        greeting = self.conversation.greeting()
        if greeting is None:
            self.ready()
        else:
            self.link.state = "replaying"
            self.link.out += greeting

    def ready(self) -> None:
        """The daemon knows the client; go on where the last one stopped."""
        link, conversation = self.link, self.conversation
        link.state, link.refusal = "ready", ""
        link.out += conversation.resume()
        if conversation.tools_withheld:
            conversation.tools_withheld = False
            changed = "notifications/tools/list_changed"
            self.client_out += encode({"jsonrpc": "2.0", "method": changed})

    def lost(self) -> None:
        """The daemon is gone, or never was one."""
        now = time.monotonic()
        if self.link.state == "ready":
            self.conversation.interrupted(now)
        self.link.close(now)

    def write_client(self) -> bool:
        """Hand the client what there is for it; False when it is gone."""
        try:
            del self.client_out[: os.write(1, self.client_out)]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True


def main() -> int:
    """Run the pipe. A signal ends it on the spot: there is nothing here to put in order."""
    for number in (ending := (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ending)
    session, control = (os.environ.get(f"AGENT_RELAY_{name}") for name in ("SESSION", "CONTROL"))
    if not session or not control:
        sys.stderr.write("agent-relay: start this with `relay-agentd mcp`\n")
        return 2
    return Pipe(control, session).run()


if __name__ == "__main__":
    sys.exit(main())
