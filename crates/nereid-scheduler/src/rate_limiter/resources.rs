//! Which resources there are, how many copies of each, and how many are in use. Pure.
//!
//! There are as many copies as the instance needs that needs most, or as the server was told
//! (`RateLimiter::ResourceManager` in Triton's `rate_limiter.cc`).

use std::collections::BTreeMap;

use nereid_core::config::{InstanceSpec, ResourceSpec};
use nereid_core::{Error, Result};

/// Where copies of a resource are. The order is that in which Triton looks for mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Once for the whole server.
    Global,
    Device(i32),
}

/// A resource at its place.
pub(crate) type Key = (Place, String);

/// Copies that an instance holds while it runs.
pub(crate) type Needs = BTreeMap<Key, u64>;

/// How many copies of each resource the server was told that there are (`--rate-limit-resource`). Empty means that
/// instances decide; otherwise there are none of a resource that is not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceLimits(BTreeMap<Option<i32>, BTreeMap<String, u64>>);

impl ResourceLimits {
    /// There are `count` copies of `name` on `device`, or on every device. Of several counts for the same the least
    /// is in force.
    pub fn add(&mut self, name: &str, count: u64, device: Option<i32>) {
        let least = self.0.entry(device).or_default().entry(name.to_owned()).or_insert(count);
        *least = count.min(*least);
    }

    fn available(&self, (place, name): &Key) -> u64 {
        let lists: Vec<_> = match place {
            // Whatever device they were given for.
            Place::Global => self.0.values().collect(),
            Place::Device(device) => [Some(*device), None].iter().filter_map(|on| self.0.get(on)).collect(),
        };
        lists.iter().filter_map(|list| list.get(name)).copied().max().unwrap_or(0)
    }
}

/// What the instance of `spec` needs. Of a resource that is listed twice, the last entry counts.
pub(crate) fn needs(spec: &InstanceSpec) -> Needs {
    let place = |resource: &ResourceSpec| match resource.global {
        true => Place::Global,
        false => Place::Device(spec.kind.device()),
    };
    let resources = spec.rate_limiter.resources.iter();
    resources.map(|r| ((place(r), r.name.clone()), u64::from(r.count))).collect()
}

/// The resources of all registered instances.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    limits: ResourceLimits,
    copies: BTreeMap<Key, u64>,
    in_use: BTreeMap<Key, u64>,
}

impl Resources {
    pub(crate) fn new(limits: ResourceLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Makes sure that an instance with `needs` can run. On an error nothing has changed.
    ///
    /// # Errors
    /// `InvalidArg` with Triton's texts: there will never be enough copies, or a resource is both global and of
    /// devices.
    pub(crate) fn add(&mut self, needs: &Needs) -> Result<()> {
        let mut copies = Vec::with_capacity(needs.len());
        for (key, needed) in needs {
            let copy = if self.limits.0.is_empty() { *needed } else { self.limits.available(key) };
            if copy < *needed {
                return Err(Error::invalid_arg(format!(
                    "Resource count for \"{}\" is limited to {copy} which will prevent scheduling of one or more model \
                     instances, the minimum required count is {needed}",
                    key.1
                )));
            }
            copies.push((key, copy));
        }
        for (place, name) in needs.keys() {
            let is_global = *place == Place::Global;
            let mut known = self.copies.keys().chain(needs.keys());
            if known.any(|(other, known)| known == name && (*other == Place::Global) != is_global) {
                return Err(Error::invalid_arg(format!(
                    "Resource \"{name}\" is present as both global and device-specific resource in the model \
                     configuration."
                )));
            }
        }
        for (key, copy) in copies {
            let most = self.copies.entry(key.clone()).or_insert(copy);
            *most = copy.max(*most);
        }
        Ok(())
    }

    /// Counts the copies anew: those that instances with `needs` ask for, which were all added, and no others.
    pub(crate) fn recount<'a>(&mut self, needs: impl Iterator<Item = &'a Needs>) {
        self.copies.clear();
        for (key, needed) in needs.flatten() {
            let copy = if self.limits.0.is_empty() { *needed } else { self.limits.available(key) };
            let most = self.copies.entry(key.clone()).or_insert(copy);
            *most = copy.max(*most);
        }
    }

    /// Whether the copies of `needs` are free.
    pub(crate) fn are_free(&self, needs: &Needs) -> bool {
        needs.iter().all(|(key, needed)| {
            let in_use = self.in_use.get(key).copied().unwrap_or(0);
            let copies = self.copies.get(key).copied().unwrap_or(0);
            copies.checked_sub(in_use).is_some_and(|free| free >= *needed)
        })
    }

    /// Takes what was free a moment ago.
    pub(crate) fn take(&mut self, needs: &Needs) {
        for (key, needed) in needs {
            match self.in_use.get_mut(key) {
                Some(in_use) => *in_use += needed,
                None => drop(self.in_use.insert(key.clone(), *needed)),
            }
        }
    }

    /// Gives back what was taken.
    pub(crate) fn give_back(&mut self, needs: &Needs) {
        for (key, needed) in needs {
            if let Some(in_use) = self.in_use.get_mut(key) {
                *in_use = in_use.saturating_sub(*needed);
                if *in_use == 0 && !self.copies.contains_key(key) {
                    self.in_use.remove(key);
                }
            }
        }
    }

    /// Copies that there are of a resource, and those in use.
    #[cfg(test)]
    pub(crate) fn count(&self, key: &Key) -> (u64, u64) {
        let of = |counts: &BTreeMap<Key, u64>| counts.get(key).copied().unwrap_or(0);
        (of(&self.copies), of(&self.in_use))
    }
}

#[cfg(test)]
#[path = "resources_tests.rs"]
mod tests;
