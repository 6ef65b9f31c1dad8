PRAGMA application_id = 1095920761;
PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE agent_addresses (
        address TEXT NOT NULL,
        agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
        PRIMARY KEY (address, agent_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "agent_addresses" VALUES('cap:chat','worker');
INSERT INTO "agent_addresses" VALUES('label:wörker','worker');
INSERT INTO "agent_addresses" VALUES('tag:night','worker');
INSERT INTO "agent_addresses" VALUES('tag:web','worker');
CREATE TABLE agent_instances (
        agent_id TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
        instance_id TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        PRIMARY KEY (agent_id, instance_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "agent_instances" VALUES('worker','instance-1',1);
CREATE TABLE agents (
        id TEXT PRIMARY KEY NOT NULL,
        name TEXT NOT NULL,
        label TEXT,
        label_by_person INTEGER NOT NULL DEFAULT 0,
        machine TEXT,
        provider TEXT,
        rig TEXT,
        project TEXT,
        session_id TEXT,
        cwd TEXT,
        pid INTEGER,
        tags TEXT NOT NULL DEFAULT '[]',
        capabilities TEXT NOT NULL DEFAULT '[]',
        channels TEXT NOT NULL DEFAULT '[]',
        status TEXT NOT NULL,
        status_detail TEXT,
        approval_mode TEXT NOT NULL,
        reachability TEXT NOT NULL,
        last_proof_at INTEGER,
        instance_id TEXT,
        epoch INTEGER NOT NULL,
        version TEXT,
        meta TEXT NOT NULL DEFAULT '{}',
        built_in INTEGER NOT NULL DEFAULT 0,
        inbox_start INTEGER NOT NULL,
        cursor INTEGER NOT NULL,
        registered_at INTEGER NOT NULL,
        last_seen_at INTEGER NOT NULL,
        offline_since INTEGER
    ) STRICT
    ;
INSERT INTO "agents" VALUES('operator','Operator',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]','[]','[]','idle',NULL,'open','poll',NULL,NULL,1,NULL,'{}',1,0,0,1795000000000,0,NULL);
INSERT INTO "agents" VALUES('system','System',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]','[]','[]','idle',NULL,'open','none',NULL,NULL,1,NULL,'{}',1,0,0,1795000000000,0,NULL);
INSERT INTO "agents" VALUES('worker','shop (codex @ box)','Wörker',1,'box',NULL,NULL,NULL,NULL,NULL,NULL,'["web", "night"]','["chat"]','["ops"]','busy',NULL,'open','poll',NULL,'instance-1',1,NULL,'{"note": "kept"}',0,0,0,1795000000000,1795000000000,NULL);
INSERT INTO "agents" VALUES('asker','asker',NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]','[]','[]','idle',NULL,'open','poll',NULL,NULL,1,NULL,'{}',0,0,0,1795000000000,1795000000000,NULL);
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
    ;
INSERT INTO "approvals" VALUES(1,'worker','Bash','rm build','{"command": "rm build"}','pending',NULL,NULL,NULL,NULL,1795000000000,1795000600000,NULL);
CREATE TABLE callback_attempts (
        callback_id INTEGER NOT NULL REFERENCES callbacks (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        at INTEGER NOT NULL,
        status_code INTEGER,
        error TEXT,
        duration_ms INTEGER NOT NULL,
        PRIMARY KEY (callback_id, number)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "callback_attempts" VALUES(1,1,1795000000000,503,NULL,12);
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
    ;
INSERT INTO "callbacks" VALUES(1,'delivery-1',1,'ci','task.created','{"id":1}','pending',1,1795000000000,1795000001000,NULL);
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
    ;
INSERT INTO "commands" VALUES(1,'box','stop','worker','{"force": false}','pending',NULL,NULL,'operator',1795000000000,1795000000000);
CREATE TABLE counters (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT;
INSERT INTO "counters" VALUES('messages_search',2);
CREATE TABLE idempotent_answers (
        scope TEXT NOT NULL,
        sender TEXT NOT NULL,
        key TEXT NOT NULL,
        request_hash TEXT NOT NULL,
        status INTEGER NOT NULL,
        body TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (scope, sender, key)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "idempotent_answers" VALUES('agents','worker','key-1','hash',201,'{"id":"worker"}',1795000000000);
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
    ;
INSERT INTO "integrations" VALUES('ci','hash-of-ci','["tasks:create"]','["tag:web"]','["ops"]','https://ci.example/hook','signs','checks',1795000000000);
CREATE TABLE machines (
        id TEXT PRIMARY KEY NOT NULL,
        report TEXT NOT NULL,
        online INTEGER NOT NULL,
        registered_at INTEGER NOT NULL,
        last_seen_at INTEGER NOT NULL
    ) STRICT
    ;
INSERT INTO "machines" VALUES('box','{"hostname": "box", "os": "linux"}',1,1795000000000,1795000000000);
CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sender TEXT NOT NULL,
        target TEXT NOT NULL,
        addressed_to TEXT NOT NULL,
        body TEXT NOT NULL,
        subject TEXT,
        channel TEXT,
        reply_to INTEGER,
        thread_id INTEGER NOT NULL,
        kind TEXT NOT NULL,
        priority TEXT NOT NULL,
        claimable INTEGER NOT NULL,
        payload TEXT,
        recipients INTEGER NOT NULL,
        held_reason TEXT,
        released_at INTEGER,
        idempotency_key TEXT,
        idempotency_hash TEXT,
        claim_agent TEXT,
        claimed_at INTEGER,
        claim_expires_at INTEGER,
        completed_at INTEGER,
        created_at INTEGER NOT NULL,
        expires_at INTEGER
    ) STRICT
    ;
INSERT INTO "messages" VALUES(1,'asker','worker','worker','Is the migration clean? ✓','migration',NULL,NULL,1,'message','normal',0,'{"rows": 7}',1,NULL,NULL,'key-1','hash',NULL,NULL,NULL,NULL,1795000000000,NULL);
INSERT INTO "messages" VALUES(2,'asker','tag:web','tag:web','Run the tests',NULL,'ops',1,1,'message','high',1,NULL,1,'loop_guard',1795000000000,NULL,NULL,'worker',1795000000000,1795000900000,1795000000001,1795000000000,1795086400000);
CREATE TABLE receipts (
        agent_id TEXT NOT NULL,
        message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
        state TEXT NOT NULL,
        routed_at INTEGER,
        handed_at INTEGER,
        in_context_at INTEGER,
        read_at INTEGER,
        replied_at INTEGER,
        via TEXT,
        detail TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (agent_id, message_id)
    ) STRICT, WITHOUT ROWID
    ;
INSERT INTO "receipts" VALUES('worker',1,'read',1795000000000,1795000000000,1795000000000,1795000000000,NULL,'hook',NULL,2);
CREATE TABLE tallies (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT;
INSERT INTO "tallies" VALUES('messages.removed',0);
INSERT INTO "tallies" VALUES('agents.busy',1);
INSERT INTO "tallies" VALUES('agents.idle',1);
INSERT INTO "tallies" VALUES('tasks.done',1);
CREATE TABLE task_events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
        type TEXT NOT NULL,
        at INTEGER NOT NULL,
        actor TEXT,
        status TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT '{}'
    ) STRICT
    ;
INSERT INTO "task_events" VALUES(1,1,'task.created',1795000000000,'ci','open','{"note": "kept"}');
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
    ;
INSERT INTO "tasks" VALUES(1,'ci','ci','build:main','The build fails','since this morning','critical','tag:web','tag:web','ops','done','worker',1795000000000,1795000900000,100,'{"commit": "abc"}','https://ci.example/1','{"branch": "main"}',3,2,1795000000000,1795000000000,1795000000002,1795000000003,1795000000003);
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
    ;
INSERT INTO "tokens" VALUES(1,'laptop','agent','box','hash-of-laptop',1795000000000,1795086400000,NULL);
CREATE INDEX agent_addresses_by_agent ON agent_addresses (agent_id);
CREATE INDEX messages_inbox ON messages (target, id);
CREATE INDEX messages_thread ON messages (thread_id, id);
CREATE INDEX messages_sender ON messages (sender, id);
CREATE INDEX messages_open ON messages (target, id)
    WHERE claimable = 1 AND completed_at IS NULL
    ;
CREATE INDEX messages_released ON messages (target, id) WHERE released_at IS NOT NULL;
CREATE INDEX messages_leased ON messages (claim_expires_at)
    WHERE claim_agent IS NOT NULL AND completed_at IS NULL
    ;
CREATE INDEX messages_idempotency ON messages (sender, idempotency_key)
    WHERE idempotency_key IS NOT NULL
    ;
CREATE INDEX receipts_by_message ON receipts (message_id);
CREATE UNIQUE INDEX tasks_active_key ON tasks (source, dedupe_key, integration IS NULL)
    WHERE dedupe_key IS NOT NULL AND ended_at IS NULL
    ;
CREATE UNIQUE INDEX tasks_message ON tasks (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX tasks_status ON tasks (status, id);
CREATE INDEX tasks_target ON tasks (target, id);
CREATE INDEX tasks_source ON tasks (source, id);
CREATE INDEX tasks_channel ON tasks (channel, id) WHERE channel IS NOT NULL;
CREATE INDEX tasks_claimed_by ON tasks (claimed_by, id) WHERE claimed_by IS NOT NULL;
CREATE INDEX tasks_leased ON tasks (lease_expires_at)
    WHERE claimed_by IS NOT NULL AND ended_at IS NULL
    ;
CREATE INDEX tasks_held ON tasks (claimed_by)
    WHERE claimed_by IS NOT NULL AND ended_at IS NULL
    ;
CREATE INDEX tasks_ended ON tasks (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX task_events_of_task ON task_events (task_id, id);
CREATE INDEX callbacks_of_task ON callbacks (task_id, id);
CREATE INDEX callbacks_due ON callbacks (integration, next_attempt_at, id)
    WHERE next_attempt_at IS NOT NULL
    ;
CREATE INDEX callbacks_pending ON callbacks (task_id, id) WHERE status = 'pending';
CREATE INDEX approvals_status ON approvals (status, id);
CREATE INDEX approvals_pending ON approvals (expires_at) WHERE status = 'pending';
CREATE INDEX approvals_agent ON approvals (agent_id, id);
CREATE INDEX approvals_age ON approvals (created_at);
CREATE INDEX commands_of_machine ON commands (machine, id);
CREATE INDEX commands_status ON commands (machine, status, id);
CREATE INDEX commands_age ON commands (created_at);
CREATE INDEX commands_untaken ON commands (created_at) WHERE status = 'pending';
CREATE INDEX commands_logs ON commands (created_at) WHERE kind = 'logs';
CREATE VIRTUAL TABLE messages_search USING fts5 (
        subject, body, content = 'messages', content_rowid = 'id',
        tokenize = 'unicode61 remove_diacritics 2'
    );
INSERT INTO messages_search (messages_search) VALUES ('rebuild');
CREATE VIRTUAL TABLE tasks_search USING fts5 (
        title, body, content = 'tasks', content_rowid = 'id',
        tokenize = 'unicode61 remove_diacritics 2'
    );
INSERT INTO tasks_search (tasks_search) VALUES ('rebuild');
CREATE TRIGGER messages_search_delete AFTER DELETE ON messages
    WHEN old.id <= (SELECT value FROM counters WHERE name = 'messages_search')
    BEGIN
        INSERT INTO messages_search (messages_search, rowid, subject, body)
        VALUES ('delete', old.id, old.subject, old.body);
    END;
CREATE TRIGGER tasks_search_insert AFTER INSERT ON tasks
    BEGIN
        INSERT INTO tasks_search (rowid, title, body) VALUES (new.id, new.title, new.body);
    END;
CREATE TRIGGER tasks_search_delete AFTER DELETE ON tasks
    BEGIN
        INSERT INTO tasks_search (tasks_search, rowid, title, body)
        VALUES ('delete', old.id, old.title, old.body);
    END;
CREATE TRIGGER tasks_tally_insert AFTER INSERT ON tasks
    BEGIN
        INSERT INTO tallies VALUES ('tasks.' || new.status, 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    END;
CREATE TRIGGER tasks_tally_update AFTER UPDATE OF status ON tasks
    WHEN old.status <> new.status
    BEGIN
        UPDATE tallies SET value = value - 1 WHERE name = 'tasks.' || old.status;
        INSERT INTO tallies VALUES ('tasks.' || new.status, 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    END;
CREATE TRIGGER tasks_tally_delete AFTER DELETE ON tasks
    BEGIN
        UPDATE tallies SET value = value - 1 WHERE name = 'tasks.' || old.status;
    END;
CREATE INDEX messages_channel ON messages (channel, id) WHERE channel IS NOT NULL;
CREATE INDEX messages_claimable ON messages (id) WHERE claimable = 1;
CREATE INDEX messages_unclaimed ON messages (id)
    WHERE claimable = 1 AND completed_at IS NULL AND claim_agent IS NULL
    ;
CREATE INDEX messages_claimed ON messages (claim_agent)
    WHERE claim_agent IS NOT NULL AND completed_at IS NULL
    ;
CREATE INDEX messages_completed ON messages (id) WHERE completed_at IS NOT NULL;
CREATE INDEX receipts_unread ON receipts (agent_id, message_id)
    WHERE state IN ('handed', 'in_context')
    ;
CREATE TRIGGER messages_tally_delete AFTER DELETE ON messages
    BEGIN
        UPDATE tallies SET value = value + 1 WHERE name = 'messages.removed';
    END;
CREATE TRIGGER agents_tally_insert AFTER INSERT ON agents WHEN new.built_in = 0
    BEGIN
        INSERT INTO tallies VALUES ('agents.' || new.status, 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    END;
CREATE TRIGGER agents_tally_update AFTER UPDATE OF status ON agents
    WHEN new.built_in = 0 AND old.status <> new.status
    BEGIN
        UPDATE tallies SET value = value - 1 WHERE name = 'agents.' || old.status;
        INSERT INTO tallies VALUES ('agents.' || new.status, 1)
        ON CONFLICT (name) DO UPDATE SET value = value + 1;
    END;
CREATE TRIGGER agents_tally_delete AFTER DELETE ON agents WHEN old.built_in = 0
    BEGIN
        UPDATE tallies SET value = value - 1 WHERE name = 'agents.' || old.status;
    END;
CREATE INDEX idempotent_answers_age ON idempotent_answers (created_at);
CREATE INDEX agents_listed ON agents (built_in, id);
CREATE INDEX agents_status ON agents (status, built_in, id);
CREATE INDEX agents_machine ON agents (machine, built_in, id) WHERE machine IS NOT NULL;
CREATE INDEX agents_offline ON agents (offline_since) WHERE offline_since IS NOT NULL;
CREATE INDEX agents_seen ON agents (last_seen_at)
    WHERE built_in = 0 AND status <> 'offline'
    ;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('messages',2);
INSERT INTO "sqlite_sequence" VALUES('tasks',1);
INSERT INTO "sqlite_sequence" VALUES('task_events',1);
INSERT INTO "sqlite_sequence" VALUES('callbacks',1);
INSERT INTO "sqlite_sequence" VALUES('approvals',1);
INSERT INTO "sqlite_sequence" VALUES('commands',1);
INSERT INTO "sqlite_sequence" VALUES('tokens',1);
COMMIT;
