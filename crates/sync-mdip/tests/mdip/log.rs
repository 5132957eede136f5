//! Every operation of a whole log: hash, object, payload, and the signature by the key that the log
//! itself shows.

use std::collections::{HashMap, HashSet};

use sync_mdip::{Kind, PublicKey, Record, Verified, object, to_operation};

use crate::respell::respell;
use crate::{capture, generate, say};

/// One operation in a log, under the DID that the log names.
pub(crate) struct Entry {
    pub(crate) did: String,
    pub(crate) raw: String,
}

#[derive(Debug, Default, PartialEq)]
struct Count {
    operations: usize,
    /// Verified with the key in the operation.
    by_own_key: usize,
    /// Verified with the key of the version before, in the same DID.
    by_version: usize,
    /// Verified with a key of the controller.
    by_controller: usize,
}

/// What the log has shown so far. DIDs are named by their suffix.
#[derive(Default)]
struct Keys {
    /// The key that holds after an agent's operation, by its content id.
    versions: HashMap<String, PublicKey>,
    /// All keys an agent has had.
    agents: HashMap<String, Vec<PublicKey>>,
    controllers: HashMap<String, String>,
}

impl Keys {
    fn verify(&self, record: &Record, suffix: &str, count: &mut Count) {
        count.operations += 1;
        if record.verify().unwrap() == Verified::Signature {
            count.by_own_key += 1;
            return;
        }
        if let Some(controller) = self.controllers.get(suffix) {
            let keys = &self.agents[controller];
            assert!(keys.iter().any(|key| record.verify_with(key).is_ok()));
            count.by_controller += 1;
        } else {
            record
                .verify_with(&self.versions[record.previd().unwrap()])
                .unwrap();
            count.by_version += 1;
        }
    }

    /// Learns what holds after `record`; of an asset's create the controller, which signs it.
    fn learn(&mut self, record: &Record, suffix: &str) {
        if let Some(key) = record.public_key().unwrap() {
            self.versions.insert(record.cid(), key.clone());
            self.agents.entry(suffix.to_owned()).or_default().push(key);
        }
        if record.kind() == Kind::Create && record.subject() == Some("asset") {
            let controller = suffix_of(record.controller().unwrap());
            self.controllers.insert(suffix.to_owned(), controller);
        }
    }
}

fn suffix_of(did: &str) -> String {
    let object = object::of_did(did).unwrap();
    String::from_utf8(object.as_bytes().to_vec()).unwrap()
}

/// Follows a log from its beginning.
fn follow(log: &[Entry]) -> Count {
    let mut keys = Keys::default();
    let mut count = Count::default();
    for Entry { did, raw } in log {
        let record = Record::parse(raw.as_bytes()).unwrap();
        let suffix = suffix_of(did);
        assert_eq!(record.object().as_bytes(), suffix.as_bytes(), "{did}");
        if record.subject() == Some("asset") {
            keys.learn(&record, &suffix);
            keys.verify(&record, &suffix, &mut count);
        } else {
            keys.verify(&record, &suffix, &mut count);
            keys.learn(&record, &suffix);
        }
        check_spelling(raw, &record);
    }
    assert_eq!(
        count.operations,
        count.by_own_key + count.by_version + count.by_controller
    );
    count
}

fn check_spelling(raw: &str, record: &Record) {
    let again = to_operation(respell(raw).as_bytes(), None).unwrap();
    assert_eq!(again.payload, record.payload(), "{raw}");
    assert_eq!(again, record.clone().into_operation(None));
    let again = to_operation(record.payload(), None).unwrap();
    assert_eq!(again, record.clone().into_operation(None));
}

/// The whole change log of the capture, where there is one.
pub(crate) fn captured() -> Option<Vec<Entry>> {
    let files = capture::files()?;
    let exports = capture::exports(files.first()?);
    let changes = exports.iter().flat_map(|export| &export.operations);
    let entry = |change: &capture::Change<'_>| Entry {
        did: change.did.clone(),
        raw: change.event.operation.get().to_owned(),
    };
    Some(changes.map(entry).collect())
}

#[test]
fn every_operation_of_a_generated_log_verifies_by_the_keys_the_log_shows() {
    let count = follow(&generate::log(1, 2000));
    assert_eq!(count.operations, 2000);
    assert!(
        count.by_own_key > 0 && count.by_version > 0 && count.by_controller > 0,
        "{count:?}"
    );
}

#[test]
fn every_operation_of_the_captured_log_verifies_by_the_keys_the_log_shows() {
    let Some(log) = captured() else {
        let count = follow(&generate::log(2, 600));
        say(&format!(
            "no captured log here; a generated one instead: {count:?}"
        ));
        return;
    };
    let count = follow(&log);
    say(&format!("the captured log: {count:?}"));
    assert!(count.operations > 0, "an empty capture");
}

#[test]
fn every_event_a_capture_or_a_generated_log_holds_has_its_hash_its_object_and_its_content_id() {
    let mut seen = HashSet::new();
    let Some(files) = capture::files() else {
        for Entry { did, raw } in generate::log(3, 300) {
            let operation = to_operation(raw.as_bytes(), None).unwrap();
            assert_eq!(operation.object, Some(object::of_did(&did).unwrap()));
            seen.insert(operation.payload);
        }
        say(&format!(
            "no capture here; {} generated operations instead",
            seen.len()
        ));
        return;
    };
    let (mut events, mut with_opid) = (0, 0);
    for export in files.iter().flat_map(|file| capture::exports(file)) {
        let histories = export
            .dids
            .iter()
            .flat_map(|history| history.events.iter().map(|event| (&history.did, event)));
        let changes = export
            .operations
            .iter()
            .map(|change| (&change.did, &change.event));
        for (did, event) in histories.chain(changes) {
            let raw = event.operation.get().as_bytes();
            let operation = to_operation(raw, None).unwrap();
            assert_eq!(operation.object, Some(object::of_did(did).unwrap()));
            if let Some(opid) = &event.opid {
                assert_eq!(Record::parse(raw).unwrap().cid(), *opid);
                with_opid += 1;
            }
            events += 1;
            seen.insert(operation.payload);
        }
    }
    say(&format!(
        "the capture: {events} events, {with_opid} with a content id, {} operations",
        seen.len()
    ));
    assert!(with_opid > 0, "an empty capture");
}
