"""Reading messages: an agent's inbox (with long poll), everyone's, one with its receipts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from relay_server.domain.agent import Agent
from relay_server.domain.message import Message
from relay_server.domain.receipt import has_reached
from relay_server.services import lookup, render, waiting
from relay_server.services.core import Core
from relay_server.services.indexer import Indexer
from relay_server.services.live import ANY_RECEIPT, Waiter
from relay_server.services.receipts import ReceiptService, receipts_of
from relay_server.services.sending import message_not_found
from relay_server.services.waiting import SLICE_SECONDS, IsGone
from relay_server.store import agents, inbox, messages
from relay_server.store.database import Reader
from relay_server.store.search import Listing, newest_first
from relay_server.wire import ReceiptState

_MAX_THREAD: Final = 10_000
_EXACT: Final = ("sender", "target", "thread_id", "channel", "claimable")


@dataclass(frozen=True, slots=True)
class InboxQuery:
    """What an agent asks for."""

    agent_id: str
    since: int | None
    limit: int
    channel: str | None
    unread: bool
    wait_seconds: float
    instance: str | None


class ReadingService:
    """Thread-safe; owns nothing but its core."""

    def __init__(self, core: Core, receipts: ReceiptService, indexer: Indexer) -> None:
        self._core = core
        self._receipts = receipts
        self._indexer = indexer

    # -- inbox

    def inbox(self, query: InboxQuery, is_gone: IsGone) -> render.Json:
        """The agent's messages, oldest first; waits for the first one when asked to."""
        answer = self._read_inbox(query)
        if answer["messages"] or query.wait_seconds <= 0:
            return answer
        deadline = self._core.clock.monotonic() + query.wait_seconds
        waiter = Waiter()
        with self._core.slots.long_poll():
            self._listen(waiter, query.agent_id)
            try:
                while True:
                    waiter.event.clear()
                    answer = self._read_inbox(query)
                    left = deadline - self._core.clock.monotonic()
                    if answer["messages"] or left <= 0:
                        return answer
                    if self._core.listeners.is_closed or is_gone():
                        return answer
                    waiter.event.wait(min(left, SLICE_SECONDS))
            finally:
                self._core.listeners.remove(waiter, [query.agent_id])

    def _listen(self, waiter: Waiter, agent_id: str) -> None:
        with self._core.database.exclusive() as reader:
            agent = agents.get(reader, agent_id)
            if agent is not None:
                self._core.listeners.add(waiter, [agent.card])

    def _read_inbox(self, query: InboxQuery) -> render.Json:
        now = self._core.clock.now_ms()
        with self._core.database.read() as reader:
            agent = lookup.require_agent(reader, query.agent_id, query.instance)
            found = self._select(reader, agent, query, now)
        more = len(found) > query.limit
        found = found[: query.limit]
        start = agent.cursor if query.since is None else query.since
        cursor = max([start, *(message.id for message in found)])
        if found:
            self._receipts.routed_now(agent.id, [message.id for message in found])
        return {
            "messages": [render.message_json(message, now) for message in found],
            "cursor": cursor,
            "more": more,
        }

    @staticmethod
    def _select(reader: Reader, agent: Agent, query: InboxQuery, now: int) -> list[Message]:
        """Newer ones than where it starts, and what is shown although it is older."""
        conditions: tuple[str, ...] = (inbox.UNREAD,) if query.unread else ()
        if query.since is None:
            conditions = conditions or (inbox.UNHANDED,)
            start, between = agent.cursor, (0, agent.cursor)
        else:
            # What is left to be late is work from before the agent was there.
            start, between = query.since, (query.since, agent.inbox_start)
        limit = query.limit + 1
        found = inbox.after(
            reader,
            agent.card,
            start,
            now=now,
            limit=limit,
            conditions=conditions,
            channel=query.channel,
        )
        if between[0] < between[1]:
            found += inbox.late(
                reader,
                agent.card,
                between,
                now=now,
                limit=limit,
                conditions=conditions,
                channel=query.channel,
            )
        return sorted(found, key=lambda message: message.id)[:limit]

    # -- everyone's

    def search(self, filters: Mapping[str, Any], limit: int) -> render.Json:
        """Newest first; `cursor` is the oldest id here, for `before`."""
        now = self._core.clock.now_ms()
        equal = {name: filters[name] for name in _EXACT if name in filters}
        if "claimable" in equal:
            equal["claimable"] = bool(equal["claimable"])
        wanted = Listing(
            equal,
            limit=limit + 1,
            text=filters.get("q"),
            before=filters.get("before"),
            after=filters.get("after"),
        )
        if wanted.text is not None:
            self._indexer.catch_up()
        with self._core.database.read() as reader:
            rows = newest_first(reader, "messages", messages.FIELDS, wanted)
        found = [Message(*row) for row in rows]
        more = len(found) > limit
        shown = found[:limit]
        return {
            "messages": [render.message_json(message, now) for message in shown],
            "cursor": shown[-1].id if shown else None,
            "more": more,
        }

    def thread(self, message_id: int) -> render.Json:
        """The whole conversation a message belongs to, oldest first."""
        now = self._core.clock.now_ms()
        with self._core.database.read() as reader:
            message = _require(reader, message_id)
            found = messages.thread(reader, message.thread_id, _MAX_THREAD + 1)
        return {
            "messages": [render.message_json(m, now) for m in found[:_MAX_THREAD]],
            "cursor": found[-1].id if found else message_id,
            "more": len(found) > _MAX_THREAD,
        }

    # -- one

    def get(self, message_id: int) -> render.Json:
        """One message with its receipts. Raises: NotFound."""
        return self._with_receipts(message_id, None)[0]

    def wait_for(
        self, message_id: int, wanted: ReceiptState, wait_seconds: float, is_gone: IsGone
    ) -> render.Json:
        """The same once every receiver has reached `wanted`, or when the time is over."""

        def look() -> tuple[render.Json, bool]:
            answer, reached = self._with_receipts(message_id, wanted)
            return {**answer, "reached": reached}, reached

        return waiting.until(self._core, ANY_RECEIPT, look, wait_seconds, is_gone)

    def _with_receipts(
        self, message_id: int, wanted: ReceiptState | None
    ) -> tuple[render.Json, bool]:
        self._receipts.flush()
        now = self._core.clock.now_ms()
        with self._core.database.read() as reader:
            message = _require(reader, message_id)
            found = receipts_of(reader, message, now)
            waited_for = [r for r in found if agents.exists(reader, r.agent_id)] if wanted else []
        answer = render.message_json(message, now)
        answer["receipts"] = [render.receipt_json(receipt) for receipt in found]
        reached = bool(waited_for) and all(
            has_reached(receipt.state, wanted) for receipt in waited_for if wanted
        )
        return answer, reached


def _require(reader: Reader, message_id: int) -> Message:
    message = messages.get(reader, message_id)
    if message is None:
        raise message_not_found(message_id)
    return message
