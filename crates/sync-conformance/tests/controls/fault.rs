//! The controls: what is wrong with each broken store, and the cases that are about it.
//!
//! A case names a control where its promise is the one the store breaks; such a case must fail. A
//! control fails other cases as well; which, the table tells.

use sync_conformance::Case;

/// One broken store.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) fault: Fault,
    pub(crate) name: &'static str,
    /// The ids of the cases that are about this failure.
    pub(crate) cases: &'static [&'static str],
}

impl Control {
    pub(crate) fn named(&self) -> impl Iterator<Item = &'static Case> {
        self.cases
            .iter()
            .map(|id| Case::find(id).unwrap_or_else(|| panic!("no case {id}")))
    }
}

macro_rules! controls {
    ($($(#[$doc:meta])* $fault:ident $name:ident [$($case:literal),+];)+) => {
        /// What is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault {
            $($(#[$doc])* $fault),+
        }

        pub(crate) const CONTROLS: &[Control] = &[$(Control {
            fault: Fault::$fault,
            name: stringify!($name),
            cases: &[$($case),+],
        }),+];
    };
}

controls! {
    // What the harness and the backend declare.

    /// A power is offered and not declared.
    PowerIsNotDeclared power_is_not_declared ["0a"];
    /// Several processes are promised, and none but this one can open the database.
    ProcessesArePromised processes_are_promised ["0b"];
    /// An error that does not say where it comes from.
    ErrorsAreAnonymous errors_are_anonymous ["0c"];

    // Sequence order and commit order.

    /// Numbers are taken from a counter before the transaction that uses them commits.
    SequenceTakenBeforeTheCommit sequence_taken_before_the_commit ["1"];
    /// The cursor of a last page is a head that was read after the rows.
    BoundReadAfterTheRows bound_read_after_the_rows ["1", "2", "3"];
    /// The feed waits for every transaction of the database, whoever's it is.
    FeedStopsAtTheOldestTransaction feed_stops_at_the_oldest_transaction ["4a"];
    /// Every page walks over what an open transaction keeps from being cleaned up.
    OpenTransactionSlowsPages open_transaction_slows_pages ["4b"];
    /// Two pages at once, and one of them fails for good.
    ContentionIsAPermanentError contention_is_a_permanent_error ["19", "19b"];
    /// The next number is one above the highest that is there.
    MaxPlusOneSequence max_plus_one_sequence ["6"];
    /// A reset begins to count anew.
    ResetBeginsAtZero reset_begins_at_zero ["6", "42c"];
    /// The order of the lists is not the order of DESIGN.
    DeletesActAfterInserts deletes_act_after_inserts ["7"];
    /// A set-based insert in the order of its index.
    SeqsRiseInOrderOfIds seqs_rise_in_order_of_ids ["7"];

    // The feed.

    /// `>=` where `>` is meant.
    CursorIsInclusive cursor_is_inclusive ["8", "10e"];
    /// A new incarnation under the old name.
    ResetKeepsTheEpoch reset_keeps_the_epoch ["10a", "42c"];
    /// Cursors are read as numbers, whatever history they are of.
    AnyEpochIsAccepted any_epoch_is_accepted ["10a", "9c"];
    /// A cursor past the head reads nothing, and nothing again.
    AheadOfTheLogIsAccepted ahead_of_the_log_is_accepted ["10b"];
    /// A cursor past the head begins again in silence.
    AheadOfTheLogBeginsAgain ahead_of_the_log_begins_again ["10b"];
    /// A reader that missed tombstones is not told.
    PrunedCursorIsAccepted pruned_cursor_is_accepted ["10c", "10d"];
    /// Tombstones go, and the floor stays.
    PruneRaisesNoFloor prune_raises_no_floor ["10c"];
    /// More tombstones go than the floor admits.
    PruneReachesAboveTheFloor prune_reaches_above_the_floor ["10c"];
    /// Rows go with the tombstones.
    PruneTakesRows prune_takes_rows ["10c", "39b"];
    /// A prune drops an operator's tombstones like any other.
    PruneTakesOperatorsTombstones prune_takes_operators_tombstones ["31c", "31e"];
    /// Once an operator's, always an operator's.
    PruneSparesLiftedTombstones prune_spares_lifted_tombstones ["31e"];
    /// What was spared belongs to no history.
    ResetKeepsOperatorsTombstones reset_keeps_operators_tombstones ["31f"];
    /// Each piece looks for something to drop from the beginning on.
    PruneBeginsAgainWithEachPiece prune_begins_again_with_each_piece ["39e"];
    /// What an interrupted prune left is below the floor, and stays.
    PruneIsNotResumed prune_is_not_resumed ["39c"];
    /// Whoever is below the floor is refused, whether it missed anything or not.
    FloorOfTheReaderIsForgotten floor_of_the_reader_is_forgotten ["10d"];
    /// No entries, no cursor.
    EmptyPageBeginsAgain empty_page_begins_again ["10e"];
    /// The cursor is the last entry's, also where the head is further.
    CursorStopsAtTheLastEntry cursor_stops_at_the_last_entry ["10e"];
    /// A row that comes back takes its tombstone's place.
    ReviveTakesTheTombstone revive_takes_the_tombstone ["12a", "12b"];
    /// A tombstone shows what its id has now.
    TombstoneHasTheNewTs tombstone_has_the_new_ts ["12b"];
    /// Deletes are not shown at all.
    FeedHidesTombstones feed_hides_tombstones ["12a", "12b"];
    /// Payloads, whether they were asked for or not.
    PayloadsAlwaysCome payloads_always_come ["12a"];

    // Restarts.

    /// Tombstones live in memory.
    TombstonesLostOnReopen tombstones_lost_on_reopen ["9a"];
    /// Pages are answered, and written when there is time.
    PagesAreWrittenBehind pages_are_written_behind ["9b"];
    /// Lifts live in memory.
    LiftsLostOnReopen lifts_lost_on_reopen ["9a"];
    /// Counters are those of this process.
    CountersKeptInMemory counters_kept_in_memory ["9a", "39"];
    /// A restart is taken for a new history.
    EpochNewOnReopen epoch_new_on_reopen ["9a"];
    /// Empty values are not written.
    EmptyValuesLostOnReopen empty_values_lost_on_reopen ["9a"];
    /// `new_epoch` answers the one there is.
    NewEpochIsTheOldOne new_epoch_is_the_old_one ["9c"];
    /// Positions pass through a floating-point number.
    PositionsInSinglePrecision positions_in_single_precision ["13a"];
    /// After the last seq comes the first.
    SeqWraps seq_wraps ["13b"];

    // Waiting.

    /// A commit that came before the call is not looked for.
    WaitsForTheNextCommit waits_for_the_next_commit ["11a"];
    /// A timer, and nothing else.
    ChangedOnlyPolls changed_only_polls ["11j", "11k"];
    /// A commit is written, and no call that waits for one hears of it.
    CommitsWakeNoCall commits_wake_no_call ["11b", "11c"];
    /// Notifications stay in the handle.
    OtherHandlesWakeNobody other_handles_wake_nobody ["11c", "11d", "11l"];
    /// The notification is sent from inside the transaction.
    WakesBeforeVisible wakes_before_visible ["11e"];
    /// A commit between the look and the wait is lost.
    LooksBeforeItListens looks_before_it_listens ["11e"];
    /// Nobody who waits hears of a new epoch.
    RefusedCursorsWaitForEver refused_cursors_wait_for_ever ["11f"];
    /// A space that does not exist cannot be waited for.
    AbsentSpacesWaitForEver absent_spaces_wait_for_ever ["11g"];
    /// Every commit of the database wakes everybody.
    AnyCommitWakes any_commit_wakes ["11h"];
    /// One commit wakes one reader.
    OneWaiterIsWoken one_waiter_is_woken ["11i"];

    // Transactions.

    /// A second transaction moves the cursor.
    CursorWrittenAfterTheRows cursor_written_after_the_rows ["14a", "14b", "21b"];
    /// A first transaction moves the cursor.
    CursorWrittenBeforeTheRows cursor_written_before_the_rows ["14a"];
    /// Another page may come between the check and the write.
    PreconditionCheckedBeforeTheTransaction precondition_checked_before_the_transaction
        ["16a", "16c", "42b"];
    /// The rows are written, then the check fails.
    PreconditionCheckedAfterTheRows precondition_checked_after_the_rows ["5", "16a", "17", "43a"];
    /// What the reset took away can no longer be compared.
    PreconditionCheckedAfterTheReset precondition_checked_after_the_reset ["16e", "42b"];
    /// Who does not move the cursor may write without holding it.
    PreconditionsOnlyOnChangedKeys preconditions_only_on_changed_keys ["17"];
    /// The first mismatch is told and the others are not.
    ConflictNamesOneKey conflict_names_one_key ["16b"];
    /// Preconditions are a list, and the conflict is one too.
    ConflictNamesAKeyTwice conflict_names_a_key_twice ["16d"];
    /// Preconditions are a map, and the last of two stays.
    LastPreconditionOfAKeyHolds last_precondition_of_a_key_holds ["16d"];
    /// Preconditions are a map, and the first of two stays.
    FirstPreconditionOfAKeyHolds first_precondition_of_a_key_holds ["16d"];
    /// A refused page has created its space.
    RefusedPageCreatesTheSpace refused_page_creates_the_space ["5"];
    /// Pieces of a few rows, each a transaction.
    PageCommittedInChunks page_committed_in_chunks ["14a", "21b"];
    /// Large pages only.
    LargePageCommittedInChunks large_page_committed_in_chunks ["43c"];
    /// Between two pieces the caller may go away.
    DroppedApplyLeavesHalf dropped_apply_leaves_half ["21a"];
    /// Who goes away keeps the lock.
    DroppedApplyHoldsTheLock dropped_apply_holds_the_lock ["21a"];
    /// Each id of a `get` is read by itself.
    IdsAreReadOneByOne ids_are_read_one_by_one ["21b"];
    /// The page is answered, and nothing is there.
    CommitFailureIsSwallowed commit_failure_is_swallowed ["15", "14a"];
    /// The connection is not replaced.
    HandleIsDeadAfterAFailure handle_is_dead_after_a_failure ["15", "14a"];
    /// An error that says nothing was written.
    LostAnswerIsAPlainFailure lost_answer_is_a_plain_failure ["18", "14a"];
    /// The page is sent again, whatever it is.
    LostAnswerIsRetriedBlindly lost_answer_is_retried_blindly ["18"];
    /// What comes before the entry that is too large is stored.
    TooLargePageStoresTheRest too_large_page_stores_the_rest ["5", "20"];
    /// Which entry is too large is anybody's guess.
    TooLargeNamesTheFirst too_large_names_the_first ["20", "23"];

    // Identity, payload, backfill.

    /// A column of JSON.
    PayloadIsJson payload_is_json ["22"];
    /// A column of text.
    PayloadIsText payload_is_text ["22"];
    /// Empty and absent are the same.
    EmptyPayloadIsAbsent empty_payload_is_absent ["22"];
    /// `<` where `<=` is meant.
    PayloadLimitIsOffByOne payload_limit_is_off_by_one ["23"];
    /// What is too long is cut.
    LargePayloadIsCut large_payload_is_cut ["23", "20"];
    /// A page is a set: `ON CONFLICT` refuses to touch a row twice.
    DuplicateIdIsAnError duplicate_id_is_an_error ["24"];
    /// A page is a map.
    LastOfDuplicatesWins last_of_duplicates_wins ["24"];
    /// `ON CONFLICT DO UPDATE`.
    UpsertOverwrites upsert_overwrites ["25", "M1", "M3"];
    /// A record that is refused leaves its order.
    DivergentRecordSetsTheOrder divergent_record_sets_the_order ["25"];
    /// The same record again makes an entry.
    UnchangedMintsASeq unchanged_mints_a_seq ["25"];
    /// An order that stands gives way.
    AnOrderIsMoved an_order_is_moved ["27", "30a", "M1", "M2"];
    /// A source seq is not compared with an order.
    ReviveIgnoresTheSourceSeq revive_ignores_the_source_seq ["31a", "31b", "30a"];
    /// What an operator decided, a source undoes.
    OperatorTombstonesAreRevived operator_tombstones_are_revived ["31a"];
    /// Tombstones do not keep anybody out.
    AnyUpsertRevives any_upsert_revives ["31a", "30a"];
    /// A delete of another object takes the row.
    DeletesIgnoreTheObject deletes_ignore_the_object ["30a", "30b", "27"];
    /// A delete from before the row takes it.
    DeletesIgnoreTheOrder deletes_ignore_the_order ["30a", "27", "31b"];
    /// Of two deletes the first one's source seq stays.
    RepeatedDeleteIsForgotten repeated_delete_is_forgotten ["30a", "31b"];
    /// Unknown ids get no tombstone.
    RejectIsForgotten reject_is_forgotten ["30a", "27", "31b"];
    /// Tombstones do not say where they come from.
    SourceSeqIsForgotten source_seq_is_forgotten ["30a", "12a", "29b", "31b"];
    /// A tombstone stands for ever.
    LiftsDoNothing lifts_do_nothing ["27", "9a", "31d"];
    /// A row that is deleted does not come back in the same page.
    OwnTombstoneStands own_tombstone_stands ["24", "30b", "M2"];
    /// An unknown id becomes a row.
    BackfillInserts backfill_inserts ["26"];
    /// The order that comes last holds.
    BackfillOverwrites backfill_overwrites ["26"];
    /// An order makes an entry.
    BackfillMintsASeq backfill_mints_a_seq ["26"];
    /// Outcomes come as the database grouped them.
    OutcomesAreGrouped outcomes_are_grouped ["27"];
    /// What did nothing is not mentioned.
    UnknownDeletesHaveNoOutcome unknown_deletes_have_no_outcome ["27"];
    /// Half of an id tells it apart.
    IdsCompareByTheirFirstBytes ids_compare_by_their_first_bytes ["28"];
    /// The value itself is handed out, and is gone.
    ValuesAreHandedOut values_are_handed_out ["29a"];
    /// Unknown ids have no place in the answer.
    AbsentIsLeftOut absent_is_left_out ["29b", "44"];
    /// An id that is asked for twice is answered once.
    RepeatsAreAnsweredOnce repeats_are_answered_once ["29b", "44"];
    /// Rows come as the index has them.
    AnswersComeInKeyOrder answers_come_in_key_order ["29b", "44"];
    /// A tombstone is not known.
    KnownOnlyOfRows known_only_of_rows ["29b"];
    /// A tombstone is known as a row.
    KnownCallsEverythingLive known_calls_everything_live ["29b"];

    // Walks.

    /// The index first, the rows later.
    IndexAndPayloadReadApart index_and_payload_read_apart ["32c"];
    /// Places of one time are one place.
    TimeCursorIsTheTimeAlone time_cursor_is_the_time_alone ["32a", "33"];
    /// Places of one order are one place.
    OrderCursorIsTheOrderAlone order_cursor_is_the_order_alone ["32a", "33"];
    /// The rows of the cursor's time are shown again.
    TimeCursorIsInclusive time_cursor_is_inclusive ["32a", "35"];
    /// The row that did not fit is passed over.
    ByteBudgetSkipsARow byte_budget_skips_a_row ["32b"];
    /// As much as there is.
    ByteBudgetIsIgnored byte_budget_is_ignored ["32b", "44"];
    /// A row larger than the budget is nothing.
    TooLargeForTheBudgetIsNothing too_large_for_the_budget_is_nothing ["32b"];
    /// A page with fewer rows than asked for is the last.
    ShortPageIsTheEnd short_page_is_the_end ["32a", "32b"];
    /// Signed bytes.
    IdsCompareAsSignedBytes ids_compare_as_signed_bytes ["34", "28"];
    /// ICU, `localeCompare`.
    KeysSortByLocale keys_sort_by_locale ["34"];
    /// `<` where `<=` is meant.
    RangeEndIsExclusive range_end_is_exclusive ["35"];
    /// A range from late to early is turned round.
    InvertedRangeIsTurned inverted_range_is_turned ["35"];
    /// The row that tells whether there is more is shown.
    OneRowTooMany one_row_too_many ["35", "8"];
    /// A limit that does not fit is below zero.
    LimitsAre32Bit limits_are_32_bit ["35", "35b"];
    /// Clocks are trusted.
    FutureDatesAreRefused future_dates_are_refused ["36a"];
    /// 2038.
    TimesAreSigned32Bit times_are_signed_32_bit ["36a"];
    /// What is too old to matter.
    OldRowsAreNotListed old_rows_are_not_listed ["36a", "35"];
    /// `LIKE 'object%'`.
    ObjectIsAPrefix object_is_a_prefix ["36b"];
    /// A column of text with a collation.
    ObjectIsText object_is_text ["36b"];
    /// An index of 255 bytes.
    ObjectIsCut object_is_cut ["36b"];
    /// By time instead of by seq.
    ObjectWalkIsByTime object_walk_is_by_time ["36b"];
    /// Rows without an order have order 0.
    OrderWalkShowsUnorderedRows order_walk_shows_unordered_rows ["37"];
    /// The index of keys is cleaned later.
    KeysOfDeletedRowsStay keys_of_deleted_rows_stay ["38", "39d"];
    /// A cache is cleaned later.
    DeletedRowsAreStillGot deleted_rows_are_still_got ["38"];
    /// A replacement counts as a new row.
    CountersDrift counters_drift ["39"];

    /// Tombstones are taken for damage.
    CheckCriesWolf check_cries_wolf ["39d"];

    // State.

    /// A collation that ignores case.
    KeysIgnoreCase keys_ignore_case ["40a"];
    /// `LIKE`.
    PrefixIsAPattern prefix_is_a_pattern ["40b"];
    /// `KEYS prefix*`.
    PrefixIsAGlob prefix_is_a_glob ["40b"];
    /// No prefix, no keys.
    EmptyPrefixIsNothing empty_prefix_is_nothing ["40b"];
    /// Empty and absent are the same.
    EmptyValueIsAbsent empty_value_is_absent ["41a", "16b"];
    /// A column of text.
    ValueIsText value_is_text ["41a"];
    /// Each key of a `load_many` is read by itself.
    KeysAreLoadedOneByOne keys_are_loaded_one_by_one ["41d"];
    /// A handle reads what it has read before.
    ValuesAreCached values_are_cached ["41a"];
    /// State changes are a map, and the first of two stays.
    FirstChangeOfAKeyHolds first_change_of_a_key_holds ["41b"];
    /// The first page creates its space, whatever it does.
    EmptyPageCreatesTheSpace empty_page_creates_the_space ["41c"];

    // Spaces.

    /// The name is not part of the key.
    SpacesAreOne spaces_are_one ["42a"];
    /// Names that begin alike are one.
    SpaceNamesAreCut space_names_are_cut ["42a", "42e"];
    /// State outlives a reset.
    ResetKeepsTheState reset_keeps_the_state ["42c"];
    /// What is swept is what is there.
    SweepTakesLiveRows sweep_takes_live_rows ["42c", "42d", "42f"];
    /// How far the sweep got is known to its process alone.
    SweepIsForgotten sweep_is_forgotten ["42d"];
    /// A space that comes again has its old epoch.
    DropKeepsTheEpoch drop_keeps_the_epoch ["42f"];
    /// Each handle's first page creates the space.
    FirstPageCreatesAgain first_page_creates_again ["44b"];
    /// Whoever looks creates.
    OpeningCreates opening_creates ["44b"];
    /// A reset deletes row after row.
    ResetDeletesEachRow reset_deletes_each_row ["42g"];

    // Size.

    /// A statement has so many parameters.
    LargePageIsRefused large_page_is_refused ["43a", "43b"];
    /// And so has a look-up.
    LargeGetIsRefused large_get_is_refused ["44"];
    /// `COUNT(*)`.
    StatsCountsRows stats_counts_rows ["45"];
    /// `COUNT(*)`, when a space is opened.
    OpeningCountsRows opening_counts_rows ["45"];
    /// No index on the seq.
    FeedReadsFromTheBeginning feed_reads_from_the_beginning ["45"];

    // Schema.

    /// Every migration begins at nothing.
    MigratesAgain migrates_again ["46a"];
    /// Connecting makes the schema.
    ConnectMigrates connect_migrates ["46b"];
    /// Two look for the version, and both migrate.
    MigratesWithoutALock migrates_without_a_lock ["46c", "46d"];
    /// A newer schema is as good as the supported one.
    NewerSchemaAccepted newer_schema_accepted ["46e"];
    /// A newer schema is made the supported one.
    NewerSchemaMigratedDown newer_schema_migrated_down ["46e"];
}
