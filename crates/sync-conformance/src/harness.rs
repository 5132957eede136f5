use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sync_core::{
    Backend, Error, ErrorKind, Migrated, Page, Result, Seq, SpaceName, StateKey, SyncStore,
};

/// How the suite reaches a backend. What a third party writes.
///
/// Only [`powers`](Self::powers) and [`fresh`](Self::fresh) are needed. Everything else is a power
/// that a harness may offer and then declares; cases that need an undeclared one assert that it is
/// really absent and end as [`Unsupported`](crate::Outcome::Unsupported).
pub trait Harness: Default + Send + Sync + 'static {
    /// The backend under test.
    type Backend: Backend;
    /// One isolated database of it.
    type Database: Database<Backend = Self::Backend>;

    /// The name of the column in the table, and of its file. Another one than the backend's where
    /// one backend is judged in several configurations.
    fn name(&self) -> &str {
        Self::Backend::NAME
    }

    /// The powers this harness offers.
    fn powers(&self) -> &[Power];

    /// A new, empty, migrated database that nobody else uses. Its resources go with the value.
    fn fresh(&self) -> Result<Self::Database>;

    /// How long a case of [`suite!`](crate::suite) may take before it has failed.
    ///
    /// Ten minutes: the slowest case takes two on a machine that does eight other things. A case
    /// that takes more than one says which call it is in.
    fn time_limit(&self) -> Duration {
        Duration::from_mins(10)
    }

    /// Runs a future to its end. Called by many threads at once.
    ///
    /// A backend that needs a runtime runs it there.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        pollster::block_on(future)
    }

    /// [`Power::Processes`]: the database another process knows by this
    /// [locator](Database::locator). Dropping the value leaves the database alone.
    fn attach(&self, _locator: &str) -> Result<Self::Database> {
        Err(absent(Power::Processes))
    }

    /// [`Power::Unmigrated`]: a database that exists and has no schema.
    fn empty(&self) -> Result<Self::Database> {
        Err(absent(Power::Unmigrated))
    }

    /// [`Power::Newer`]: a database whose schema is newer than the backend supports.
    fn newer(&self) -> Result<Self::Database> {
        Err(absent(Power::Newer))
    }
}

/// One isolated database under test.
pub trait Database: Send + Sync {
    /// The backend.
    type Backend: Backend;

    /// A new handle with connections of its own, as another process would have one.
    ///
    /// With every other handle dropped this is a restart.
    fn connect(&self) -> impl Future<Output = Result<Self::Backend>> + Send;

    /// Calls [`Backend::migrate`] on the database.
    fn migrate(&self) -> impl Future<Output = Result<Migrated>> + Send;

    /// [`Power::Processes`]: by what another process finds the database.
    fn locator(&self) -> Option<String> {
        None
    }

    /// [`Power::SetHead`]: makes `head` the newest seq of an existing space, as if that many had
    /// been minted. Called with every handle dropped.
    fn set_head(&self, _space: &SpaceName, _head: Seq) -> Result<()> {
        Err(absent(Power::SetHead))
    }

    /// [`Power::Copies`]: keeps a copy of the data aside, replacing an earlier one. Called with
    /// every handle dropped.
    fn copy_aside(&self) -> Result<()> {
        Err(absent(Power::Copies))
    }

    /// [`Power::Copies`]: puts the copy back in place of the data. Called with every handle
    /// dropped.
    fn put_back(&self) -> Result<()> {
        Err(absent(Power::Copies))
    }

    /// [`Power::Boundaries`]: like [`connect`](Self::connect), with a hook that is called inside
    /// every `apply` of the handle, on whatever thread, at each of its boundaries in turn: before
    /// every statement or command it sends to its database, before it commits (`"commit"`), and
    /// after the commit and before the answer (`"committed"`).
    ///
    /// An error from the hook is the failure of the connection at that point: `apply` ends as it
    /// would there.
    fn connect_with_boundaries(
        &self,
        _hook: BoundaryHook,
    ) -> impl Future<Output = Result<Self::Backend>> + Send {
        async { Err(absent(Power::Boundaries)) }
    }

    /// [`Power::Work`]: like [`connect`](Self::connect), with a meter that says what the handle's
    /// statements cost.
    fn connect_counting(&self) -> impl Future<Output = Result<(Self::Backend, WorkMeter)>> + Send {
        async { Err(absent(Power::Work)) }
    }

    /// [`Power::UnrelatedTransaction`]: opens a transaction in the same database that has nothing
    /// to do with any space and stays open as long as the value lives.
    fn hold_unrelated_transaction(&self) -> Result<Box<dyn Send>> {
        Err(absent(Power::UnrelatedTransaction))
    }
}

/// Called at each boundary of an `apply`, with its name.
pub type BoundaryHook = Arc<dyn Fn(&'static str) -> Result<()> + Send + Sync>;

/// What the statements of a handle have cost since the meter was last asked.
pub type WorkMeter = Arc<dyn Fn() -> Vec<Work> + Send + Sync>;

/// The last boundary before the commit.
pub const COMMIT: &str = "commit";
/// The boundary between the commit and the answer.
pub const COMMITTED: &str = "committed";

/// What one statement cost, over all its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The statement; the same text for the same statement.
    pub statement: String,
    /// Rows it visited and wrote, or whatever the database counts that grows with them: steps of
    /// its virtual machine, documents examined. Only ever compared with the same statement's.
    pub rows: u64,
}

/// Something only a harness can do for the suite, because a store has no method for it.
///
/// Exhaustive on purpose: a new power is something every harness has to take a stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Power {
    /// Other processes can open the database: [`Database::locator`], [`Harness::attach`].
    Processes,
    /// [`Database::set_head`].
    SetHead,
    /// [`Database::copy_aside`] and [`Database::put_back`].
    Copies,
    /// [`Database::connect_with_boundaries`].
    Boundaries,
    /// [`Database::connect_counting`].
    Work,
    /// [`Database::hold_unrelated_transaction`].
    UnrelatedTransaction,
    /// [`Harness::empty`].
    Unmigrated,
    /// [`Harness::newer`].
    Newer,
}

impl Power {
    /// Every power.
    pub const ALL: [Self; 8] = [
        Self::Processes,
        Self::SetHead,
        Self::Copies,
        Self::Boundaries,
        Self::Work,
        Self::UnrelatedTransaction,
        Self::Unmigrated,
        Self::Newer,
    ];

    /// The power's name in tables and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::SetHead => "set-head",
            Self::Copies => "copies",
            Self::Boundaries => "boundaries",
            Self::Work => "work",
            Self::UnrelatedTransaction => "unrelated-transaction",
            Self::Unmigrated => "unmigrated",
            Self::Newer => "newer",
        }
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn absent(power: Power) -> Error {
    Error::new(ErrorKind::Unsupported).with_message(format!("the harness has no power {power}"))
}

/// Whether the harness really offers `power`: tried, not asked.
pub(crate) fn offers<H: Harness>(harness: &H, power: Power) -> Result<bool> {
    let tried = match power {
        Power::Processes => {
            let database = harness.fresh()?;
            match database.locator() {
                Some(locator) => harness.attach(&locator).map(drop),
                // Whoever has no locator must refuse any.
                None => harness.attach("").map(drop),
            }
        }
        Power::SetHead => {
            let database = harness.fresh()?;
            let space = SpaceName::new("probe")?;
            let _ = harness.block_on(async {
                let store = database.connect().await?.open(&space).await?;
                store
                    .apply(Page::new().set(StateKey::new("probe")?, "1"))
                    .await
            })?;
            database.set_head(&space, Seq::MAX)
        }
        Power::Copies => {
            let database = harness.fresh()?;
            database.copy_aside().and_then(|()| database.put_back())
        }
        Power::Boundaries => {
            let database = harness.fresh()?;
            let hook: BoundaryHook = Arc::new(|_| Ok(()));
            harness.block_on(async { database.connect_with_boundaries(hook).await.map(drop) })
        }
        Power::Work => {
            let database = harness.fresh()?;
            harness.block_on(async { database.connect_counting().await.map(drop) })
        }
        Power::UnrelatedTransaction => {
            let database = harness.fresh()?;
            database.hold_unrelated_transaction().map(drop)
        }
        Power::Unmigrated => harness.empty().map(drop),
        Power::Newer => harness.newer().map(drop),
    };
    match tried {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported) => Ok(false),
        Err(error) => Err(error),
    }
}
