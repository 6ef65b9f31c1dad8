"""Tokens and integrations as JSON. Of their secrets it shows at most that they are there."""

from relay_server.domain.access import Integration
from relay_server.domain.token import Token
from relay_server.services.render import Json, time_json


def token_json(token: Token, last_used_at: int | None) -> Json:
    """Without its secret."""
    return {
        "id": token.id,
        "name": token.name,
        "scope": token.scope,
        "machine": token.machine,
        "expiresAt": time_json(token.expires_at),
        "createdAt": time_json(token.created_at),
        "lastUsedAt": time_json(last_used_at),
    }


def integration_json(integration: Integration, added_at: int | None) -> Json:
    """Without its secrets."""
    return {
        "name": integration.name,
        "scopes": sorted(integration.scopes),
        "targets": None if integration.targets is None else list(integration.targets),
        "channels": None if integration.channels is None else list(integration.channels),
        "callbackUrl": integration.callback_url,
        "hasCallbackSecret": integration.callback_secret is not None,
        "hasWebhookSecret": integration.webhook_secret is not None,
        "origin": "settings" if added_at is None else "database",
        "createdAt": time_json(added_at),
    }
