#![doc = include_str!("../README.md")]

mod case;
mod cases;
mod data;
mod failure;
mod harness;
pub mod model;
mod process;
mod report;
mod rig;
mod walk;

pub use case::{Case, Outcome, run_all, run_case};
pub use cases::CASES;
pub use harness::{BoundaryHook, COMMIT, COMMITTED, Database, Harness, Power, Work, WorkSink};

#[doc(hidden)]
pub use case::{run_test, run_worker};
