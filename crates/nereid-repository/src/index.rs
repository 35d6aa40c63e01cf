//! The repository index: what is on disk, with the state of what was loaded
//! (`ModelRepositoryManager::RepositoryIndex`).

use std::sync::Arc;

use nereid_core::Result;

use crate::repository::Repository;
use crate::{State, disk, table};

/// Why neither of two models of one name is served.
const DUPLICATE: &str = "model appears in two or more repositories";

/// One line of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    pub name: Arc<str>,
    /// `None` for a model that was never loaded, and for a name in two repositories without namespacing.
    pub version: Option<u64>,
    /// `None` for a model that was never loaded.
    pub state: Option<State>,
    /// Empty if there is nothing to say.
    pub reason: String,
}

impl Repository {
    /// Lists the models of all repositories by namespace and name, and every version that was ever loaded or tried.
    /// Reads the folders, so it may block. With `ready_only`, versions that are not ready and models that
    /// were never loaded are left out; a duplicate name stays, as in Triton.
    ///
    /// # Errors
    /// A repository cannot be read any more.
    pub fn index(&self, ready_only: bool) -> Result<Vec<IndexEntry>> {
        let found = disk::scan(&self.roots)?;
        let models = self.table.models();
        let mut index = Vec::new();
        for (model, count) in found {
            let entry =
                |version, state, reason| IndexEntry { name: model.name.clone(), version, state, reason };
            if count > 1 {
                index.push(entry(None, Some(State::Unavailable), DUPLICATE.to_owned()));
                continue;
            }
            let Some(known) = table::entry(&models, &model) else {
                if !ready_only {
                    index.push(entry(None, None, String::new()));
                }
                continue;
            };
            let shown = known.versions.iter().filter(|(_, slot)| !ready_only || slot.state == State::Ready);
            index.extend(
                shown.map(|(version, slot)| entry(Some(*version), Some(slot.state), slot.reason.clone())),
            );
        }
        Ok(index)
    }
}
