//! The limits that hold on every backend alike, checked before anything is written.

/// Bytes of one payload: 1 MiB.
pub const PAYLOAD_BYTES: usize = 1 << 20;
/// Bytes of one object.
pub const OBJECT_BYTES: usize = 256;
/// Bytes of one space name.
pub const SPACE_NAME_BYTES: usize = 64;
/// Bytes of one state key.
pub const STATE_KEY_BYTES: usize = 256;
/// Bytes of one state value: 64 KiB.
pub const STATE_VALUE_BYTES: usize = 64 << 10;
/// Lifts, deletes, upserts and backfills of one page, together.
pub const PAGE_OPERATIONS: usize = 100_000;
/// Bytes of one page: payloads, objects and state values, together. 64 MiB.
pub const PAGE_BYTES: usize = 64 << 20;
/// State changes of one page; and, separately, preconditions of one page.
pub const PAGE_STATE_CHANGES: usize = 1_000;
/// The byte budget of a read that names none: 16 MiB.
pub const READ_BYTES: usize = 16 << 20;
