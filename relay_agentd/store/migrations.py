"""The schema, step by step. Frozen: a released step is never changed, a new one is added.

`MIGRATIONS[n]` takes a database of `user_version` n to n + 1. Lists and objects are JSON text.
"""

from typing import Final

_INITIAL: Final = (
    """
    CREATE TABLE session (
        key TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        provider TEXT NOT NULL,
        provider_version TEXT NOT NULL,
        cwd TEXT NOT NULL,
        rig TEXT NOT NULL,
        approval TEXT NOT NULL,
        label TEXT,
        tags TEXT NOT NULL,
        capabilities TEXT NOT NULL,
        channels TEXT NOT NULL,
        arguments TEXT NOT NULL,
        approval_overrides TEXT NOT NULL DEFAULT '[]',
        relay_approval TEXT,
        provider_session_id TEXT,
        agent_id TEXT,
        launcher_pid INTEGER,
        launcher_created REAL,
        helper_pid INTEGER,
        helper_created REAL,
        helper_socket TEXT,
        provider_pid INTEGER,
        provider_created REAL,
        exit_status INTEGER,
        opened_at REAL NOT NULL,
        ended_at REAL
    ) STRICT
    """,
    "CREATE INDEX session_live ON session (state) WHERE state <> 'EXITED'",
    """
    CREATE TABLE delivery (
        id TEXT PRIMARY KEY,
        session_key TEXT NOT NULL,
        text TEXT NOT NULL,
        priority TEXT NOT NULL,
        state TEXT NOT NULL,
        via TEXT,
        since REAL NOT NULL,
        cut_at REAL NOT NULL
    ) STRICT
    """,
    """
    CREATE INDEX delivery_open ON delivery (session_key)
        WHERE state NOT IN ('in_context', 'withdrawn')
    """,
    """
    CREATE TABLE inbox (
        agent_id TEXT NOT NULL,
        message_id INTEGER NOT NULL,
        session_key TEXT,
        message TEXT NOT NULL,
        priority TEXT NOT NULL,
        state TEXT NOT NULL,
        reported TEXT NOT NULL,
        via TEXT,
        delivery_id TEXT REFERENCES delivery (id),
        taken_by TEXT,
        received_at REAL NOT NULL,
        expires_at REAL,
        PRIMARY KEY (agent_id, message_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX inbox_waiting ON inbox (session_key, message_id) WHERE state = 'received'",
    "CREATE INDEX inbox_delivery ON inbox (delivery_id) WHERE delivery_id IS NOT NULL",
    """
    CREATE INDEX inbox_unreported ON inbox (agent_id, message_id)
        WHERE state IN ('handed', 'in_context', 'read') AND state <> reported
    """,
    "CREATE INDEX inbox_taken ON inbox (taken_by) WHERE taken_by IS NOT NULL",
    """
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        idempotency_key TEXT NOT NULL UNIQUE,
        message TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        queued_at REAL NOT NULL
    ) STRICT
    """,
)

# Sessions without a terminal of ours, and what the relay asks of this machine.
_BACKGROUND: Final = (
    "ALTER TABLE session ADD COLUMN kind TEXT NOT NULL DEFAULT 'terminal'",
    "ALTER TABLE session ADD COLUMN prompt TEXT",
    "ALTER TABLE session ADD COLUMN transcript TEXT",
    "ALTER TABLE session ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE session ADD COLUMN retry_at REAL",
    "ALTER TABLE session ADD COLUMN problem TEXT",
    "ALTER TABLE session ADD COLUMN environment TEXT NOT NULL DEFAULT '{}'",
    """
    CREATE TABLE command (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        agent_id TEXT,
        input TEXT NOT NULL,
        status TEXT NOT NULL,
        session_key TEXT,
        detail TEXT,
        result TEXT,
        reported TEXT NOT NULL,
        received_at REAL NOT NULL
    ) STRICT
    """,
)

# Messages between agents of this machine while the relay is away. A message's `number` here is
# `message_id`: the relay's, or minus its outbox row's `seq`; `relay_id` is the relay's, once known.
# Rows of before carry no mark, so they are left to the relay.
_NEIGHBOURS: Final = (
    "ALTER TABLE outbox ADD COLUMN state TEXT NOT NULL DEFAULT 'waiting'",
    "ALTER TABLE outbox ADD COLUMN sender TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE outbox ADD COLUMN message_id INTEGER",
    "ALTER TABLE outbox ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0",
    "UPDATE outbox SET sender = ifnull(json_extract(message, '$.from'), ''), delivered = 1",
    "CREATE INDEX outbox_waiting ON outbox (seq) WHERE state = 'waiting'",
    "CREATE INDEX outbox_known ON outbox (message_id) WHERE message_id IS NOT NULL",
    "ALTER TABLE inbox ADD COLUMN relay_id INTEGER",
    "ALTER TABLE inbox ADD COLUMN arrival INTEGER NOT NULL DEFAULT 0",
    "UPDATE inbox SET relay_id = message_id, arrival = message_id",
    "CREATE INDEX inbox_relay ON inbox (agent_id, relay_id)",
    "CREATE INDEX inbox_arrival ON inbox (arrival)",
    "CREATE INDEX inbox_local ON inbox (message_id) WHERE message_id < 0",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_INITIAL, _BACKGROUND, _NEIGHBOURS)
