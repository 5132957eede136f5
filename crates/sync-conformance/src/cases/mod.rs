//! The list of cases: the one place where a case is named.
//!
//! From it come [`CASES`], the dispatch by name, and [`suite!`](crate::suite). A case function that
//! is not on it is dead code, which the compiler reports.

use crate::case::Case;
use crate::failure::{Failure, Verdict};
use crate::harness::{Harness, Power};
use crate::rig::{Db, Rig};

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
    feed {
        "1" commit_order_is_sequence_order;
        "2" commit_order_is_sequence_order_across_processes [Processes];
        "8" a_feed_cut_at_every_position_resumes_exactly;
        "9" a_restart_changes_nothing_a_reader_sees;
    }
}

/// What a process that a case started has to do.
pub(crate) fn work<H: Harness>(task: &str, db: &Db<'_, H>, argument: &str) -> Verdict {
    match task {
        feed::WRITE => feed::write(db, argument),
        _ => Err(Failure::new(format!("no task is called {task}"))),
    }
}
