//! Which operations are private to their Gatekeeper.

use std::collections::HashMap;

use sync_core::Object;

use crate::{Kind, Record};

/// The registry whose DIDs stay with their Gatekeeper.
const LOCAL: &str = "local";

/// Who may receive the operations of a DID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Its Gatekeeper alone: `mdip.registry` of its create is `local`.
    Local,
    /// Everyone.
    Public,
}

/// The scope of the DID that `record` creates; `None` where it is not a create.
///
/// Only the create's own `mdip.registry` counts. The registry of the *event* that carries an
/// operation says where that copy was seen, and is `local` for all operations that a Gatekeeper
/// accepted from its own clients.
pub fn scope(record: &Record) -> Option<Scope> {
    (record.kind() == Kind::Create).then(|| Scope::of_registry(record.registry()))
}

impl Scope {
    /// The scope of a DID by the `mdip.registry` of its create.
    pub(crate) fn of_registry(registry: Option<&str>) -> Self {
        if registry == Some(LOCAL) {
            Self::Local
        } else {
            Self::Public
        }
    }
}

/// What happens to an operation that a source exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admission {
    /// It is stored.
    Store,
    /// It is left out: its DID is private to the Gatekeeper.
    Local,
    /// It is left out: nothing shows that its DID is public.
    Unknown,
}

/// The creates that one page shows, among its operations and in the histories it carries.
///
/// ```
/// use sync_mdip::{Record, local::{Admission, Creates}};
///
/// # let raw = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/create.json"));
/// let create = Record::parse(raw)?;
/// let mut creates = Creates::default();
/// creates.note(&create);
/// assert_eq!(creates.admit(&create, false), Admission::Store);
/// # Ok::<(), sync_mdip::Invalid>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Creates(HashMap<Object, Scope>);

impl Creates {
    /// Notes what `record` shows of its DID; nothing, where it is not a create.
    pub fn note(&mut self, record: &Record) {
        if let Some(scope) = scope(record) {
            self.0.insert(record.object().clone(), scope);
        }
    }

    /// The scope of a DID whose create was noted.
    pub fn scope(&self, object: &Object) -> Option<Scope> {
        self.0.get(object).copied()
    }

    /// Decides about `record`, once the creates of its page are noted. `create_stored` says
    /// whether the store holds the create of its DID.
    ///
    /// A create is judged by itself. An update or delete follows its create, and without one it is
    /// left out: it may belong to a DID that is private.
    pub fn admit(&self, record: &Record, create_stored: bool) -> Admission {
        match scope(record).or_else(|| self.scope(record.object())) {
            Some(Scope::Public) => Admission::Store,
            Some(Scope::Local) => Admission::Local,
            None if create_stored => Admission::Store,
            None => Admission::Unknown,
        }
    }
}
