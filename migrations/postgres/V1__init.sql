CREATE TABLE space (
  -- One row for each space. A writer locks it before anything else, so that seq order is commit
  -- order. It changes seldom: what every page changes is in `counter`.
  name        text COLLATE "C" PRIMARY KEY,
  epoch       bytea   NOT NULL,         -- 16 bytes; another one when the history is another
  incarnation integer NOT NULL UNIQUE,  -- ties rows to this space; a reset takes the next one
  floor       bigint  NOT NULL,         -- tombstones up to this seq may be pruned
  server      text    NOT NULL          -- the server that wrote last: system identifier, timeline
);

CREATE TABLE counter (
  -- One row that can be seen for each space. Every page moves it to the next `page`, so that the
  -- newest version is found at the end of the index however many old ones a long transaction
  -- keeps alive before it.
  incarnation integer NOT NULL,
  page        bigint  NOT NULL,         -- pages that were committed
  head        bigint  NOT NULL,         -- the newest seq
  total       bigint  NOT NULL,         -- rows
  ordered     bigint  NOT NULL,         -- rows with a sync order
  tombstones  bigint  NOT NULL,         -- tombstones
  PRIMARY KEY (incarnation, page)
);

CREATE SEQUENCE incarnation AS integer;  -- the number the next new space or reset takes

CREATE TABLE garbage (
  -- Incarnations that resets and drops have left, whose rows are to be swept.
  incarnation integer PRIMARY KEY,
  operations  bigint NOT NULL,          -- operations up to this seq are gone
  tombstones  bigint NOT NULL           -- tombstones up to this seq are gone
);

CREATE TABLE operation (
  ts          bigint  NOT NULL,         -- claimed time, seconds
  seq         bigint  NOT NULL,         -- position in this store's history
  sync_order  bigint,                   -- upstream's position, where known
  incarnation integer NOT NULL,
  id          bytea   NOT NULL,         -- 32 bytes
  digest      bytea   NOT NULL,         -- 16 bytes of BLAKE3 over ts, object, payload
  object      bytea,                    -- what the operation is about
  payload     bytea   NOT NULL,
  PRIMARY KEY (incarnation, id)
);

-- Payloads come back as they were, and most are too short for a compression to save a page.
ALTER TABLE operation
  ALTER COLUMN id SET STORAGE PLAIN,
  ALTER COLUMN digest SET STORAGE PLAIN,
  ALTER COLUMN object SET STORAGE MAIN,
  ALTER COLUMN payload SET STORAGE EXTERNAL;

CREATE INDEX operation_ts ON operation (incarnation, ts, id);
CREATE UNIQUE INDEX operation_seq ON operation (incarnation, seq);
CREATE INDEX operation_sync_order ON operation (incarnation, sync_order, id)
  WHERE sync_order IS NOT NULL;
CREATE INDEX operation_object ON operation (incarnation, object, seq)
  WHERE object IS NOT NULL;

CREATE TABLE tombstone (
  seq         bigint   NOT NULL,        -- position in this store's history
  ts          bigint,                   -- the row's, where there was one
  source_seq  bigint,                   -- upstream's position of the removal
  incarnation integer  NOT NULL,
  reason      smallint NOT NULL,        -- 1 removed, 2 rejected, 3 operator
  lifted      boolean  NOT NULL,        -- an operator took its veto back
  id          bytea    NOT NULL,        -- 32 bytes
  object      bytea,                    -- the row's
  PRIMARY KEY (incarnation, seq)
);

CREATE INDEX tombstone_id ON tombstone (incarnation, id, seq);

CREATE TABLE state (
  -- A key that is set anew gets a new `page`, for the reason that `counter` gives.
  incarnation integer NOT NULL,
  key         text COLLATE "C" NOT NULL,
  page        bigint  NOT NULL,         -- the page that set it
  value       bytea   NOT NULL,
  PRIMARY KEY (incarnation, key, page)
);
