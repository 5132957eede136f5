//! The one write: a page, in one transaction.

mod deletes;
mod look_up;
mod upserts;

use rusqlite::{Connection, Transaction, params};
use sync_core::play;
use sync_core::rules::Policy;
use sync_core::{
    Applied, Error, ErrorKind, Precondition, Result, Seq, SeqRange, SpaceName, StateChange,
};

use crate::digests::Digested;
use crate::error::failed;
use crate::space::{self, Space};
use crate::{NAME, SqliteConfig, state};
use look_up::Statements;

/// What the writer did with a page.
pub(crate) struct Written {
    pub(crate) applied: Applied,
    /// Something was committed.
    pub(crate) changed: bool,
    /// Rows were left behind for the sweep.
    pub(crate) garbage: bool,
}

/// Applies `page` to the space called `name`, all or nothing.
pub(crate) fn apply(
    connection: &mut Connection,
    config: &SqliteConfig,
    name: &SpaceName,
    page: &Digested,
) -> Result<Written> {
    boundary(config, "begin")?;
    let (transaction, space) =
        space::begin(connection, name, config.durability).map_err(failed("apply"))?;
    let mut writing = Writing::begin(&transaction, config, name, space)?;
    let applied = writing.page(page)?;
    let changed = writing.changed;
    if changed {
        boundary(config, "space")?;
        writing.save()?;
        drop(writing);
        boundary(config, "commit")?;
        space::commit(transaction, "apply")?;
        boundary(config, "committed").map_err(|source| {
            Error::new(ErrorKind::UnknownOutcome)
                .with_source(source)
                .of_backend(NAME)
        })?;
    }
    Ok(Written {
        applied,
        changed,
        garbage: changed && page.page().reset,
    })
}

#[cfg(feature = "fault-injection")]
pub(crate) fn boundary(config: &SqliteConfig, name: &'static str) -> Result<()> {
    config
        .on_boundary
        .as_ref()
        .map_or(Ok(()), |hook| hook(name))
}

#[cfg(not(feature = "fault-injection"))]
#[expect(
    clippy::unnecessary_wraps,
    clippy::inline_always,
    reason = "the twin of the hook above"
)]
#[inline(always)]
pub(crate) fn boundary(_: &SqliteConfig, _: &'static str) -> Result<()> {
    Ok(())
}

/// The outcome of each input, up to the first error. Collecting results would not know how many
/// there are to be.
fn outcomes<Input, Outcome>(
    inputs: impl IntoIterator<Item = Input, IntoIter: ExactSizeIterator>,
    mut act: impl FnMut(Input) -> Result<Outcome>,
) -> Result<Vec<Outcome>> {
    let inputs = inputs.into_iter();
    let mut outcomes = Vec::with_capacity(inputs.len());
    for input in inputs {
        outcomes.push(act(input)?);
    }
    Ok(outcomes)
}

/// A transaction that applies a page.
struct Writing<'t> {
    transaction: &'t Transaction<'t>,
    config: &'t SqliteConfig,
    name: &'t SpaceName,
    /// Absent until something is written to a space that did not exist.
    space: Option<Space>,
    /// The head before the page: tombstones above it are the page's own.
    head_before: Seq,
    changed: bool,
    statements: Statements<'t>,
    /// The last id was present: look first next time, instead of trying to insert.
    expect_present: bool,
    /// The last row had no order: try to set one next time, instead of looking first.
    expect_unordered: bool,
}

impl<'t> Writing<'t> {
    fn begin(
        transaction: &'t Transaction<'t>,
        config: &'t SqliteConfig,
        name: &'t SpaceName,
        space: Option<Space>,
    ) -> Result<Self> {
        let statements = Statements::prepare(transaction).map_err(failed("apply"))?;
        Ok(Self {
            transaction,
            config,
            name,
            head_before: space.as_ref().map_or(Seq::ZERO, |space| space.head),
            space,
            changed: false,
            statements,
            expect_present: false,
            expect_unordered: true,
        })
    }

    fn page(&mut self, digested: &Digested) -> Result<Applied> {
        let page = digested.page();
        self.check_preconditions(&page.preconditions)?;
        if page.reset {
            self.boundary("reset")?;
            let transaction = self.transaction;
            // A space that is created by this page has nothing to leave behind.
            if self.space.is_some() {
                self.space_mut()?.reset(transaction)?;
            } else {
                self.space_mut()?;
            }
            self.changed = true;
        }
        let policy = Policy::from(page);
        let lifts = outcomes(&page.lifts, |id| self.lift(*id))?;
        let deletes = outcomes(&page.deletes, |delete| self.delete(delete))?;
        let upserts = outcomes(digested.upserts(), |(operation, digest)| {
            self.upsert(operation, digest, policy)
        })?;
        let backfills = outcomes(&page.backfills, |backfill| self.backfill(*backfill))?;
        for change in &page.state {
            self.change_state(change)?;
        }
        Ok(Applied {
            lifts,
            deletes,
            upserts,
            backfills,
            seqs: self.minted(),
        })
    }

    fn save(&mut self) -> Result<()> {
        let (transaction, durability) = (self.transaction, self.config.durability);
        self.space_mut()?.save(transaction, durability)
    }

    fn minted(&self) -> Option<SeqRange> {
        let last = self.space.as_ref()?.head;
        let first = self.head_before.next()?;
        (first <= last).then_some(SeqRange { first, last })
    }

    /// The space, created where this is the first write to it.
    fn space_mut(&mut self) -> Result<&mut Space> {
        if self.space.is_none() {
            boundary(self.config, "create")?;
            self.space = Some(Space::create(self.transaction, self.name)?);
        }
        self.space
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Failed))
    }

    fn boundary(&self, name: &'static str) -> Result<()> {
        boundary(self.config, name)
    }

    fn check_preconditions(&self, preconditions: &[Precondition]) -> Result<()> {
        play::check_preconditions(preconditions, |key| {
            self.boundary("precondition")?;
            match &self.space {
                Some(space) => {
                    state::load(self.transaction, space, key.as_str()).map_err(failed("apply"))
                }
                None => Ok(None),
            }
        })
    }

    fn change_state(&mut self, change: &StateChange) -> Result<()> {
        self.boundary("state")?;
        let key = change.key.as_str();
        let stored = match &self.space {
            Some(space) => state::load(self.transaction, space, key).map_err(failed("apply"))?,
            None => None,
        };
        if stored == change.value {
            return Ok(());
        }
        let incarnation = self.space_mut()?.incarnation;
        self.changed = true;
        let write = || match &change.value {
            Some(value) => self
                .transaction
                .prepare_cached(
                    "INSERT INTO state (incarnation, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (incarnation, key) DO UPDATE SET value = excluded.value",
                )?
                .execute(params![incarnation, key, &value[..]]),
            None => self
                .transaction
                .prepare_cached("DELETE FROM state WHERE incarnation = ?1 AND key = ?2")?
                .execute(params![incarnation, key]),
        };
        write().map(drop).map_err(failed("apply"))
    }
}
