#![doc = include_str!("../README.md")]

mod cursor;
mod old;
#[cfg(feature = "postgres")]
mod postgres;
mod report;
mod run;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use cursor::CURSOR_KEY;
pub use old::{Contents, OldDatabase, OldRow, OldState, OldValue};
#[cfg(feature = "postgres")]
pub use postgres::OldPostgres;
pub use report::{RefusedReason, RefusedRow, RefusedState, TakeoverReport};
pub use run::{Progress, take_over};
#[cfg(feature = "sqlite")]
pub use sqlite::OldSqlite;
