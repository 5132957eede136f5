//! What the tests are made of: scripted sources, what a store holds, and runs of hydration.

mod clock;
mod dump;
mod log;
mod pausing;
mod run;
mod source;

pub(crate) use clock::Clock;
pub(crate) use dump::{Dump, RowDump, assert_end, assert_same, assert_same_end, dump};
pub(crate) use log::{
    Entry, Record, What, add, at, expected, expected_of, id, invalid, nothing, object, object_of,
    random_log, remove, remove_of,
};
pub(crate) use pausing::{PausingStore, poll_times};
pub(crate) use run::{Rig, Run, STEPS, finish_on, one_call_a_process, same_on_every_path, seeds};
pub(crate) use source::Rule;
