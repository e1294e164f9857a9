//! The releases of the world.

use std::sync::Arc;

use graylane::engine::seams::{Object, SeamError, Store};
use graylane::engine::status::Status;

use super::World;

impl Store for World {
    fn releases(&self) -> Vec<Arc<Object>> {
        self.lock().objects.values().cloned().map(Arc::new).collect()
    }

    async fn save(&self, object: &Object, status: &Status) -> Result<Object, SeamError> {
        let dies = self.operate(&object.id).await?;
        let saved = self.fenced(object, |kept| kept.status = status.clone());
        self.end(dies).await;
        saved
    }

    async fn hold(&self, object: &Object) -> Result<Object, SeamError> {
        let dies = self.operate(&object.id).await?;
        let held = self.fenced(object, |kept| kept.held = true);
        self.end(dies).await;
        held
    }

    async fn let_go(&self, object: &Object) -> Result<(), SeamError> {
        let dies = self.operate(&object.id).await?;
        self.lock().objects.remove(&object.id);
        self.end(dies).await;
        Ok(())
    }
}

impl World {
    fn fenced(&self, object: &Object, change: impl FnOnce(&mut Object)) -> Result<Object, SeamError> {
        let mut inner = self.lock();
        inner.fence += 1;
        inner.writes += 1;
        let fence = inner.fence.to_string();
        let what = object.id.clone();
        let Some(kept) = inner.objects.get_mut(&object.id) else { return Err(SeamError::Gone { what }) };
        if kept.fence != object.fence {
            return Err(SeamError::Conflict { what });
        }
        change(kept);
        kept.fence = fence;
        Ok(kept.clone())
    }
}
