-- The ledger of a label job; `ledger.py` reads and writes it.
CREATE TABLE job (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE samples (
    photo TEXT PRIMARY KEY,
    place INTEGER NOT NULL UNIQUE,           -- in the order of the data set
    state TEXT NOT NULL DEFAULT 'open',      -- open, labelled, set aside
    answers INTEGER NOT NULL DEFAULT 0,      -- that were rejected
    failures INTEGER NOT NULL DEFAULT 0,     -- calls in a row without an answer
    ready_at REAL NOT NULL DEFAULT 0,        -- not to be asked about before
    worker TEXT,                             -- who is asking about it
    reason TEXT NOT NULL DEFAULT ''          -- why it is set aside
) WITHOUT ROWID;
CREATE INDEX waiting ON samples (place) WHERE state = 'open' AND worker IS NULL;
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    photo TEXT NOT NULL REFERENCES samples,
    try INTEGER NOT NULL,
    worker TEXT NOT NULL,
    began REAL NOT NULL,
    ended REAL,
    outcome TEXT NOT NULL DEFAULT 'in flight',   -- accepted, rejected, lost, surplus, stopped, or a failure
    reason TEXT NOT NULL DEFAULT '',
    text TEXT NOT NULL DEFAULT '',
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX in_flight ON calls (worker) WHERE outcome = 'in flight';
CREATE TABLE labels (photo TEXT PRIMARY KEY REFERENCES samples, call INTEGER NOT NULL, text TEXT NOT NULL)
    WITHOUT ROWID;
CREATE TABLE account (                       -- one row: sums, so that nothing need be counted again
    samples INTEGER NOT NULL DEFAULT 0,
    settled INTEGER NOT NULL DEFAULT 0,      -- samples labelled or set aside
    calls INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    largest_prompt INTEGER NOT NULL DEFAULT 0,
    largest_completion INTEGER NOT NULL DEFAULT 0,
    next_call_at REAL NOT NULL DEFAULT 0,    -- the pace, and pauses of a server that is down
    streak INTEGER NOT NULL DEFAULT 0,       -- calls in a row, of all samples, without an answer
    pauses INTEGER NOT NULL DEFAULT 0,       -- since then, because the server seemed down
    answered_at REAL NOT NULL DEFAULT 0,     -- or when this run began
    answered INTEGER NOT NULL DEFAULT 0      -- whether any call of this run was
);
INSERT INTO account DEFAULT VALUES;
CREATE TRIGGER counted AFTER UPDATE OF state ON samples WHEN (old.state = 'open') <> (new.state = 'open') BEGIN
    UPDATE account SET settled = settled + CASE WHEN old.state = 'open' THEN 1 ELSE -1 END;
END;
CREATE TRIGGER entered AFTER INSERT ON samples BEGIN UPDATE account SET samples = samples + 1; END;
