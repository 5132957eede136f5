//! What the rows of a DID come to.

use crate::{Change, Event};

/// A DID with its rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Subject {
    /// The places of its rows in the log, hidden ones included.
    pub(super) rows: Vec<usize>,
    pub(super) history: History,
}

/// The events of a DID; none, where it is removed or was never there.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    did: String,
    events: Vec<Event>,
}

impl Subject {
    pub(super) fn push(&mut self, place: usize, did: &str, change: &Change) {
        self.rows.push(place);
        self.history.apply(did, change);
    }
}

impl History {
    pub(super) fn new(did: String, events: Vec<Event>) -> Self {
        Self { did, events }
    }

    pub(super) fn did(&self) -> &str {
        &self.did
    }

    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(super) fn events_mut(&mut self) -> &mut [Event] {
        &mut self.events
    }

    pub(super) fn is_removed(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn apply(&mut self, did: &str, change: &Change) {
        if self.did.is_empty() {
            did.clone_into(&mut self.did);
        }
        match change {
            Change::Accepted { event, .. } => {
                if let Some(previd) = event.previd()
                    && let Some(place) = self.place(previd)
                {
                    // Where there are events after it, a reorganisation displaced them, and the
                    // Gatekeeper wrote the others anew, with their content ids.
                    if place + 1 < self.events.len() {
                        self.events.truncate(place + 1);
                        for event in &mut self.events {
                            *event = event.named();
                        }
                    }
                }
                match event.cid().and_then(|cid| self.place(cid)) {
                    Some(_) => self.replace(event),
                    None => self.events.push(event.clone()),
                }
            }
            // A Gatekeeper removes the whole DID in one step. A row that names another DID's
            // operation removes nothing.
            Change::Removed { hash, .. } => {
                let names = |event: &Event| {
                    event
                        .hash()
                        .is_some_and(|own| own.eq_ignore_ascii_case(hash))
                };
                if self.events.iter().any(names) {
                    self.events.clear();
                }
            }
            Change::Confirmed { events, .. } => {
                for event in events {
                    self.replace(event);
                }
            }
            Change::Block { .. } | Change::Unseen | Change::Raw { .. } => {}
        }
    }

    fn place(&self, cid: &str) -> Option<usize> {
        self.events
            .iter()
            .position(|event| event.cid() == Some(cid))
    }

    fn replace(&mut self, event: &Event) {
        let same = |own: &&mut Event| own.cid().is_some() && own.cid() == event.cid();
        if let Some(own) = self.events.iter_mut().find(same) {
            *own = event.clone();
        }
    }
}
