//! How the suite reaches the store, sound or broken.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use sync_conformance::{BoundaryHook, Database, Harness, Power, WorkMeter};
use sync_core::{Backend, Migrated, Result, Seq, SpaceName};

use crate::backend::Control;
use crate::disk::{Content, Disk, SCHEMA, lock};
use crate::fault::Fault;

/// Databases with this one thing wrong, or nothing.
#[derive(Default)]
pub(crate) struct ControlHarness {
    pub(crate) fault: Option<Fault>,
}

pub(crate) struct ControlDatabase {
    disk: Arc<Disk>,
    aside: Mutex<Content>,
}

impl ControlHarness {
    fn database(&self, schema: u32) -> ControlDatabase {
        ControlDatabase {
            disk: Disk::new(self.fault, schema),
            aside: Mutex::default(),
        }
    }
}

impl Harness for ControlHarness {
    type Backend = Control;
    type Database = ControlDatabase;

    fn powers(&self) -> &[Power] {
        const POWERS: &[Power] = &[
            Power::SetHead,
            Power::Copies,
            Power::Boundaries,
            Power::Work,
            Power::UnrelatedTransaction,
            Power::Unmigrated,
            Power::Newer,
        ];
        match self.fault {
            Some(Fault::PowerIsNotDeclared) => &POWERS[1..],
            _ => POWERS,
        }
    }

    fn fresh(&self) -> Result<ControlDatabase> {
        Ok(self.database(SCHEMA))
    }

    fn empty(&self) -> Result<ControlDatabase> {
        Ok(self.database(0))
    }

    fn newer(&self) -> Result<ControlDatabase> {
        Ok(self.database(SCHEMA + 1))
    }
}

impl Database for ControlDatabase {
    type Backend = Control;

    async fn connect(&self) -> Result<Control> {
        Control::connect(Arc::clone(&self.disk)).await
    }

    async fn migrate(&self) -> Result<Migrated> {
        Control::migrate(&self.disk).await
    }

    fn set_head(&self, space: &SpaceName, head: Seq) -> Result<()> {
        if let Some(model) = self.disk.content().spaces.get_mut(space) {
            model.set_head(head);
        }
        Ok(())
    }

    fn copy_aside(&self) -> Result<()> {
        lock(&self.aside).clone_from(&self.disk.content());
        Ok(())
    }

    fn put_back(&self) -> Result<()> {
        self.disk.content().clone_from(&lock(&self.aside));
        Ok(())
    }

    async fn connect_with_boundaries(&self, hook: BoundaryHook) -> Result<Control> {
        Ok(self.connect().await?.hooked(hook))
    }

    async fn connect_counting(&self) -> Result<(Control, WorkMeter)> {
        Ok(self.connect().await?.counting())
    }

    fn hold_unrelated_transaction(&self) -> Result<Box<dyn Send>> {
        self.disk.stranger_begins();
        Ok(Box::new(Stranger(Arc::clone(&self.disk))))
    }
}

/// A transaction that has nothing to do with any space, and ends with the value.
struct Stranger(Arc<Disk>);

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.strangers.fetch_sub(1, Ordering::SeqCst);
    }
}
