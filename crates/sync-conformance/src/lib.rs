#![doc = include_str!("../README.md")]

mod calls;
mod case;
#[expect(
    clippy::cast_possible_truncation,
    reason = "numbers in cases are literals and counters, far below any limit"
)]
mod cases;
mod data;
mod failure;
mod harness;
pub mod model;
mod process;
mod program;
mod report;
mod rig;
mod walk;

pub use case::{Case, Outcome, run_all, run_case};
pub use cases::CASES;
pub use harness::{BoundaryHook, COMMIT, COMMITTED, Database, Harness, Power, Work, WorkMeter};

#[doc(hidden)]
pub use case::run_case_in;
#[doc(hidden)]
pub use program::{NEEDS_HARNESS_FALSE, Program};
