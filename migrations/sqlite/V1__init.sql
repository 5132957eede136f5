CREATE TABLE space (
  -- One row for each space. A writer updates it in every transaction, so that seq order is commit
  -- order and the counters are exact.
  space_id    INTEGER PRIMARY KEY,
  name        TEXT    NOT NULL UNIQUE,
  epoch       BLOB    NOT NULL,         -- 16 random bytes; new when the history is
  incarnation INTEGER NOT NULL UNIQUE,  -- ties rows to this space; a reset takes the next one
  head        INTEGER NOT NULL,         -- the newest seq
  floor       INTEGER NOT NULL,         -- tombstones up to this seq may be pruned
  total       INTEGER NOT NULL,         -- rows
  ordered     INTEGER NOT NULL,         -- rows with a sync order
  tombstones  INTEGER NOT NULL,         -- tombstones
  boot        TEXT                      -- the boot of the machine that wrote last without fsync
) STRICT;

CREATE TABLE incarnation (
  -- One row: the number the next new space or reset takes. Never reused.
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  next INTEGER NOT NULL
) STRICT;

INSERT INTO incarnation (one, next) VALUES (1, 1);

CREATE TABLE garbage (
  -- Incarnations that resets and drops have left, whose rows are to be swept.
  incarnation INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE operation (
  rid         INTEGER PRIMARY KEY,
  incarnation INTEGER NOT NULL,
  id          BLOB    NOT NULL,  -- 32 bytes
  ts          INTEGER NOT NULL,  -- claimed time, seconds
  sync_order  INTEGER,           -- upstream's position, where known
  seq         INTEGER NOT NULL,  -- position in this store's history
  digest      BLOB    NOT NULL,  -- 16 bytes of BLAKE3 over ts, object, payload
  object      BLOB,              -- what the operation is about
  payload     BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX operation_id ON operation (incarnation, id);
CREATE INDEX operation_ts ON operation (incarnation, ts, id);
CREATE INDEX operation_seq ON operation (incarnation, seq);
CREATE INDEX operation_sync_order ON operation (incarnation, sync_order, id)
  WHERE sync_order IS NOT NULL;
CREATE INDEX operation_object ON operation (incarnation, object, seq)
  WHERE object IS NOT NULL;

CREATE TABLE tombstone (
  incarnation INTEGER NOT NULL,
  seq         INTEGER NOT NULL,  -- position in this store's history
  id          BLOB    NOT NULL,  -- 32 bytes
  ts          INTEGER,           -- the row's, where there was one
  object      BLOB,              -- the row's
  reason      INTEGER NOT NULL,  -- 1 removed, 2 rejected, 3 operator
  source_seq  INTEGER,           -- upstream's position of the removal
  lifted      INTEGER NOT NULL,  -- 1: an operator took its veto back
  PRIMARY KEY (incarnation, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstone_id ON tombstone (incarnation, id, seq);

CREATE TABLE state (
  incarnation INTEGER NOT NULL,
  key         TEXT    NOT NULL,  -- compared by its bytes
  value       BLOB    NOT NULL,
  PRIMARY KEY (incarnation, key)
) STRICT, WITHOUT ROWID;
