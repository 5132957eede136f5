//! Payloads are opaque bytes, and limits are limits.

use bytes::Bytes;
use sync_core::{
    ErrorKind, FeedCursor, Limit, List, OpId, Operation, Page, TimeRange, TooLarge, UpsertOutcome,
    limits,
};

use crate::data::{id, key, object, op, removed, ts};
use crate::failure::{Verdict, ensure_eq, ensure_err};
use crate::harness::Harness;
use crate::rig::Rig;
use crate::walk::row_of;

const MANY: Limit = Limit::rows(1_000);

pub(crate) fn payloads_come_back_byte_for_byte<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (db, space) = rig.space()?;
    let texts: [&[u8]; 20] = [
        b"",
        b"\0",
        b"\n",
        b"{}",
        br#"{"a":1,"a":2}"#,
        br#"{"b":1,"a":2}"#,
        br#"{ "a" : 1e2 }"#,
        b"1e2",
        b"100.0",
        b"12345678901234567890123",
        br#"{"a":12345678901234567890123}"#,
        br#""\u0000""#,
        br#""\ud800""#,
        b"\"\xed\xa0\x80\"",
        b"\xff\xfe\xfd",
        b"\xc3\x28",
        b"trailing newline\n",
        b"trailing nul\0",
        b" leading and trailing space ",
        b"\xef\xbb\xbfwith a byte order mark",
    ];
    let mut payloads: Vec<Bytes> = texts.into_iter().map(Bytes::from_static).collect();
    payloads.push((0..=255).collect::<Vec<u8>>().into());
    payloads.push(
        (0..=255)
            .rev()
            .cycle()
            .take(limits::PAYLOAD_BYTES)
            .collect::<Vec<u8>>()
            .into(),
    );
    payloads.extend((0..=255_u8).map(|byte| Bytes::from(vec![byte])));
    let operations: Vec<Operation> = (0..)
        .zip(&payloads)
        .map(|(n, payload)| Operation::new(id(n), ts(n), payload.clone()))
        .map(|operation| {
            let name = operation.payload.slice(..operation.payload.len().min(256));
            if name.is_empty() {
                operation
            } else {
                operation.about(object(name))
            }
        })
        .collect();
    let _ = space.apply(Page::new().upserts(operations.clone()))?;
    let wanted: Vec<OpId> = operations.iter().map(|operation| operation.id).collect();
    for space in [&space, &db.space()?] {
        let got: Vec<Operation> = space
            .get(&wanted)?
            .into_iter()
            .flatten()
            .map(|row| row.operation)
            .collect();
        ensure_eq!(got, operations, "the operations get answers");
        let scanned: Vec<Operation> = space
            .rows_by_time(TimeRange::ALL, MANY)?
            .into_iter()
            .map(|row| row.operation)
            .collect();
        ensure_eq!(scanned, operations, "the operations scan_time shows");
        let fed: Vec<Operation> = space
            .entries(FeedCursor::Beginning, MANY)?
            .iter()
            .filter_map(row_of)
            .map(|row| row.operation)
            .collect();
        ensure_eq!(fed, operations, "the operations the feed shows");
    }
    let again = space
        .apply(Page::new().upserts(operations.clone()))?
        .totals();
    ensure_eq!(
        again.unchanged as usize,
        operations.len(),
        "the same bytes again"
    );
    // Texts that mean the same JSON are not the same bytes.
    let rewritten = Operation {
        payload: Bytes::from_static(br#"{"a":2}"#),
        ..operations.get(4).cloned().unwrap_or_else(|| op(0))
    };
    let outcome = space.apply(Page::new().upsert(rewritten))?.upserts;
    ensure_eq!(
        outcome,
        [UpsertOutcome::Divergent],
        "a payload rewritten as its normal form"
    );
    space.audit()
}

/// One under, exactly at and one over every limit that a page has, bytes and entries.
pub(crate) fn every_limit_is_exact<H: Harness>(rig: &Rig<'_, H>) -> Verdict {
    let (_db, space) = rig.space()?;
    let mib = Bytes::from(vec![b'x'; limits::PAYLOAD_BYTES + 1]);
    let sized = |n: u64, size: usize| Operation::new(id(n), ts(n), mib.slice(..size));
    let refused = |page: Page, list: List, index: usize, limit: usize| -> Verdict {
        let found = ensure_err!(
            space.apply(page),
            ErrorKind::TooLarge(found) => *found,
            "a page past {limit} at {list}[{index}]"
        );
        ensure_eq!(found, TooLarge { list, index, limit }, "what is too large");
        Ok(())
    };

    let payload = limits::PAYLOAD_BYTES;
    for (n, size) in [(0, payload - 1), (1, payload)] {
        let _ = space.apply(Page::new().upsert(sized(n, size)))?;
        let row = space.get_one(id(n))?;
        ensure_eq!(
            row.map(|row| row.operation.payload.len()),
            Some(size),
            "a payload's length"
        );
    }
    let page = Page::new().upsert(op(2)).upsert(sized(3, payload + 1));
    refused(page, List::Upserts, 1, payload)?;

    let value = limits::STATE_VALUE_BYTES;
    let values = |size| mib.slice(..size);
    let page = Page::new()
        .set(key("under"), values(value - 1))
        .set(key("at"), values(value));
    let _ = space.apply(page)?;
    ensure_eq!(
        space.load(&key("at"))?,
        Some(values(value)),
        "a value of 64 KiB"
    );
    let _ = space.apply(Page::new().expect(key("at"), Some(values(value))))?;
    let page = Page::new()
        .set(key("a"), "")
        .set(key("over"), values(value + 1));
    refused(page, List::State, 1, value)?;
    let page = Page::new().expect(key("at"), Some(values(value + 1)));
    refused(page, List::Preconditions, 0, value)?;

    let most = limits::PAGE_STATE_CHANGES;
    let changes = |count: usize| {
        (0..count).fold(Page::new(), |page, n| {
            page.set(key(&format!("many {n}")), "")
        })
    };
    let _ = space.apply(changes(most))?;
    ensure_eq!(
        space.state_with("many", MANY)?.len(),
        most,
        "state changes of one page"
    );
    refused(changes(most + 1), List::State, most, most)?;
    let expecting = |count: usize| {
        (0..count).fold(Page::new(), |page, n| {
            page.expect(key(&format!("many {n}")), Some(""))
        })
    };
    let _ = space.apply(expecting(most))?;
    refused(expecting(most + 1), List::Preconditions, most, most)?;

    // 64 payloads of 1 MiB are exactly the 64 MiB of a page; one byte more is past them.
    let full = || Page::new().upserts((100..164).map(|n| sized(n, payload)));
    refused(
        full().set(key("byte"), "x"),
        List::State,
        0,
        limits::PAGE_BYTES,
    )?;
    let mut about = full();
    if let Some(last) = about.upserts.last_mut() {
        last.object = Some(object("x"));
    }
    refused(about, List::Upserts, 63, limits::PAGE_BYTES)?;
    let inserted = space.apply(full())?.totals().inserted;
    ensure_eq!(inserted, 64, "rows of a page of exactly 64 MiB");

    let operations = limits::PAGE_OPERATIONS;
    let one = Bytes::from_static(b"x");
    let page = Page::new()
        .delete(removed(id(9_999_999)))
        .upserts((0..operations as u64).map(|n| Operation::new(id(1_000 + n), ts(n), one.clone())));
    refused(page, List::Upserts, operations - 1, operations)?;
    ensure_eq!(
        space.stats()?.total,
        66,
        "rows, those of the pages within the limits"
    );
    Ok(())
}
