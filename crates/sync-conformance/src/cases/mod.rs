//! The list of cases: the one place where a case is named.
//!
//! From it come [`CASES`] and the dispatch by name. A case function that is not on it is dead code,
//! which the compiler reports.
//!
//! Each group names the item of `sync-core` whose documentation has the promises of its cases.

use crate::case::Case;
use crate::failure::{Failure, Verdict};
use crate::harness::{Harness, Power};
use crate::rig::{Db, Rig};

mod alone;
mod atomicity;
mod changed;
mod commit_order;
mod counters;
mod declaration;
mod faults;
mod feed;
mod identity;
mod large_page;
mod order;
mod paging;
mod payload;
mod prune;
mod restart;
mod schema;
mod script;
mod size;
mod source_log;
mod spaces;
mod state;
mod table;

macro_rules! list {
    ($($group:ident $about:literal {
        $($id:literal $name:ident $([$($power:ident),+])?;)+
    })+) => {
        /// Every case, by group.
        pub const CASES: &[Case] = &[$($(Case {
            id: $id,
            name: stringify!($name),
            group: stringify!($group),
            about: $about,
            needs: &[$($(Power::$power),+)?],
        }),+),+];

        /// Runs the case of this name.
        pub(crate) fn call<H: Harness>(name: &str, rig: &Rig<'_, H>) -> Verdict {
            $($(if name == stringify!($name) {
                return $group::$name(rig);
            })+)+
            Err(Failure::new(format!("no case is called {name}")))
        }
    };
}

list! {
    declaration "Backend::capabilities" {
        "0a" declared_powers_are_offered_and_no_others;
        "0b" declared_capabilities_fit_the_harness;
        "0c" errors_name_the_backend_and_the_operation;
    }
    commit_order "SyncStore::feed" {
        "1" commit_order_is_sequence_order;
        "2" commit_order_is_sequence_order_across_processes [Processes];
        "3" a_page_and_its_bound_come_from_one_snapshot;
        "4a" a_long_unrelated_transaction_does_not_stop_the_feed [UnrelatedTransaction];
        "19" many_writers_of_one_space_all_make_progress;
        "19b" one_handle_serves_many_threads;
    }
    feed "SyncStore::feed" {
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
    restart "Backend::connect" {
        "9a" a_restart_changes_nothing;
        "9b" an_abrupt_end_loses_nothing_that_was_answered [Processes];
        "9c" after_a_restored_copy_and_a_new_epoch_no_reader_skips [Copies];
        "13a" the_highest_positions_are_exact;
        "13b" the_last_seq_is_minted_and_one_more_is_refused [SetHead];
    }
    changed "SyncStore::changed" {
        "11a" a_commit_before_the_call_resolves_it;
        "11b" a_commit_on_the_same_handle_wakes;
        "11c" a_commit_on_another_handle_wakes;
        "11d" a_commit_of_another_process_wakes [Processes];
        "11e" what_wakes_a_reader_is_already_readable;
        "11f" a_new_epoch_and_a_refused_cursor_resolve;
        "11g" the_first_page_of_a_space_wakes;
        "11h" what_makes_no_entry_wakes_nobody;
        "11i" any_number_of_calls_may_wait_and_be_dropped;
    }
    atomicity "SyncStore::apply" {
        "5" a_refused_page_leaves_no_trace;
        "16a" of_two_moves_of_one_cursor_exactly_one_wins;
        "16b" a_conflict_names_every_key_that_does_not_hold;
        "16e" preconditions_read_the_state_before_the_reset;
        "16c" many_counters_moved_by_compare_and_set_lose_no_step;
        "16d" two_preconditions_on_one_key_are_both_checked;
        "17" who_lost_the_lease_writes_nothing;
        "20" what_is_too_large_is_named_and_nothing_is_stored;
        "21a" a_dropped_apply_leaves_all_or_nothing;
        "21b" no_reader_sees_half_a_page;
    }
    faults "SyncStore::apply" {
        "14a" an_error_at_any_boundary_leaves_all_or_nothing [Boundaries];
        "14b" a_process_killed_at_any_boundary_leaves_all_or_nothing [Boundaries, Processes];
        "15" a_failing_commit_is_an_error_and_the_handle_goes_on [Boundaries];
        "18" a_lost_answer_is_an_error_of_its_own_and_a_guarded_retry_is_safe [Boundaries];
    }
    payload "SyncStore::apply" {
        "22" payloads_come_back_byte_for_byte;
        "23" every_limit_is_exact;
    }
    identity "SyncStore::apply" {
        "24" an_id_twice_in_one_page_acts_in_turn;
        "25" the_same_record_again_changes_nothing_and_another_is_divergent;
        "26" a_backfill_sets_an_absent_order_once_and_nothing_else;
        "27" outcomes_have_the_length_and_order_of_their_input;
        "28" ids_are_told_apart_by_every_byte;
        "29a" returned_values_are_copies;
        "29b" look_ups_answer_in_request_order;
    }
    table "SyncStore::apply" {
        "30a" every_line_of_the_table_holds_in_a_page_of_its_own;
        "30b" every_line_of_the_table_holds_in_one_page_of_all;
        "31a" a_tombstone_keeps_an_id_away;
        "31d" a_lift_takes_back_the_veto_and_keeps_the_entry;
    }
    source_log "SyncStore::apply" {
        "31b" a_sources_actions_end_the_same_in_any_order;
    }
    script "SyncStore::apply" {
        "M1" random_pages_do_what_the_model_does;
        "M2" the_recorded_script_gives_the_recorded_dump;
        "M3" pages_that_look_new_do_what_the_model_does;
    }
    paging "SyncStore::scan_time" {
        "32a" a_walk_sees_every_row_that_stands_once_whatever_is_written;
        "32b" a_byte_budget_ends_a_page_and_never_the_walk;
        "32c" a_row_is_returned_as_one_version;
        "33" ten_thousand_rows_of_one_place_are_paged_exactly;
    }
    order "SyncStore::scan_time" {
        "34" byte_order_is_unsigned_everywhere;
        "35" range_bounds_are_inclusive_and_limits_are_kept;
        "35b" the_largest_limit_is_a_limit;
        "36a" any_claimed_time_is_stored_and_listed;
        "36b" an_objects_operations_are_walked_by_seq;
        "37" keys_are_rows_without_payloads_and_orders_only_the_ordered;
    }
    counters "SyncStore::stats" {
        "38" a_deleted_id_is_gone_everywhere_at_once;
        "39" counters_equal_a_recount;
        "39d" verify_finds_nothing_in_a_sound_space;
    }
    prune "SyncStore::prune" {
        "31c" a_prune_spares_what_an_operator_refused;
        "31e" a_prune_drops_what_an_operator_lifted;
        "31f" a_reset_ends_what_a_prune_spared;
        "39b" a_prune_may_run_beside_writers_and_readers;
        "39c" a_killed_prune_is_finished_by_the_next [Processes];
        "39e" a_prune_reads_what_it_spares_once [Work];
    }
    state "SyncState::list" {
        "40a" keys_are_literal_and_told_apart_by_every_byte;
        "40b" a_prefix_is_literal_and_its_listing_exact;
        "41a" values_are_any_bytes_and_empty_is_not_absent;
        "41b" of_two_changes_of_one_key_the_later_holds;
        "41c" a_page_that_changes_nothing_creates_nothing;
        "41d" load_many_reads_one_snapshot;
    }
    spaces "Backend::open" {
        "42a" spaces_do_not_see_each_other;
        "42b" of_two_resets_of_one_state_one_wins;
        "42c" a_reset_begins_anew_and_the_sweep_takes_only_the_old;
        "42d" a_sweep_goes_on_after_its_process_was_killed [Processes];
        "42e" bad_space_names_are_refused;
        "42f" a_dropped_space_is_gone_for_every_handle_and_may_come_again;
        "44b" opening_a_space_writes_nothing_and_its_first_page_creates_it_once;
    }
    size "SyncStore::apply" {
        "42g" a_reset_costs_the_same_whatever_it_leaves_behind [Work];
        "43a" pages_of_any_size_are_one_transaction;
        "43b" a_page_of_every_list_reaches_the_limit;
        "44" a_get_of_100_000_ids_comes_in_bounded_parts;
        "45" opening_counting_and_the_head_of_the_feed_do_not_grow_with_the_space [Work];
    }
    large_page "SyncStore::apply" {
        "43c" a_large_page_becomes_visible_at_once;
    }
    schema "Backend::migrate" {
        "46a" migrating_again_changes_nothing;
        "46b" a_database_without_schema_says_so_until_it_is_migrated [Unmigrated];
        "46c" of_many_migrations_at_once_one_migrates [Unmigrated];
        "46d" of_many_migrating_processes_one_migrates [Unmigrated, Processes];
        "46e" a_newer_schema_is_refused_and_left_alone [Newer];
    }
    // The cases that compare times.
    alone "SyncStore::changed" {
        "4b" a_long_unrelated_transaction_does_not_slow_pages [UnrelatedTransaction];
        "11j" a_commit_on_the_same_handle_wakes_at_once;
        "11k" a_commit_on_another_handle_wakes_within_the_stated_delay;
        "11l" a_commit_of_another_process_wakes_within_the_stated_delay [Processes];
    }
}

/// What a process that a case started has to do.
pub(crate) fn work<H: Harness>(task: &str, db: &Db<'_, H>, argument: &str) -> Verdict {
    match task {
        commit_order::WRITE => commit_order::write(db, argument),
        restart::WRITE_ON => restart::write_on(db, argument),
        changed::COMMIT_ONE => changed::commit_one(db, argument),
        prune::PRUNE => prune::prune(db, argument),
        spaces::SWEEP => spaces::sweep(db, argument),
        schema::MIGRATE => schema::migrate(db, argument),
        faults::DIE => faults::die(db, argument),
        _ => Err(Failure::new(format!("no task is called {task}"))),
    }
}
