//! Sources: what becomes of an answer of the index export.

mod answer;
mod capture;
mod damage;
mod records;
mod visibility;
mod walk;

#[cfg(feature = "gatekeeper")]
pub(crate) use answer::{Changes, Snapshot, history, removal, row, signed};
