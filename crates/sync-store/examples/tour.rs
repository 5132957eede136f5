//! What the store does for a peer, in six steps on SQLite in a temporary folder. Everything that is
//! printed was read back from the database.

use std::error::Error;

use sync_store::{
    Delete, ErrorKind, FeedCursor, FeedKind, Limit, OpId, Operation, Page, Payloads, SpaceName,
    StateKey, SyncOrder, SyncState, SyncStore, SyncStoreExt, TombstoneReason, Ts,
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    pollster::block_on(tour())
}

async fn tour() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("sync.db").display());
    sync_store::migrate(&url).await?;
    let backend = sync_store::connect(&url).await?;
    let store = backend.open(&SpaceName::new("default")?).await?;
    let cursor = StateKey::new("upstream.cursor")?;

    println!("1. A page: three operations, and the cursor behind them, in one step");
    let page = Page::new()
        .expect(cursor.clone(), None::<&str>)
        .upserts([operation(1, "a")?, operation(2, "b")?, operation(3, "c")?])
        .set(cursor.clone(), "3");
    let applied = store.apply(page).await?;
    println!(
        "   inserted {}, cursor {}",
        applied.totals().inserted,
        text(&store, &cursor).await?
    );

    println!(
        "2. Another writer that also began without a cursor comes second, and changes nothing"
    );
    let late = Page::new()
        .expect(cursor.clone(), None::<&str>)
        .upsert(operation(9, "from elsewhere")?)
        .set(cursor.clone(), "1");
    match store.apply(late).await {
        Err(error) if matches!(error.kind(), ErrorKind::Conflict(_)) => println!("   {error}"),
        other => return Err(format!("expected a conflict: {other:?}").into()),
    }
    println!(
        "   rows {}, cursor {}",
        store.stats().await?.total,
        text(&store, &cursor).await?
    );

    println!("3. A reader follows the feed and keeps its place");
    let place = follow(&store, FeedCursor::Beginning).await?;

    println!("4. The source removes an operation; the reader sees that and nothing twice");
    let removal = Delete::new(id(2), TombstoneReason::Removed).at(order(4)?);
    let removed = store
        .apply(Page::new().delete(removal).set(cursor.clone(), "4"))
        .await?;
    println!("   {:?}", removed.deletes);
    follow(&store, place).await?;

    println!("5. A peer that missed the removal brings the operation back");
    println!("   {:?}", store.put(operation(2, "b")?).await?.upserts);

    println!("6. After a restart everything is where it was");
    drop((store, backend));
    let backend = sync_store::connect(&url).await?;
    let store = backend.open(&SpaceName::new("default")?).await?;
    let report = store.verify().await?;
    println!(
        "   rows {}, tombstones {}, cursor {}, contradictions {}",
        report.rows,
        report.stats.tombstones,
        text(&store, &cursor).await?,
        report.findings.len(),
    );
    Ok(())
}

/// Prints what the feed has after `place`, and answers the new place.
async fn follow(store: &impl SyncStore, place: FeedCursor) -> Result<FeedCursor> {
    let page = store
        .feed(place, Limit::rows(100), Payloads::Include)
        .await?;
    for entry in &page.entries {
        let what = match &entry.kind {
            FeedKind::Live { payload, .. } => {
                format!(
                    "row {:?}",
                    String::from_utf8_lossy(payload.as_deref().unwrap_or_default())
                )
            }
            FeedKind::Tombstone { reason, .. } => format!("tombstone, {reason}"),
        };
        println!("   seq {}: {what}", entry.seq);
    }
    Ok(page.next)
}

async fn text(store: &impl SyncState, key: &StateKey) -> Result<String> {
    let value = store.load(key).await?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&value).into_owned())
}

fn operation(number: u8, payload: &'static str) -> Result<Operation> {
    let ts = Ts::try_from(1_700_000_000 + u64::from(number))?;
    Ok(Operation::new(id(number), ts, payload).at(order(number.into())?))
}

/// A protocol's id is a hash of the operation; here a number has to do.
fn id(number: u8) -> OpId {
    OpId::new([number; 32])
}

fn order(position: u64) -> Result<SyncOrder> {
    Ok(SyncOrder::try_from(position)?)
}
