-- What was answered, under the fingerprint of all that the answer depends on.
CREATE TABLE answers (
    fingerprint TEXT PRIMARY KEY,
    step        TEXT NOT NULL,
    run         INTEGER NOT NULL,
    result      TEXT NOT NULL,
    usd         REAL NOT NULL,
    at          REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE runs (
    id      INTEGER PRIMARY KEY,
    path    TEXT NOT NULL UNIQUE,
    session INTEGER NOT NULL
);

-- The items of each run, by label. `session` counts how often the run was opened: what an earlier one listed and this one
-- does not is no longer part of the run.
CREATE TABLE items (
    run         INTEGER NOT NULL,
    label       TEXT NOT NULL,
    key         TEXT NOT NULL,
    position    INTEGER NOT NULL,
    session     INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    state       TEXT NOT NULL,
    error       TEXT,
    usd         REAL NOT NULL,
    PRIMARY KEY (run, label, key)
) WITHOUT ROWID;
CREATE INDEX items_in_order ON items (run, label, session, position);

CREATE TABLE file_hashes (
    path     TEXT PRIMARY KEY,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    inode    INTEGER NOT NULL,
    sha256   TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE plans (
    id   TEXT PRIMARY KEY,
    run  TEXT NOT NULL,
    at   REAL NOT NULL
);

-- Actions on the library. `record` is the intent, in full, before anything is touched.
CREATE TABLE actions (
    id     TEXT PRIMARY KEY,
    plan   TEXT NOT NULL,
    run    TEXT NOT NULL,
    state  TEXT NOT NULL,
    record TEXT NOT NULL,
    at     REAL NOT NULL
);
CREATE INDEX actions_of_run ON actions (run);
CREATE INDEX actions_of_plan ON actions (plan);

-- A remote job is written down before it is waited for; `creating` without an id is a create that was cut off.
CREATE TABLE remote_jobs (
    key       TEXT PRIMARY KEY,
    provider  TEXT NOT NULL,
    state     TEXT NOT NULL,
    remote_id TEXT,
    at        REAL NOT NULL
);

CREATE TABLE spending (
    scope TEXT PRIMARY KEY,
    usd   REAL NOT NULL,
    calls INTEGER NOT NULL
);

CREATE TABLE reservations (
    id    INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    run   TEXT NOT NULL,
    usd   REAL NOT NULL
);
