//! Where the files of load requests lie: a temporary folder for each load. Those that are left go at the end, whatever
//! still holds them, because a process that exits drops nothing.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use nereid_core::{Error, Result};
use parking_lot::{Mutex, RwLock};
use tempfile::TempDir;

use crate::disk::os_text;

/// How long the end waits for files that are being written.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Read-locked while a folder is made and filled.
    closed: RwLock<bool>,
    folders: Mutex<Vec<Weak<TempDir>>>,
}

impl Scratch {
    /// A new folder, filled by `fill`. It is deleted when dropped, and in [`Self::close`].
    ///
    /// # Errors
    /// Internal if it cannot be made, Unavailable after [`Self::close`], and those of `fill`.
    pub(crate) fn folder(&self, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Arc<TempDir>> {
        let closed = self.closed.read();
        if *closed {
            return Err(Error::unavailable("Server not ready"));
        }
        // Only for this user, so that nobody else can put links into it.
        let private = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("nereid-").permissions(private).tempdir();
        let folder = Arc::new(folder.map_err(|e| {
            Error::internal(format!("failed to create a temporary directory: {}", os_text(&e)))
        })?);
        let mut folders = self.folders.lock();
        folders.retain(|folder| folder.strong_count() > 0);
        folders.push(Arc::downgrade(&folder));
        drop(folders);
        fill(folder.path())?;
        Ok(folder)
    }

    /// Deletes every folder; there will be no more.
    pub(crate) fn close(&self) {
        match self.closed.try_write_for(PATIENCE) {
            Some(mut closed) => *closed = true,
            None => tracing::warn!("files of a load request may be left in the folder for temporary files"),
        }
        for folder in self.folders.lock().drain(..).filter_map(|folder| folder.upgrade()) {
            if let Err(e) = fs::remove_dir_all(folder.path()) {
                tracing::warn!("failed to delete '{}': {e}", folder.path().display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nereid_core::ErrorCode::{Internal, Unavailable};

    use super::*;

    #[test]
    fn everything_goes_at_the_end() {
        let scratch = Scratch::default();
        let fill = |folder: &Path| {
            fs::write(folder.join("file"), "x").unwrap();
            Ok(())
        };
        let (kept, dropped) = (scratch.folder(fill).unwrap(), scratch.folder(fill).unwrap());
        let gone = dropped.path().to_owned();
        drop(dropped);
        assert!(!gone.exists() && kept.path().join("file").exists());
        assert_eq!(scratch.folder(|_| Err(Error::internal("no"))).unwrap_err().code(), Internal);
        assert_eq!(scratch.folders.lock().iter().filter(|folder| folder.strong_count() > 0).count(), 1);
        scratch.close();
        assert!(!kept.path().exists());
        assert_eq!(scratch.folder(fill).unwrap_err().code(), Unavailable);
    }
}
