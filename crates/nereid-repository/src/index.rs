//! The repository index: what is on disk, with the state of what was loaded
//! (`ModelRepositoryManager::RepositoryIndex`).

use nereid_core::Result;

use crate::repository::Repository;
use crate::{State, disk};

/// Why neither of two models of one name is served.
const DUPLICATE: &str = "model appears in two or more repositories";

/// One line of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    pub name: String,
    /// `None` for a model that was never loaded, and for a name in two repositories.
    pub version: Option<u64>,
    /// `None` for a model that was never loaded.
    pub state: Option<State>,
    /// Empty if there is nothing to say.
    pub reason: String,
}

impl Repository {
    /// Lists the models of all repositories by name, and every version that was ever loaded or tried.
    /// Reads the folders, so it may block. With `ready_only`, versions that are not ready and models that
    /// were never loaded are left out; a duplicate name stays, as in Triton.
    ///
    /// # Errors
    /// A repository cannot be read any more.
    pub fn index(&self, ready_only: bool) -> Result<Vec<IndexEntry>> {
        let mut index = Vec::new();
        for (name, count) in disk::scan(&self.roots)? {
            let entry = |version, state, reason| IndexEntry { name: name.clone(), version, state, reason };
            if count > 1 {
                index.push(entry(None, Some(State::Unavailable), DUPLICATE.to_owned()));
                continue;
            }
            if !self.table.models().contains_key(name.as_str()) {
                if !ready_only {
                    index.push(entry(None, None, String::new()));
                }
                continue;
            }
            let versions = self.version_states(&name).into_iter();
            let shown = versions.filter(|(_, state, _)| !ready_only || *state == State::Ready);
            index.extend(shown.map(|(version, state, reason)| entry(Some(version), Some(state), reason)));
        }
        Ok(index)
    }
}
