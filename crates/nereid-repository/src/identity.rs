//! Who a model is: its name and, with `--model-namespacing`, the repository that it is from; and what the models of one
//! name have in common (`ModelIdentifier` and the global map of Triton's model_repository_manager.cc).

use std::fmt;
use std::sync::Arc;

use nereid_core::{Error, Result};
use smallvec::SmallVec;

use crate::states::ModelEntry;

/// A model among all models of a server. Sorted by namespace first, as in Triton.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId {
    /// Path of the repository as the user wrote it. Empty without namespacing, and for a model whose files came with
    /// the request to load it.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// The models of one name, one for each namespace. Nearly always there is one, and it takes no further hop to get to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namesakes(SmallVec<[Namesake; 1]>);

/// A model of a name that is known.
#[derive(Debug, Clone)]
pub(crate) struct Namesake {
    pub(crate) namespace: Arc<str>,
    pub(crate) entry: Arc<ModelEntry>,
}

impl ModelId {
    /// The model that goes by its name alone.
    pub(crate) fn bare(name: &str) -> Self {
        Self { namespace: "".into(), name: name.into() }
    }
}

impl fmt::Display for ModelId {
    /// `name`, or `namespace::name` (`ModelIdentifier::str`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "{}::{}", self.namespace, self.name)
    }
}

impl Namesakes {
    /// Every one of them, those included that were unloaded.
    pub(crate) fn all(&self) -> &[Namesake] {
        &self.0
    }

    /// The one in `namespace`.
    pub(crate) fn get(&self, namespace: &str) -> Option<&Namesake> {
        self.0.iter().find(|namesake| *namesake.namespace == *namespace)
    }

    /// The one in `namespace`, to be changed.
    pub(crate) fn get_mut(&mut self, namespace: &str) -> Option<&mut ModelEntry> {
        let found = self.0.iter_mut().find(|namesake| *namesake.namespace == *namespace)?;
        Some(Arc::make_mut(&mut found.entry))
    }

    /// The one in `namespace`, made if there is none.
    pub(crate) fn get_or_add(&mut self, namespace: &Arc<str>) -> &mut ModelEntry {
        let known = self.0.iter().position(|namesake| namesake.namespace == *namespace);
        let index = known.unwrap_or_else(|| {
            self.0.push(Namesake { namespace: namespace.clone(), entry: Arc::default() });
            self.0.len() - 1
        });
        Arc::make_mut(&mut self.0[index].entry)
    }

    /// Forgets the one in `namespace`.
    pub(crate) fn remove(&mut self, namespace: &str) {
        self.0.retain(|namesake| *namesake.namespace != *namespace);
    }

    /// The one that `name`, which they share, stands for under namespacing.
    ///
    /// # Errors
    /// With the texts of `ModelRepositoryManager::FindModelIdentifier`: NotFound if all were unloaded, InvalidArg if
    /// there are several.
    pub(crate) fn only(&self, name: &str) -> Result<&Namesake> {
        let mut present = self.0.iter().filter(|namesake| !namesake.entry.retired);
        match (present.next(), present.count()) {
            (Some(one), 0) => Ok(one),
            (None, _) => {
                Err(Error::not_found(format!("Identifier of model '{name}' is not found in global map")))
            }
            (Some(_), others) => Err(Error::invalid_arg(format!(
                "There are {} identifiers of model '{name}' in global map, model namespace must be provided to \
                 resolve ambiguity.",
                others + 1
            ))),
        }
    }
}

impl Namesake {
    /// What it is called, given the name that it shares with others.
    pub(crate) fn id(&self, name: &str) -> ModelId {
        ModelId { namespace: self.namespace.clone(), name: name.into() }
    }
}
