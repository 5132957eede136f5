//! Which operations a space takes from its source.

use std::collections::HashMap;

use sync_core::{Limit, Object, Operation, SyncOrder, SyncStore};

use super::Hydrator;
use crate::{Result, Source, SourceOperation, Visibility};

impl<St: SyncStore, So: Source> Hydrator<St, So> {
    /// Those of `operations` that the space takes. An operation whose visibility is that of its object is
    /// taken if the space holds an operation on the object, or takes an earlier one from the same page.
    /// With `reset` the space holds nothing by then.
    ///
    /// Operations above `cursor` that are left out are counted; those below it were counted before.
    pub(super) async fn admit(
        &mut self,
        operations: Vec<SourceOperation>,
        cursor: Option<SyncOrder>,
        reset: bool,
    ) -> Result<Vec<Operation>> {
        let mut held: HashMap<Object, bool> = HashMap::new();
        let mut admitted = Vec::with_capacity(operations.len());
        for SourceOperation {
            operation,
            visibility,
        } in operations
        {
            let object = operation.object.clone();
            let seq = operation.sync_order;
            let counts = u64::from(seq.is_none() || seq > cursor);
            let is_held = match (visibility, &object) {
                _ if self.config.include_private => true,
                (Visibility::Public, _) => true,
                (Visibility::Private, _) => {
                    self.progress.private += counts;
                    continue;
                }
                (Visibility::AsItsObject, None) => false,
                (Visibility::AsItsObject, Some(object)) => match held.get(object) {
                    Some(known) => *known,
                    None => !reset && self.holds_some_of(object).await?,
                },
            };
            if is_held {
                admitted.push(operation);
            } else {
                self.progress.unshown += counts;
            }
            if let Some(object) = object {
                held.insert(object, is_held);
            }
        }
        Ok(admitted)
    }

    async fn holds_some_of(&self, object: &Object) -> Result<bool> {
        let rows = self.store.scan_object(object, None, Limit::rows(1)).await?;
        Ok(!rows.items.is_empty())
    }
}
