//! The list of cases: the one place where a case is named.
//!
//! From it come [`CASES`], the dispatch by name, and [`suite!`](crate::suite). A case function that
//! is not on it is dead code, which the compiler reports.

use crate::case::Case;
use crate::failure::{Failure, Verdict};
use crate::harness::{Harness, Power};
use crate::rig::{Db, Rig};

mod commit_order;
mod feed;

macro_rules! list {
    // The dollar sign comes in from outside, so that the inner macro can have variables.
    ($dollar:tt $($group:ident { $($id:literal $name:ident $([$($power:ident),+])?;)+ })+) => {
        /// Every case, by group.
        pub const CASES: &[Case] = &[$($(Case {
            id: $id,
            name: stringify!($name),
            group: stringify!($group),
            needs: &[$($(Power::$power),+)?],
        }),+),+];

        /// Runs the case of this name.
        pub(crate) fn call<H: Harness>(name: &str, rig: &Rig<'_, H>) -> Verdict {
            $($(if name == stringify!($name) {
                return $group::$name(rig);
            })+)+
            Err(Failure::new(format!("no case is called {name}")))
        }

        /// Makes one `#[test]` of every case, and one that is the entry point of the processes
        /// which some cases start.
        ///
        /// Takes the type of a [`Harness`](crate::Harness). Once per module.
        #[macro_export]
        macro_rules! suite {
            ($dollar harness:ty) => {
                $($(
                    #[test]
                    fn $name() {
                        $dollar crate::run_test::<$dollar harness>(
                            stringify!($name),
                            module_path!(),
                        );
                    }
                )+)+

                #[test]
                fn conformance_worker() {
                    $dollar crate::run_worker::<$dollar harness>();
                }
            };
        }
    };
}

list! { $
    commit_order {
        "1" commit_order_is_sequence_order;
        "2" commit_order_is_sequence_order_across_processes [Processes];
        "3" a_page_and_its_bound_come_from_one_snapshot;
        "4" a_long_unrelated_transaction_neither_stops_nor_slows_the_feed [UnrelatedTransaction];
        "19" many_writers_of_one_space_all_make_progress;
    }
    feed {
        "6" a_seq_is_never_used_again;
        "7" seqs_of_a_page_rise_in_the_order_it_acts;
        "8" a_feed_cut_at_every_position_resumes_exactly;
        "10a" a_cursor_of_another_epoch_is_refused;
        "10b" a_cursor_ahead_of_the_log_is_refused_with_the_head;
        "10c" a_reader_is_pruned_exactly_when_the_floor_rose_past_it;
        "10d" a_reader_from_the_beginning_always_reaches_the_head;
        "10e" an_empty_page_has_a_stable_cursor;
        "12a" a_delete_and_a_revive_both_show;
        "12b" a_reader_from_every_cursor_rebuilds_the_rows;
    }
}

/// What a process that a case started has to do.
pub(crate) fn work<H: Harness>(task: &str, db: &Db<'_, H>, argument: &str) -> Verdict {
    match task {
        commit_order::WRITE => commit_order::write(db, argument),
        _ => Err(Failure::new(format!("no task is called {task}"))),
    }
}
