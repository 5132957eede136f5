//! Rows that a test asks for one by one.

use super::{History, Log};
use crate::operation::{
    DID, Signed, Signer, agent_create, agent_update, asset_create, asset_update, date, delete,
};
use crate::row::{Known, Origin};
use crate::{Change, Event};

/// The keys of a log derive from it.
const SEED: u64 = 0x5ee_d0f0;
/// 2024-02-01, in milliseconds.
const BEGINNING: u64 = 1_706_745_600_000;

/// Each makes one signed operation, or one row, and answers the position it took. `None`, and
/// nothing happens, where the log cannot make it: it knows the keys only of DIDs that
/// [`create`](Log::create) and [`create_asset`](Log::create_asset) made, and does not change what
/// is removed.
impl Log {
    /// Makes an agent in `registry` (`local` keeps it private) and answers its DID.
    pub fn create(&mut self, registry: &str) -> String {
        let key = self.next_signer();
        let content = agent_create(&self.now(), registry, &key.jwk());
        let did = self.accept_create(&key, &content, None);
        self.signers.insert(did.clone(), key);
        did
    }

    /// Makes an asset that the agent `controller` signs for, and answers its DID.
    pub fn create_asset(&mut self, controller: &str, registry: &str) -> Option<String> {
        let key = self.signers.get(controller)?.clone();
        let made = self.made;
        let data = format!(r#"{{"made":{made}}}"#);
        let content = asset_create(&self.now(), registry, controller, &data);
        let did = self.accept_create(&key, &content, Some(controller));
        self.signers.insert(did.clone(), key);
        Some(did)
    }

    /// Updates a DID.
    pub fn update(&mut self, did: &str) -> Option<u64> {
        let before = self.history(did).len();
        self.change(did, before.checked_sub(1)?, false)
    }

    /// Deactivates a DID by an operation; it is not removed.
    pub fn delete(&mut self, did: &str) -> Option<u64> {
        let before = self.history(did).len();
        self.change(did, before.checked_sub(1)?, true)
    }

    /// Updates a DID as if its last `displaced` operations had not been, which displaces them. Its
    /// create stays.
    pub fn reorganise(&mut self, did: &str, displaced: usize) -> Option<u64> {
        let before = self.history(did).len().checked_sub(displaced + 1)?;
        self.change(did, before, false)
    }

    /// Removes a DID: a row for each of its events. Answers their positions, none where it is not
    /// there.
    pub fn remove(&mut self, did: &str) -> Vec<u64> {
        let hashes = self
            .history(did)
            .iter()
            .filter_map(|event| Some(event.hash()?.to_ascii_lowercase()))
            .collect::<Vec<_>>();
        let remove = |hash| {
            let did = did.to_owned();
            self.push(Change::Removed { did, hash })
        };
        hashes.into_iter().map(remove).collect()
    }

    /// Accepts the first `count` operations again that the removed DID had when it was removed.
    /// Answers their positions.
    pub fn add_again(&mut self, did: &str, count: usize) -> Vec<u64> {
        if !self.history(did).is_empty() {
            return Vec::new();
        }
        let events = self.before_removal(did);
        let accept = |event| {
            let did = did.to_owned();
            self.push(Change::Accepted { did, event })
        };
        events.into_iter().take(count).map(accept).collect()
    }

    /// A row without an operation about a DID.
    pub fn confirm(&mut self, did: &str) -> u64 {
        let did = did.to_owned();
        let events = Vec::new();
        self.push(Change::Confirmed { did, events })
    }

    /// A row with a block of a registry.
    pub fn block(&mut self) -> u64 {
        self.made += 1;
        let height = self.made;
        let json = format!(
            r#"{{"registry":"TBTC","block":{{"hash":"{height:064x}","height":{height},"time":{}}},"removed":false}}"#,
            BEGINNING / 1000 + height
        );
        self.push(Change::Block { json })
    }

    /// The events a removed DID had.
    fn before_removal(&self, did: &str) -> Vec<Event> {
        let mut history = History::default();
        let mut events = Vec::new();
        let subject = self.subjects.get(&super::suffix(did));
        let rows = subject.iter().flat_map(|subject| &subject.rows);
        for row in rows.filter_map(|place| self.rows.get(*place)) {
            history.apply(did, &row.change);
            if !history.is_removed() {
                events = history.events().to_vec();
            }
        }
        events
    }

    /// An update or delete after the event at `before`.
    fn change(&mut self, did: &str, before: usize, deletes: bool) -> Option<u64> {
        let key = self.signers.get(did)?.clone();
        let previd = self.history(did).get(before)?.cid()?.to_owned();
        let create = self.history(did).first()?.operation();
        let record = sync_mdip::Record::parse(create.as_bytes()).ok()?;
        let controller = record.controller();
        let by = controller.unwrap_or(did).to_owned();
        let data = format!(r#"{{"made":{}}}"#, self.made);
        let content = match controller {
            _ if deletes => delete(did, &previd),
            Some(controller) => asset_update(did, &previd, controller, &data),
            None => agent_update(did, &previd, &key.jwk(), &data),
        };
        let time = self.now();
        let signed = sign(&key, &content, &time, Some(&by));
        Some(self.accept(did.to_owned(), &time, signed, Some(previd)))
    }

    fn accept_create(&mut self, key: &Signer, content: &str, by: Option<&str>) -> String {
        let time = self.now();
        let signed = sign(key, content, &time, by);
        let did = format!("{DID}{}", signed.cid());
        self.accept(did.clone(), &time, signed, None);
        did
    }

    fn accept(&mut self, did: String, time: &str, signed: Signed, previd: Option<String>) -> u64 {
        self.made += 1;
        let origin = Origin {
            registry: "local",
            time,
            ordinal: "[0]",
            did: &did,
            opid: None,
        };
        let known = Known {
            hash: hex::encode(signed.hash),
            cid: signed.cid(),
            previd,
        };
        let event = Event::known(&origin, &signed.json, known);
        self.push(Change::Accepted { did, event })
    }

    fn next_signer(&self) -> Signer {
        Signer::derive(SEED, self.made)
    }

    /// A second passes with each thing made.
    fn now(&self) -> String {
        date(BEGINNING + self.made * 1000)
    }
}

#[expect(
    clippy::expect_used,
    reason = "the operation is made here, and small: a failure is a mistake in this module"
)]
fn sign(key: &Signer, content: &str, time: &str, by: Option<&str>) -> Signed {
    key.sign(content, time, by).expect("a valid operation")
}
