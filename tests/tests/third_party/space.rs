//! One space: what the contract asks of its maps.

use std::convert::Infallible;

use sync_core::play::{self, Played, SpaceRow};
use sync_core::{Epoch, Error, ErrorKind, FeedEntry, Page, Result, Seq, StateKey, Stats};
use sync_kit::{Answer, Query, digests};

use crate::maps::Maps;

#[derive(Default)]
pub(crate) struct Space {
    pub(crate) epoch: Option<Epoch>,
    pub(crate) floor: Seq,
    row: SpaceRow,
    maps: Maps,
}

impl Space {
    /// Whether the page may be applied. Once it is in the journal, nothing may refuse it.
    pub(crate) fn check(&self, page: &Page) -> Result<()> {
        let find = |key: &StateKey| Ok(self.maps.state.get(key).cloned());
        play::check_preconditions(&page.preconditions, find)?;
        // A page that would fit only because some of it needs no seq is refused as well.
        let most = (page.deletes.len() + 2 * page.upserts.len()) as u64;
        if Seq::MAX.value() - self.row.head.value() < most {
            return Err(Error::new(ErrorKind::Exhausted));
        }
        Ok(())
    }

    /// Applies a page that was checked. A space it creates, or resets, has `epoch`.
    pub(crate) fn apply(&mut self, page: &Page, epoch: Epoch) -> Result<Played> {
        let played = play::play(page, digests::of(page), &mut self.row, &mut self.maps)?;
        if page.reset {
            self.epoch = Some(epoch);
        } else if played.changed {
            self.epoch.get_or_insert(epoch);
        }
        Ok(played)
    }

    /// How many tombstones a prune would drop.
    pub(crate) fn prunable(&self) -> u64 {
        self.maps.prunable(self.floor).count() as u64
    }

    pub(crate) fn prune(&mut self) {
        self.maps.prune(self.floor);
        self.row.counters.tombstones = self.maps.tombstones.len() as u64;
    }

    pub(crate) fn stats(&self) -> Stats {
        let SpaceRow { head, counters } = self.row;
        Stats {
            epoch: self.epoch,
            total: counters.total,
            ordered: counters.ordered,
            tombstones: counters.tombstones,
            head,
            floor: self.floor,
        }
    }

    /// What a reset or a drop leaves behind.
    pub(crate) fn weight(&self) -> u64 {
        self.maps.weight()
    }

    pub(crate) fn answer(&self, query: &Query) -> Answer {
        let maps = &self.maps;
        let Ok(answer) = match query {
            Query::Get { ids, max_bytes } => {
                let rows = ids.iter().map(|id| Ok(maps.rows.get(id).cloned()));
                Answer::found::<Infallible>(rows, *max_bytes)
            }
            Query::Known(ids) => Ok(Answer::Known(ids.iter().map(|id| maps.known(id)).collect())),
            Query::Time {
                range,
                after,
                limit,
            } => maps.rows(maps.keys(*range, *after).map(|key| key.id), *limit),
            Query::Keys {
                range,
                after,
                limit,
            } => Answer::keys(maps.keys(*range, *after).map(Ok), *limit),
            Query::Order { after, limit } => maps.rows(maps.ordered(*after), *limit),
            Query::Object {
                object,
                after,
                limit,
            } => maps.rows(maps.about(object, *after), *limit),
            Query::Feed {
                after,
                limit,
                payloads,
            } => {
                let (live, dead) = maps.after(after.seq());
                let live = live.map(|row| Ok(FeedEntry::of_row(row.clone(), *payloads)));
                Answer::feed(self.stats(), live, dead.cloned().map(Ok), *limit)
            }
            Query::AnyAfter(after) => {
                let (mut live, mut dead) = maps.after(after.seq());
                Ok(Answer::Any {
                    space: Some(self.stats()),
                    any: live.next().is_some() || dead.next().is_some(),
                })
            }
            Query::State(keys) => Ok(Answer::Values(
                keys.iter()
                    .map(|key| maps.state.get(key).cloned())
                    .collect(),
            )),
            Query::List {
                prefix,
                after,
                limit,
            } => Answer::state(maps.list(prefix, after.clone()).map(Ok), *limit),
            Query::Stats => Ok(Answer::Stats(Some(self.stats()))),
        };
        answer
    }
}
