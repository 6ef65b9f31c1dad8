"""The integrations: those of the settings, and those added while the relay is in use."""

from collections.abc import Mapping
from typing import Any, Final

from relay_server.clock import Clock
from relay_server.domain.access import Integration
from relay_server.domain.integration import checked
from relay_server.domain.limits import SenderLimit
from relay_server.domain.token import INTEGRATION_PREFIX, fingerprint
from relay_server.errors import Conflict, InvalidRequest, NotFound, RateLimited
from relay_server.ids import new_token
from relay_server.services.access import Access
from relay_server.services.render import Json
from relay_server.services.render_access import integration_json
from relay_server.settings import Settings
from relay_server.store import integrations
from relay_server.store.database import Database

# Words of the API's own: under /api/integrations/ they name other things.
_TAKEN: Final = frozenset({"events", "alertmanager"})


class Integrations:
    """Thread-safe; owns the count of events a minute, used under the writer lock."""

    def __init__(
        self, settings: Settings, database: Database, clock: Clock, access: Access
    ) -> None:
        self._configured = {
            configured.integration.name: configured.integration
            for configured in settings.integrations
        }
        self._database = database
        self._clock = clock
        self._access = access
        self._limit = SenderLimit(settings.integration_limit)

    def by_name(self, name: str) -> Integration | None:
        """One integration; the settings' come first."""
        configured = self._configured.get(name)
        if configured is not None:
            return configured
        with self._database.read() as reader:
            stored = integrations.get(reader, name)
        return stored.integration if stored else None

    def all(self) -> list[Json]:
        """Every one, by name."""
        with self._database.read() as reader:
            stored = integrations.all_integrations(reader)
        found: dict[str, tuple[Integration, int | None]] = {
            each.integration.name: (each.integration, each.created_at) for each in stored
        }
        found |= {name: (configured, None) for name, configured in self._configured.items()}
        return [integration_json(*found[name]) for name in sorted(found)]

    def add(self, given: Mapping[str, Any]) -> Json:
        """The new one with its token. Raises: InvalidRequest, Conflict."""
        integration, problems = checked(given)
        if integration is not None and integration.name in _TAKEN:
            problems = [("name", "is a word of the API's own; take another, as ops-alerts")]
        if integration is None or problems:
            raise InvalidRequest.of(problems)
        token = new_token(INTEGRATION_PREFIX)
        stored = integrations.Stored(integration, fingerprint(token), self._clock.now_ms())
        with self._database.write() as transaction:
            is_free = integration.name not in self._configured
            if not is_free or not integrations.add(transaction, stored):
                raise Conflict(f"There is an integration {integration.name} already.")
            transaction.on_commit(self._access.forget)
        return {**integration_json(integration, stored.created_at), "token": token}

    def remove(self, name: str) -> None:
        """Its token is worth nothing from now on. Raises: NotFound, Conflict."""
        with self._database.write() as transaction:
            is_gone = integrations.remove(transaction, name)
            transaction.on_commit(self._access.forget)
        if is_gone:
            return
        if name in self._configured:
            raise Conflict(f"Integration {name} comes from AGENT_RELAY_INTEGRATIONS.")
        raise NotFound("There is no such integration.", code="integration_not_found")

    def count_event(self, name: str) -> None:
        """One more of its events, inside the write transaction. Raises: RateLimited."""
        now = self._clock.now_ms()
        wait_ms = self._limit.wait_ms(name, now)
        if wait_ms:
            raise RateLimited("This integration has sent too many events.", -(-wait_ms // 1000))
        self._limit.count(name, now)
