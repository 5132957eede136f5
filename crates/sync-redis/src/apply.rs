//! The one write: a page, all or nothing.
//!
//! Any page is [one script](script), which looks everything up and decides. Where the pages before it
//! only brought new operations, and this one may be another, it is first tried
//! [under `WATCH`](watched), which spares the server most of the work. Whatever is not as expected
//! there is left to the script, before anything is written.

mod pace;
mod script;
mod watched;
mod write;

use std::ops::Range;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, try_join_all};
use redis::Cmd;
use sync_core::{Applied, Digest, Error, ErrorKind, Operation, Page, Result};

use crate::RedisConfig;
use crate::error::named;
use crate::runtime::Runtime;
use crate::space::Space;

pub(crate) use pace::Pace;
use watched::Attempt;

/// What the server did with a page.
pub(crate) struct Written {
    pub(crate) applied: Applied,
    /// Something was written.
    pub(crate) changed: bool,
}

/// A page on its way into a space.
pub(crate) struct Job {
    page: Arc<Page>,
    digests: Digests,
    /// The script's command, where the page was not expected to do without it.
    packed: Option<Cmd>,
}

/// The digests of a page's upserts, which another thread works out while the server looks up what
/// the page names.
type Digests = Shared<BoxFuture<'static, Arc<[Digest]>>>;

/// A page with fewer operations is hashed where it is.
const FEW: usize = 32;

/// A page with fewer operations is hashed by one thread, and a larger one by two: the server has
/// answered the look-up before one could be through with it.
const MANY: usize = 256;

/// Operations and bytes from which a page is packed beside the caller's thread, and beside the
/// driver's.
const LARGE: usize = 1 << 20;

impl Job {
    /// Computes the digests and packs the page, or begins to.
    pub(crate) async fn new(space: &Arc<Space>, page: Page) -> Result<Self> {
        let runtime = &space.inner.runtime;
        let page = Arc::new(page);
        if is_due(space, &page) {
            let digests = if page.upserts.len() < FEW {
                ready(digests(&page))
            } else {
                begin_digests(&page, runtime)
            };
            return Ok(Self {
                page,
                digests,
                packed: None,
            });
        }
        let (of, packing) = (Arc::clone(space), Arc::clone(&page));
        let pack = move || {
            let digests = digests(&packing);
            let packed = script::pack(&of, &packing, &digests, false)?;
            Ok((digests, packed))
        };
        let (digests, packed) = if weight(&page) < LARGE {
            pack()?
        } else {
            runtime.compute(pack).await.flatten()?
        };
        Ok(Self {
            page,
            digests: ready(digests),
            packed: Some(packed),
        })
    }
}

/// Applies a page to the space, all or nothing.
pub(crate) async fn apply(space: &Arc<Space>, job: Job) -> Result<Written> {
    let config = space.inner.servers.config();
    let pace = &space.shared.pace;
    let Job {
        page,
        digests,
        packed,
    } = job;
    let _turn = space.shared.turn.lock().await;
    let packed = match packed {
        Some(packed) => packed,
        None => match watched::attempt(space, &page, &digests).await? {
            Attempt::Written(written) => {
                pace.went_well();
                count(config, "watched");
                return Ok(written);
            }
            Attempt::Not(why) => {
                tracing::debug!(
                    space = space.name.as_str(),
                    why,
                    "left a page to the script"
                );
                pace.went_wrong();
                count(config, why);
                pack_beside(space, &page, digests.clone().await).await?
            }
        },
    };
    count(config, "script");
    let digests = digests.await;
    let written = script::apply(space, &page, &digests, packed).await?;
    pace.learn(&written.applied);
    Ok(written)
}

/// Whether the page is to be tried without the script.
fn is_due(space: &Space, page: &Page) -> bool {
    watched::may_be(page) && (space.shared.pace.is_due() || eager(space.inner.servers.config()))
}

async fn pack_beside(space: &Arc<Space>, page: &Arc<Page>, digests: Arc<[Digest]>) -> Result<Cmd> {
    if weight(page) < LARGE {
        return script::pack(space, page, &digests, false);
    }
    let (of, page) = (Arc::clone(space), Arc::clone(page));
    let packing = move || script::pack(&of, &page, &digests, false);
    space.inner.runtime.compute(packing).await.flatten()
}

/// Begins to hash a page beside the driver's thread.
fn begin_digests(page: &Arc<Page>, runtime: &Runtime) -> Digests {
    let all = page.upserts.len();
    let most = if all < MANY { all } else { all.div_ceil(2) };
    let parts = (0..all).step_by(most.max(1)).map(|from| {
        let page = Arc::clone(page);
        runtime.begin(move || part_of_digests(&page, from..all.min(from + most)))
    });
    let (working, page) = (try_join_all(parts), Arc::clone(page));
    let joined = async move {
        match working.await {
            Ok(parts) => parts.concat().into(),
            Err(_) => digests(&page),
        }
    };
    joined.boxed().shared()
}

fn digests(page: &Page) -> Arc<[Digest]> {
    part_of_digests(page, 0..page.upserts.len()).into()
}

fn part_of_digests(page: &Page, part: Range<usize>) -> Vec<Digest> {
    let upserts = page.upserts.get(part).unwrap_or_default();
    upserts.iter().map(Operation::digest).collect()
}

fn ready(digests: Arc<[Digest]>) -> Digests {
    std::future::ready(digests).boxed().shared()
}

/// Operations and bytes of payloads.
fn weight(page: &Page) -> usize {
    let bytes: usize = page.upserts.iter().map(|upsert| upsert.payload.len()).sum();
    bytes + page.operations()
}

/// The boundary between the commit and the answer.
fn answered(config: &RedisConfig) -> Result<()> {
    boundary(config, "committed")
        .map_err(|source| named("apply")(Error::new(ErrorKind::UnknownOutcome).with_source(source)))
}

#[cfg(feature = "fault-injection")]
fn boundary(config: &RedisConfig, name: &'static str) -> Result<()> {
    config
        .on_boundary
        .as_ref()
        .map_or(Ok(()), |hook| hook(name))
}

#[cfg(not(feature = "fault-injection"))]
#[expect(clippy::unnecessary_wraps, reason = "the twin of the hook above")]
fn boundary(_: &RedisConfig, _: &'static str) -> Result<()> {
    Ok(())
}

#[cfg(feature = "fault-injection")]
fn count(config: &RedisConfig, way: &'static str) {
    if let Some(ways) = &config.ways {
        ways.count(way);
    }
}

#[cfg(not(feature = "fault-injection"))]
fn count(_: &RedisConfig, _: &'static str) {}

#[cfg(feature = "fault-injection")]
fn eager(config: &RedisConfig) -> bool {
    config.eager
}

#[cfg(not(feature = "fault-injection"))]
fn eager(_: &RedisConfig) -> bool {
    false
}
