use sync_core::plan::Plan;
use sync_core::{Digest, Operation, Page, Result, SpaceName, StateChange, UpsertOutcome, limits};
use sync_takeover::{Reading, RefusedReason, RefusedRow, TakeoverReport};

use super::deployed::{self, Deployed, Raw};
use super::{refused, rows, run};
use crate::PostgresConfig;
use crate::apply::{self, Job};
use crate::pool::Connection;
use crate::space::Found;

/// Rows and bytes of one page: what the import holds in memory.
const PAGE_ROWS: usize = 1_000;
const PAGE_BYTES: usize = 8 << 20;
/// Old rows that are fetched at once.
const FETCHED: usize = 200;

const _: () =
    assert!(PAGE_ROWS <= limits::PAGE_OPERATIONS && PAGE_ROWS <= limits::PAGE_STATE_CHANGES);

/// Old rows on their way into a space, in pages inside one transaction.
struct Import<'t> {
    connection: &'t Connection,
    config: &'t PostgresConfig,
    space: &'t SpaceName,
    page: Page,
    bytes: usize,
    /// What a report will say of the page's upserts, should their ids turn out to be present.
    duplicates: Vec<RefusedRow>,
    report: TakeoverReport,
}

/// Brings everything that `old` holds into a space that must be empty.
pub(super) async fn import(
    connection: &Connection,
    config: &PostgresConfig,
    space: &SpaceName,
    old: &Deployed,
    reading: &Reading,
) -> Result<TakeoverReport> {
    if !is_empty(connection, space).await? {
        return Err(refused(format!("the space {space} is not empty")));
    }
    let mut import = Import {
        connection,
        config,
        space,
        page: Page::new(),
        bytes: 0,
        duplicates: Vec::new(),
        report: TakeoverReport::default(),
    };
    let fetch = format!("FETCH {FETCHED} FROM taken_over");
    declare(connection, &old.rows()).await?;
    loop {
        let fetched = rows(connection, &fetch).await?;
        for row in &fetched {
            import.row(&Raw::of(row)?, reading).await?;
        }
        if fetched.len() < FETCHED {
            break;
        }
    }
    run(connection, "CLOSE taken_over").await?;
    if let Some(state) = old.state() {
        for row in &rows(connection, &state).await? {
            match deployed::state_entry(row)? {
                Ok((key, value)) => import.state(key, value).await?,
                Err(refused) => import.report.refused_state.push(refused),
            }
        }
    }
    import.flush().await?;
    Ok(import.report)
}

async fn declare(connection: &Connection, select: &str) -> Result<()> {
    let text = format!("DECLARE taken_over NO SCROLL CURSOR FOR {select}");
    run(connection, &text).await
}

impl Import<'_> {
    async fn row(&mut self, row: &Raw<'_>, reading: &Reading) -> Result<()> {
        match row.operation(reading) {
            Ok(operation) => {
                self.make_room(operation.payload.len()).await?;
                self.page.upserts.push(operation);
                self.duplicates.push(row.refused(RefusedReason::Duplicate));
            }
            Err(reason) => self.report.refused.push(row.refused(reason)),
        }
        Ok(())
    }

    async fn state(&mut self, key: sync_core::StateKey, value: String) -> Result<()> {
        self.make_room(value.len()).await?;
        self.report.state_keys.push(key.clone());
        self.page.state.push(StateChange {
            key,
            value: Some(value.into()),
        });
        Ok(())
    }

    /// Writes the page where `bytes` more would be too much for it, and counts them.
    async fn make_room(&mut self, bytes: usize) -> Result<()> {
        let entries = self.page.upserts.len() + self.page.state.len();
        if entries >= PAGE_ROWS || self.bytes + bytes > PAGE_BYTES {
            self.flush().await?;
        }
        self.bytes += bytes;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let page = std::mem::take(&mut self.page);
        self.bytes = 0;
        let digests: Vec<Digest> = page.upserts.iter().map(Operation::digest).collect();
        let job = Job::of_takeover(self.space.clone(), page);
        let plan: Plan = apply::apply_in(self.connection, self.config, &job, &digests).await?;
        let outcomes = plan.applied.upserts.iter().zip(&job.page().upserts);
        for ((outcome, operation), duplicate) in outcomes.zip(self.duplicates.drain(..)) {
            if *outcome == UpsertOutcome::Inserted {
                self.report.taken += 1;
                self.report.ordered += u64::from(operation.sync_order.is_some());
            } else {
                self.report.refused.push(duplicate);
            }
        }
        Ok(())
    }
}

async fn is_empty(connection: &Connection, name: &SpaceName) -> Result<bool> {
    let Some(space) = Found::load(connection, name).await?.space else {
        return Ok(true);
    };
    if space.counters.total > 0 || space.counters.tombstones > 0 {
        return Ok(false);
    }
    let statement = &connection.statements().list_state;
    let any = connection
        .rows(
            statement,
            &[&name.as_str(), &"", &"\u{10ffff}", &"", &1_i64, &0_i64],
        )
        .await?;
    Ok(any.is_empty())
}
