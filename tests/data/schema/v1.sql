PRAGMA application_id = 1095920761;
PRAGMA user_version = 1;
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
CREATE TABLE counters (name TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL) STRICT;
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
CREATE INDEX agents_seen ON agents (last_seen_at) WHERE built_in = 0;
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('messages',2);
COMMIT;
