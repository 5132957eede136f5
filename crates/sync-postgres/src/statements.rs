//! Every statement that pages and reads send, with the types of its parameters.
//!
//! Names are qualified, because a pooler's session has another program's search path.
//!
//! A freshly filled table has no statistics, and a statement may have been planned for the rest of
//! its connection's life while a table was empty. To the planner all indexes of such a table are
//! alike, and it picks any whose first column is bound: it would find each id of a page by reading
//! the space from its beginning. So it may not sort ([`connection`](crate::connection)), and every
//! look-up asks for the order that one index alone has, with a range of one value, because the
//! planner drops the order of a column that is compared with `=`. An array is looked up through
//! `LATERAL` with a limit, one element after the other, and rows are written by the `ctid` that the
//! look-up found.

use tokio_postgres::types::Type;

/// A statement, and what it is called in counts of work and boundaries.
pub(crate) struct Statement {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    pub(crate) types: &'static [Type],
}

/// The incarnation of the space called `$1`.
macro_rules! incarnation {
    () => {
        "(SELECT incarnation FROM {s}.space WHERE name = $1)"
    };
}

/// The columns of a row, in the order in which [`read`](crate::read) takes them.
macro_rules! columns {
    () => {
        "o.id, o.ts, o.sync_order, o.seq, o.object, o.payload"
    };
}

/// Whether the rows before this one fit the byte budget. So the first row that does not fit is still
/// sent, and none behind it. The first row of a page always fits.
macro_rules! fits {
    ($size:literal, $order:literal, $budget:literal) => {
        concat!(
            "coalesce(sum(",
            $size,
            ") OVER (ORDER BY ",
            $order,
            " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)",
            " <= greatest(",
            $budget,
            ", first_value(",
            $size,
            ") OVER (ORDER BY ",
            $order,
            "))"
        )
    };
}

/// [`fits`] for the rows of `operation`.
macro_rules! row_fits {
    ($order:literal, $budget:literal) => {
        fits!(
            "octet_length(o.payload) + coalesce(octet_length(o.object), 0)",
            $order,
            $budget
        )
    };
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident ($($type:ident),*) $text:expr;)*) => {
        /// The statements of one schema.
        pub(crate) struct Statements {
            $($(#[$doc])* pub(crate) $name: Statement,)*
        }

        impl Statements {
            /// The statements over the tables of `schema`.
            pub(crate) fn of(schema: &str) -> Self {
                let schema = quoted(schema);
                let literal = schema.replace('\'', "''");
                Self {
                    $($name: {
                        const TYPES: &[Type] = &[$(Type::$type),*];
                        Statement {
                            name: stringify!($name),
                            text: $text.replace("{s}", &schema).replace("{l}", &literal),
                            types: TYPES,
                        }
                    },)*
                }
            }

            #[cfg(test)]
            fn all(&self) -> Vec<&Statement> {
                vec![$(&self.$name,)*]
            }
        }
    };
}

statements! {
    // Spaces.

    /// Locks the space, if it exists. A statement of its own, because the next one has to see what
    /// the transaction that this one waited for has written.
    lock (TEXT) "SELECT 1 FROM {s}.space WHERE name = $1 FOR UPDATE";
    /// The answering server, and the space, if it exists. A standby answers no server, because it
    /// follows the one that wrote the row.
    space (TEXT)
        "SELECT i.server, s.incarnation, s.epoch, s.floor, s.server,
                c.page, c.head, c.total, c.ordered, c.tombstones
         FROM (SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE
                 (SELECT system_identifier FROM pg_control_system())::text
                 || ':' || left(pg_walfile_name(pg_current_wal_lsn()), 8) END) i (server)
         LEFT JOIN {s}.space s ON s.name = $1
         LEFT JOIN LATERAL (
           SELECT * FROM {s}.counter WHERE incarnation = s.incarnation ORDER BY page DESC LIMIT 1
         ) c ON true";
    spaces (TEXT, INT8) "SELECT name FROM {s}.space WHERE name > $1 ORDER BY name LIMIT $2";
    /// Answers no row where another process has created it in between.
    create (TEXT, BYTEA, TEXT)
        "INSERT INTO {s}.space (name, epoch, incarnation, floor, server)
         VALUES ($1, $2, nextval('{l}.incarnation'), 0, $3)
         ON CONFLICT (name) DO NOTHING RETURNING incarnation";
    next_incarnation () "SELECT nextval('{l}.incarnation')::int4";
    save_space (TEXT, INT4, BYTEA, INT8, TEXT)
        "UPDATE {s}.space SET incarnation = $2, epoch = $3, floor = $4, server = $5
         WHERE name = $1";
    drop_space (TEXT) "DELETE FROM {s}.space WHERE name = $1";
    create_counter (INT4, INT8, INT8, INT8, INT8, INT8)
        "INSERT INTO {s}.counter (incarnation, page, head, total, ordered, tombstones)
         VALUES ($1, $2, $3, $4, $5, $6)";
    save_counter (INT4, INT8, INT8, INT8, INT8, INT8)
        "UPDATE {s}.counter
         SET page = page + 1, head = $3, total = $4, ordered = $5, tombstones = $6
         WHERE incarnation = $1 AND page = $2";
    drop_counter (INT4) "DELETE FROM {s}.counter WHERE incarnation = $1";
    discard (INT4)
        "INSERT INTO {s}.garbage (incarnation, operations, tombstones) VALUES ($1, 0, 0)";
    /// What changes when `feed` may answer something else, of each of the spaces `$1`.
    watch (TEXT_ARRAY)
        "SELECT u.name, concat_ws(' ', encode(s.epoch, 'hex'), s.floor, c.head, CASE
                  WHEN pg_is_in_recovery() THEN NULL
                  ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END)
         FROM unnest($1) u (name)
         LEFT JOIN LATERAL (SELECT * FROM {s}.space WHERE name = u.name LIMIT 1) s ON true
         LEFT JOIN LATERAL (
           SELECT head FROM {s}.counter WHERE incarnation = s.incarnation
           ORDER BY page DESC LIMIT 1
         ) c ON true";
    describe ()
        "SELECT current_setting('server_version'),
                array_agg(name ORDER BY name), array_agg(setting ORDER BY name),
                (SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::int8 FROM pg_class
                 WHERE relnamespace = '{l}'::regnamespace AND relkind = 'r')
         FROM (
           SELECT name, setting FROM pg_settings WHERE name IN
             ('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names')
           UNION ALL SELECT 'in recovery', CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END
         ) s";
    notify (TEXT, TEXT) "SELECT pg_notify($1, $2)";

    // What a page looks up.

    look_up_rows (TEXT, BYTEA_ARRAY) concat!(
        "SELECT o.id, o.ts, o.sync_order, o.digest FROM unnest($2) u (id)
         CROSS JOIN LATERAL (
           SELECT * FROM {s}.operation WHERE incarnation = ", incarnation!(), " AND id >= u.id AND id <= u.id ORDER BY id LIMIT 1
         ) o");
    look_up_whole_rows (TEXT, BYTEA_ARRAY) concat!(
        "SELECT o.id, o.ts, o.sync_order, o.digest, o.object FROM unnest($2) u (id)
         CROSS JOIN LATERAL (
           SELECT * FROM {s}.operation WHERE incarnation = ", incarnation!(), " AND id >= u.id AND id <= u.id ORDER BY id LIMIT 1
         ) o");
    look_up_tombstones (TEXT, BYTEA_ARRAY) concat!(
        "SELECT t.id, t.seq, t.reason, t.source_seq FROM unnest($2) u (id)
         CROSS JOIN LATERAL (
           SELECT * FROM {s}.tombstone WHERE incarnation = ", incarnation!(), " AND id >= u.id AND id <= u.id
           ORDER BY id DESC, seq DESC LIMIT 1
         ) t
         WHERE NOT t.lifted");
    look_up_state (TEXT, TEXT_ARRAY) concat!(
        "SELECT k.key, v.value, v.page FROM unnest($2) k (key)
         CROSS JOIN LATERAL (
           SELECT value, page FROM {s}.state
           WHERE incarnation = ", incarnation!(), " AND key = k.key ORDER BY page DESC LIMIT 1
         ) v");

    // What a page writes.

    remove (INT4, BYTEA_ARRAY)
        "DELETE FROM {s}.operation WHERE ctid = ANY (ARRAY (
           SELECT o.ctid FROM unnest($2) u (id) CROSS JOIN LATERAL (
             SELECT ctid FROM {s}.operation WHERE incarnation = $1 AND id >= u.id AND id <= u.id ORDER BY id LIMIT 1
           ) o))";
    insert ()
        "COPY {s}.operation (incarnation, id, ts, sync_order, seq, digest, object, payload)
         FROM STDIN (FORMAT binary)";
    order (INT4, BYTEA_ARRAY, INT8_ARRAY)
        "UPDATE {s}.operation o SET sync_order = v.sync_order
         FROM (
           SELECT l.ctid AS place, u.sync_order FROM unnest($2, $3) u (id, sync_order)
           CROSS JOIN LATERAL (
             SELECT ctid FROM {s}.operation WHERE incarnation = $1 AND id >= u.id AND id <= u.id ORDER BY id LIMIT 1
           ) l) v
         WHERE o.ctid = v.place";
    add_tombstones (INT4, INT8_ARRAY, BYTEA_ARRAY, INT8_ARRAY, BYTEA_ARRAY, INT2_ARRAY, INT8_ARRAY)
        "INSERT INTO {s}.tombstone (incarnation, seq, id, ts, object, reason, source_seq, lifted)
         SELECT $1, u.*, false FROM unnest($2, $3, $4, $5, $6, $7) u";
    lift (INT4, INT8_ARRAY)
        "UPDATE {s}.tombstone SET lifted = true WHERE ctid = ANY (ARRAY (
           SELECT t.ctid FROM unnest($2) u (seq) CROSS JOIN LATERAL (
             SELECT ctid FROM {s}.tombstone WHERE incarnation = $1 AND seq >= u.seq AND seq <= u.seq ORDER BY seq LIMIT 1
           ) t))";
    raise (INT4, INT8_ARRAY, INT8_ARRAY)
        "UPDATE {s}.tombstone t SET source_seq = v.source_seq
         FROM (
           SELECT l.ctid AS place, u.source_seq FROM unnest($2, $3) u (seq, source_seq)
           CROSS JOIN LATERAL (
             SELECT ctid FROM {s}.tombstone WHERE incarnation = $1 AND seq >= u.seq AND seq <= u.seq ORDER BY seq LIMIT 1
           ) l) v
         WHERE t.ctid = v.place";
    unset (INT4, TEXT_ARRAY, INT8_ARRAY)
        "DELETE FROM {s}.state WHERE ctid = ANY (ARRAY (
           SELECT s.ctid FROM unnest($2, $3) u (key, page) CROSS JOIN LATERAL (
             SELECT ctid FROM {s}.state
             WHERE incarnation = $1 AND key = u.key AND page = u.page LIMIT 1
           ) s))";
    set (INT4, INT8, TEXT_ARRAY, BYTEA_ARRAY)
        "INSERT INTO {s}.state (incarnation, key, page, value)
         SELECT $1, u.key, $2, u.value FROM unnest($3, $4) u (key, value)";

    // Reads.

    get (TEXT, BYTEA_ARRAY, INT8) concat!(
        "SELECT * FROM (
           SELECT ", columns!(), ", u.n, ", row_fits!("u.n", "$3"), " AS fits
           FROM unnest($2) WITH ORDINALITY u (id, n) CROSS JOIN LATERAL (
             SELECT * FROM {s}.operation
             WHERE incarnation = ", incarnation!(), " AND id >= u.id AND id <= u.id ORDER BY id LIMIT 1
           ) o
         ) r WHERE fits ORDER BY n");
    known_rows (TEXT, BYTEA_ARRAY) concat!(
        "SELECT o.id, o.ts, o.seq, o.sync_order FROM unnest($2) u (id)
         CROSS JOIN LATERAL (
           SELECT * FROM {s}.operation WHERE incarnation = ", incarnation!(), " AND id >= u.id AND id <= u.id ORDER BY id LIMIT 1
         ) o");
    scan_time (TEXT, INT8, BYTEA, INT8, INT8, INT8) concat!(
        "SELECT * FROM (
           SELECT ", columns!(), ", ", row_fits!("o.ts, o.id", "$6"), " AS fits FROM (
             SELECT * FROM {s}.operation
             WHERE incarnation = ", incarnation!(), " AND (ts, id) > ($2, $3) AND ts <= $4
             ORDER BY ts, id LIMIT $5
           ) o
         ) r WHERE fits ORDER BY ts, id");
    scan_keys (TEXT, INT8, BYTEA, INT8, INT8) concat!(
        "SELECT ts, id FROM {s}.operation
         WHERE incarnation = ", incarnation!(), " AND (ts, id) > ($2, $3) AND ts <= $4
         ORDER BY ts, id LIMIT $5");
    scan_order (TEXT, INT8, BYTEA, INT8, INT8) concat!(
        "SELECT * FROM (
           SELECT ", columns!(), ", ", row_fits!("o.sync_order, o.id", "$5"), " AS fits FROM (
             SELECT * FROM {s}.operation
             WHERE incarnation = ", incarnation!(), " AND sync_order IS NOT NULL
               AND (sync_order, id) > ($2, $3)
             ORDER BY sync_order, id LIMIT $4
           ) o
         ) r WHERE fits ORDER BY sync_order, id");
    scan_object (TEXT, BYTEA, INT8, INT8, INT8) concat!(
        "SELECT * FROM (
           SELECT ", columns!(), ", ", row_fits!("o.object, o.seq", "$5"), " AS fits FROM (
             SELECT * FROM {s}.operation
             WHERE incarnation = ", incarnation!(), "
               AND object >= $2 AND object <= $2 AND seq > $3
             ORDER BY object, seq LIMIT $4
           ) o
         ) r WHERE fits ORDER BY object, seq");
    feed_live (TEXT, INT8, INT8) concat!(
        "SELECT seq, id, ts, object, sync_order FROM {s}.operation
         WHERE incarnation = ", incarnation!(), " AND seq > $2 ORDER BY seq LIMIT $3");
    feed_live_payloads (TEXT, INT8, INT8, INT8) concat!(
        "SELECT seq, id, ts, object, sync_order, payload FROM (
           SELECT o.*, ", row_fits!("o.seq", "$4"), " AS fits FROM (
             SELECT * FROM {s}.operation
             WHERE incarnation = ", incarnation!(), " AND seq > $2 ORDER BY seq LIMIT $3
           ) o
         ) r WHERE fits ORDER BY seq");
    feed_dead (TEXT, INT8, INT8) concat!(
        "SELECT seq, id, ts, object, reason, source_seq, lifted FROM {s}.tombstone
         WHERE incarnation = ", incarnation!(), " AND seq > $2 ORDER BY seq LIMIT $3");
    any_after (TEXT, INT8) concat!(
        "SELECT (SELECT seq FROM {s}.operation
                 WHERE incarnation = ", incarnation!(), " AND seq > $2
                 ORDER BY seq LIMIT 1) IS NOT NULL
             OR (SELECT seq FROM {s}.tombstone
                 WHERE incarnation = ", incarnation!(), " AND seq > $2
                 ORDER BY seq LIMIT 1) IS NOT NULL");
    list_state (TEXT, TEXT, TEXT, TEXT, INT8, INT8) concat!(
        "SELECT key, value FROM (
           SELECT o.*, ", fits!("octet_length(o.value)", "o.key", "$6"), " AS fits FROM (
             SELECT key, value FROM {s}.state
             WHERE incarnation = ", incarnation!(), "
               AND key >= $2 AND key <= $3 AND key <> $4
             ORDER BY key LIMIT $5
           ) o
         ) r WHERE fits ORDER BY key");
    check (TEXT, BYTEA, INT8) concat!(
        "SELECT id, ts, object, payload, digest FROM {s}.operation
         WHERE incarnation = ", incarnation!(), " AND id > $2 ORDER BY id LIMIT $3");
    check_state (TEXT) concat!(
        "SELECT DISTINCT a.key FROM {s}.state a JOIN {s}.state b
           ON b.incarnation = a.incarnation AND b.key = a.key AND b.page < a.page
         WHERE a.incarnation = ", incarnation!(), " LIMIT 20");

    // What runs in pieces.

    pending () "SELECT EXISTS (SELECT 1 FROM {s}.garbage)";
    /// Locked, so that of two programs that sweep each has one of its own.
    oldest_garbage ()
        "SELECT incarnation, operations, tombstones FROM {s}.garbage
         ORDER BY incarnation LIMIT 1 FOR UPDATE SKIP LOCKED";
    sweep_operations (INT4, INT8, INT8)
        "WITH gone AS (
           DELETE FROM {s}.operation WHERE ctid = ANY (ARRAY (
             SELECT ctid FROM {s}.operation WHERE incarnation = $1 AND seq > $2
             ORDER BY seq LIMIT $3)) RETURNING seq)
         SELECT count(*), max(seq) FROM gone";
    sweep_tombstones (INT4, INT8, INT8)
        "WITH gone AS (
           DELETE FROM {s}.tombstone WHERE ctid = ANY (ARRAY (
             SELECT ctid FROM {s}.tombstone WHERE incarnation = $1 AND seq > $2
             ORDER BY seq LIMIT $3)) RETURNING seq)
         SELECT count(*), max(seq) FROM gone";
    sweep_state (INT4, INT8)
        "DELETE FROM {s}.state WHERE ctid = ANY (ARRAY (
           SELECT ctid FROM {s}.state WHERE incarnation = $1 ORDER BY key, page LIMIT $2))";
    save_garbage (INT4, INT8, INT8)
        "UPDATE {s}.garbage SET operations = $2, tombstones = $3 WHERE incarnation = $1";
    drop_garbage (INT4) "DELETE FROM {s}.garbage WHERE incarnation = $1";
    // The condition is `rules::outlives_prune`, turned round.
    prune (INT4, INT8, INT8, INT8, INT2)
        "WITH seen AS (
           SELECT seq FROM {s}.tombstone WHERE incarnation = $1 AND seq > $2 AND seq <= $3
           ORDER BY seq LIMIT $4),
         dropped AS (
           DELETE FROM {s}.tombstone
           WHERE incarnation = $1 AND seq > $2 AND seq <= (SELECT max(seq) FROM seen)
             AND NOT (reason = $5 AND NOT lifted)
           RETURNING 1)
         SELECT (SELECT count(*) FROM dropped), (SELECT count(*) FROM seen),
           (SELECT max(seq) FROM seen)";
}

/// `name` as an identifier of SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
