//! The connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_listener::Event;
use sync_conformance::{BoundaryHook, Work, WorkMeter};
use sync_core::{
    Backend, Capabilities, Description, Durability, Epoch, Migrated, Page, Result, SpaceName, Swept,
};

use crate::disk::{Disk, lock};
use crate::fault::Fault;
use crate::store::ControlStore;

/// One handle on a database.
pub(crate) struct Control(Arc<Handle>);

/// What the stores of one handle share.
pub(crate) struct Handle {
    pub(crate) disk: Arc<Disk>,
    pub(crate) hook: Option<BoundaryHook>,
    work: Option<Arc<Mutex<Vec<Work>>>>,
    /// Commits through this handle alone.
    pub(crate) own: Event,
    pub(crate) dead: AtomicBool,
}

impl Handle {
    /// A boundary of an `apply`.
    pub(crate) fn at(&self, boundary: &'static str) -> Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(boundary))
    }

    pub(crate) fn work(&self, statement: &str, rows: u64) {
        if let Some(work) = &self.work {
            lock(work).push(Work {
                statement: statement.to_owned(),
                rows,
            });
        }
    }

    fn open_connections(disk: Arc<Disk>) -> Result<Self> {
        disk.check_schema()?;
        if disk.handles.fetch_add(1, Ordering::SeqCst) == 0 {
            restart(&disk)?;
        }
        Ok(Self {
            disk,
            hook: None,
            work: None,
            own: Event::new(),
            dead: AtomicBool::new(false),
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.disk.handles.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the first handle after a restart does to the data: nothing.
fn restart(disk: &Disk) -> Result<()> {
    let mut content = disk.content();
    for model in content.spaces.values_mut() {
        match disk.fault {
            Some(Fault::TombstonesLostOnReopen) => model.forget_tombstones(),
            Some(Fault::LiftsLostOnReopen) => model.forget_lifts(),
            Some(Fault::EpochNewOnReopen) => model.set_epoch(Epoch::random()?),
            Some(Fault::EmptyValuesLostOnReopen) => {
                let empty = model.state().iter().filter(|(_, value)| value.is_empty());
                let page = empty.fold(Page::new(), |page, (key, _)| page.unset(key.clone()));
                let _ = model.apply(&page)?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl Control {
    pub(crate) fn hooked(mut self, hook: BoundaryHook) -> Self {
        if let Some(handle) = Arc::get_mut(&mut self.0) {
            handle.hook = Some(hook);
        }
        self
    }

    pub(crate) fn counting(mut self) -> (Self, WorkMeter) {
        let work: Arc<Mutex<Vec<Work>>> = Arc::default();
        if let Some(handle) = Arc::get_mut(&mut self.0) {
            handle.work = Some(Arc::clone(&work));
        }
        (self, Arc::new(move || std::mem::take(&mut lock(&work))))
    }
}

impl Backend for Control {
    type Config = Arc<Disk>;
    type Store = ControlStore;

    const NAME: &'static str = "control";

    async fn connect(disk: Arc<Disk>) -> Result<Self> {
        Ok(Self(Arc::new(Handle::open_connections(disk)?)))
    }

    async fn migrate(disk: &Arc<Disk>) -> Result<Migrated> {
        disk.migrate()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durability: Durability::Memory,
            multi_process: self.0.disk.has(Fault::ProcessesArePromised),
            notify_delay: Duration::from_millis(100),
        }
    }

    async fn describe(&self) -> Result<Description> {
        Ok(Description {
            server: "a broken store".to_owned(),
            ..Description::default()
        })
    }

    async fn open(&self, space: &SpaceName) -> Result<ControlStore> {
        let Handle { disk, .. } = &*self.0;
        let mut space = space.clone();
        match disk.fault {
            Some(Fault::SpacesAreOne) => space = SpaceName::new("space")?,
            Some(Fault::SpaceNamesAreCut) => space = SpaceName::new(&space.as_str()[..1])?,
            Some(Fault::OpeningCreates) => disk.write(&space, |model| {
                if model.stats().epoch.is_none() {
                    model.set_epoch(Epoch::random()?);
                }
                Ok(())
            })?,
            Some(Fault::OpeningCountsRows) => {
                let rows = disk.read(&space, |model| model.stats().total);
                self.0.work("count the rows", rows);
            }
            _ => {}
        }
        let (absent, base) = disk.read(&space, |model| {
            let stats = model.stats();
            (stats.epoch.is_none(), stats)
        });
        self.0.work("look the space up", 1);
        Ok(ControlStore::new(Arc::clone(&self.0), space, absent, base))
    }

    async fn spaces(&self, after: Option<&SpaceName>, limit: usize) -> Result<Vec<SpaceName>> {
        let content = self.0.disk.content();
        let names = content
            .spaces
            .keys()
            .filter(|name| after.is_none_or(|after| *name > after));
        Ok(names.take(limit).cloned().collect())
    }

    async fn drop_space(&self, space: &SpaceName) -> Result<bool> {
        let Handle { disk, .. } = &*self.0;
        if disk.has(Fault::DropKeepsTheEpoch) {
            return disk.write(space, |model| {
                let stats = model.stats();
                let _ = model.apply(&Page::new().reset())?;
                if let Some(epoch) = stats.epoch {
                    model.set_epoch(epoch);
                }
                Ok(stats.epoch.is_some())
            });
        }
        let mut content = disk.content();
        let removed = content.spaces.remove(space);
        if let Some(model) = &removed {
            let stats = model.stats();
            content.garbage += stats.total + stats.tombstones + model.state().len() as u64;
        }
        drop(content);
        disk.notify();
        self.0.work("drop the space", 1);
        Ok(removed.is_some())
    }

    async fn sweep(&self, rows: usize) -> Result<Swept> {
        let Handle { disk, .. } = &*self.0;
        let mut content = disk.content();
        let removed = content.garbage.min(rows as u64);
        content.garbage -= removed;
        if disk.has(Fault::SweepTakesLiveRows) && removed > 0 {
            for model in content.spaces.values_mut() {
                let (head, epoch) = (model.stats().head, model.stats().epoch);
                let _ = model.apply(&Page::new().reset())?;
                model.set_head(head);
                if let Some(epoch) = epoch {
                    model.set_epoch(epoch);
                }
            }
        }
        Ok(Swept {
            removed,
            more: content.garbage > 0,
        })
    }
}
