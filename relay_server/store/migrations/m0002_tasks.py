"""Schema 2: tasks, callbacks, integrations, approvals, commands, tokens, full-text search, tallies.

Frozen once released: never edit it then.
"""

from typing import Final

STATEMENTS: Final = (
    # `target` is folded for matching, `addressed_to` is as it was written; as with messages.
    """
    CREATE TABLE tasks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        source TEXT NOT NULL,
        integration TEXT,
        dedupe_key TEXT,
        title TEXT NOT NULL,
        body TEXT,
        severity TEXT,
        target TEXT NOT NULL,
        addressed_to TEXT NOT NULL,
        channel TEXT,
        status TEXT NOT NULL,
        claimed_by TEXT,
        claimed_at INTEGER,
        lease_expires_at INTEGER,
        progress INTEGER,
        result TEXT,
        external_url TEXT,
        metadata TEXT NOT NULL DEFAULT '{}',
        occurrence_count INTEGER NOT NULL DEFAULT 1,
        message_id INTEGER REFERENCES messages (id) ON DELETE SET NULL,
        created_at INTEGER NOT NULL,
        first_seen_at INTEGER NOT NULL,
        last_seen_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        ended_at INTEGER
    ) STRICT
    """,
    "INSERT INTO sqlite_sequence (name, seq) VALUES ('tasks', 0)",
    # At most one active task has a key: what folds an alert storm, also when two arrive at once.
    # An agent that is called like an integration is still somebody else.
    """
    CREATE UNIQUE INDEX tasks_active_key ON tasks (source, dedupe_key, integration IS NULL)
    WHERE dedupe_key IS NOT NULL AND ended_at IS NULL
    """,
    "CREATE UNIQUE INDEX tasks_message ON tasks (message_id) WHERE message_id IS NOT NULL",
    "CREATE INDEX tasks_status ON tasks (status, id)",
    "CREATE INDEX tasks_target ON tasks (target, id)",
    "CREATE INDEX tasks_source ON tasks (source, id)",
    "CREATE INDEX tasks_channel ON tasks (channel, id) WHERE channel IS NOT NULL",
    "CREATE INDEX tasks_claimed_by ON tasks (claimed_by, id) WHERE claimed_by IS NOT NULL",
    """
    CREATE INDEX tasks_leased ON tasks (lease_expires_at)
    WHERE claimed_by IS NOT NULL AND ended_at IS NULL
    """,
    """
    CREATE INDEX tasks_held ON tasks (claimed_by)
    WHERE claimed_by IS NOT NULL AND ended_at IS NULL
    """,
    "CREATE INDEX tasks_ended ON tasks (ended_at) WHERE ended_at IS NOT NULL",
    """
    CREATE TABLE task_events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
        type TEXT NOT NULL,
        at INTEGER NOT NULL,
        actor TEXT,
        status TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT '{}'
    ) STRICT
    """,
    "CREATE INDEX task_events_of_task ON task_events (task_id, id)",
    # Written in the transaction of the change they tell of. `task` is the task as it was then.
    # Only the first pending one of a task has a next attempt: that keeps their order.
    """
    CREATE TABLE callbacks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        delivery_id TEXT NOT NULL UNIQUE,
        task_id INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
        integration TEXT NOT NULL,
        event TEXT NOT NULL,
        task TEXT NOT NULL,
        status TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL,
        next_attempt_at INTEGER,
        ended_at INTEGER
    ) STRICT
    """,
    "CREATE INDEX callbacks_of_task ON callbacks (task_id, id)",
    """
    CREATE INDEX callbacks_due ON callbacks (integration, next_attempt_at, id)
    WHERE next_attempt_at IS NOT NULL
    """,
    "CREATE INDEX callbacks_pending ON callbacks (task_id, id) WHERE status = 'pending'",
    """
    CREATE TABLE callback_attempts (
        callback_id INTEGER NOT NULL REFERENCES callbacks (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        at INTEGER NOT NULL,
        status_code INTEGER,
        error TEXT,
        duration_ms INTEGER NOT NULL,
        PRIMARY KEY (callback_id, number)
    ) STRICT, WITHOUT ROWID
    """,
    # NULL targets or channels: all of them. Secrets that sign must be kept; tokens only as hashes.
    """
    CREATE TABLE integrations (
        name TEXT PRIMARY KEY NOT NULL,
        token_hash TEXT NOT NULL UNIQUE,
        scopes TEXT NOT NULL,
        targets TEXT,
        channels TEXT,
        callback_url TEXT,
        callback_secret TEXT,
        webhook_secret TEXT,
        created_at INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE tokens (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        scope TEXT NOT NULL,
        machine TEXT,
        hash TEXT NOT NULL UNIQUE,
        created_at INTEGER NOT NULL,
        expires_at INTEGER,
        last_used_at INTEGER
    ) STRICT
    """,
    """
    CREATE TABLE approvals (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        agent_id TEXT NOT NULL,
        tool TEXT NOT NULL,
        summary TEXT NOT NULL,
        input TEXT,
        status TEXT NOT NULL,
        decision TEXT,
        reason TEXT,
        remember TEXT,
        decided_by TEXT,
        created_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        decided_at INTEGER
    ) STRICT
    """,
    "CREATE INDEX approvals_status ON approvals (status, id)",
    "CREATE INDEX approvals_pending ON approvals (expires_at) WHERE status = 'pending'",
    "CREATE INDEX approvals_agent ON approvals (agent_id, id)",
    "CREATE INDEX approvals_age ON approvals (created_at)",
    """
    CREATE TABLE commands (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        machine TEXT NOT NULL,
        kind TEXT NOT NULL,
        agent_id TEXT,
        input TEXT NOT NULL,
        status TEXT NOT NULL,
        detail TEXT,
        result TEXT,
        requested_by TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX commands_of_machine ON commands (machine, id)",
    "CREATE INDEX commands_status ON commands (machine, status, id)",
    "CREATE INDEX commands_age ON commands (created_at)",
    "CREATE INDEX commands_untaken ON commands (created_at) WHERE status = 'pending'",
    "CREATE INDEX commands_logs ON commands (created_at) WHERE kind = 'logs'",
    # The index follows the messages, up to the id in `counters`: no sender waits for it.
    """
    CREATE VIRTUAL TABLE messages_search USING fts5 (
        subject, body, content = 'messages', content_rowid = 'id',
        tokenize = 'unicode61 remove_diacritics 2'
    )
    """,
    "INSERT INTO counters (name, value) VALUES ('messages_search', 0)",
    # Only what was indexed may be taken out again, or the index breaks.
    """
    CREATE TRIGGER messages_search_delete AFTER DELETE ON messages
    WHEN old.id <= (SELECT value FROM counters WHERE name = 'messages_search')
    BEGIN
        INSERT INTO messages_search (messages_search, rowid, subject, body)
        VALUES ('delete', old.id, old.subject, old.body);
    END
    """,
    """
    CREATE VIRTUAL TABLE tasks_search USING fts5 (
        title, body, content = 'tasks', content_rowid = 'id',
        tokenize = 'unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER tasks_search_insert AFTER INSERT ON tasks
    BEGIN
        INSERT INTO tasks_search (rowid, title, body) VALUES (new.id, new.title, new.body);
    END
    """,
    """
    CREATE TRIGGER tasks_search_delete AFTER DELETE ON tasks
    BEGIN
        INSERT INTO tasks_search (tasks_search, rowid, title, body)
        VALUES ('delete', old.id, old.title, old.body);
    END
    """,
    # How many there are, kept up by triggers: counting a million rows is no answer to a dashboard.
    "CREATE TABLE tallies (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT",
    """
    CREATE TRIGGER tasks_tally_insert AFTER INSERT ON tasks
    BEGIN
        INSERT INTO tallies VALUES ('tasks.' || new.status, 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    END
    """,
    """
    CREATE TRIGGER tasks_tally_update AFTER UPDATE OF status ON tasks
    WHEN old.status <> new.status
    BEGIN
        UPDATE tallies SET value = value - 1 WHERE name = 'tasks.' || old.status;
        INSERT INTO tallies VALUES ('tasks.' || new.status, 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    END
    """,
    """
    CREATE TRIGGER tasks_tally_delete AFTER DELETE ON tasks
    BEGIN
        UPDATE tallies SET value = value - 1 WHERE name = 'tasks.' || old.status;
    END
    """,
    "CREATE INDEX messages_channel ON messages (channel, id) WHERE channel IS NOT NULL",
    "CREATE INDEX messages_claimable ON messages (id) WHERE claimable = 1",
    """
    CREATE INDEX messages_unclaimed ON messages (id)
    WHERE claimable = 1 AND completed_at IS NULL AND claim_agent IS NULL
    """,
    # Who holds work, without looking at everyone's: agents go in masses.
    """
    CREATE INDEX messages_claimed ON messages (claim_agent)
    WHERE claim_agent IS NOT NULL AND completed_at IS NULL
    """,
    # Work that was open when its time to be removed came.
    "CREATE INDEX messages_completed ON messages (id) WHERE completed_at IS NOT NULL",
    # The few that a session took and has not read: all others up to its cursor it has.
    """
    CREATE INDEX receipts_unread ON receipts (agent_id, message_id)
    WHERE state IN ('handed', 'in_context')
    """,
    # Ids have no gaps but for removed messages, so how many there are costs a sender nothing.
    """
    CREATE TRIGGER messages_tally_delete AFTER DELETE ON messages
    BEGIN
        UPDATE tallies SET value = value + 1 WHERE name = 'messages.removed';
    END
    """,
    """
    INSERT INTO tallies (name, value)
    SELECT 'messages.removed', seq - (SELECT count(*) FROM messages)
    FROM sqlite_sequence WHERE name = 'messages'
    """,
    """
    CREATE TRIGGER agents_tally_insert AFTER INSERT ON agents WHEN new.built_in = 0
    BEGIN
        INSERT INTO tallies VALUES ('agents.' || new.status, 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    END
    """,
    """
    CREATE TRIGGER agents_tally_update AFTER UPDATE OF status ON agents
    WHEN new.built_in = 0 AND old.status <> new.status
    BEGIN
        UPDATE tallies SET value = value - 1 WHERE name = 'agents.' || old.status;
        INSERT INTO tallies VALUES ('agents.' || new.status, 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    END
    """,
    """
    CREATE TRIGGER agents_tally_delete AFTER DELETE ON agents WHEN old.built_in = 0
    BEGIN
        UPDATE tallies SET value = value - 1 WHERE name = 'agents.' || old.status;
    END
    """,
    """
    INSERT INTO tallies (name, value)
    SELECT 'agents.' || status, count(*) FROM agents WHERE built_in = 0 GROUP BY status
    """,
    "CREATE INDEX idempotent_answers_age ON idempotent_answers (created_at)",
    "CREATE INDEX agents_listed ON agents (built_in, id)",
    "CREATE INDEX agents_status ON agents (status, built_in, id)",
    "CREATE INDEX agents_machine ON agents (machine, built_in, id) WHERE machine IS NOT NULL",
    "CREATE INDEX agents_offline ON agents (offline_since) WHERE offline_since IS NOT NULL",
    # Only who may fall silent: those that have stay on for a week.
    "DROP INDEX agents_seen",
    """
    CREATE INDEX agents_seen ON agents (last_seen_at)
    WHERE built_in = 0 AND status <> 'offline'
    """,
)
