//! What has to be loaded and unloaded to get from one look at the repositories to the next. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// Models; `None` for one that serves nobody, or whose folder could not be looked at.
pub(crate) type Snapshot<M, T> = BTreeMap<M, Option<T>>;

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changes<M> {
    /// New, changed, or failed the last time, when the reason may have been that a file was half copied.
    pub(crate) load: BTreeSet<M>,
    /// Gone.
    pub(crate) unload: BTreeSet<M>,
}

/// Compares what was loaded with what is there now. What cannot be looked at at the moment goes on serving.
pub(crate) fn changes<M: Ord + Clone, T: PartialEq>(
    loaded: &Snapshot<M, T>,
    found: &Snapshot<M, T>,
) -> Changes<M> {
    let changed = |(model, now): &(&M, &Option<T>)| match (loaded.get(*model), now) {
        (None | Some(None), _) => true,
        (Some(Some(before)), Some(now)) => before != now,
        (Some(Some(_)), None) => false,
    };
    Changes {
        load: found.iter().filter(changed).map(|(model, _)| model.clone()).collect(),
        unload: loaded.keys().filter(|model| !found.contains_key(*model)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(loaded: &[(&str, Option<u32>)], found: &[(&str, Option<u32>)], load: &[&str], unload: &[&str]) {
        let snapshot = |models: &[(&str, Option<u32>)]| {
            models.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect::<Snapshot<String, u32>>()
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected = Changes { load: names(load), unload: names(unload) };
        assert_eq!(changes(&snapshot(loaded), &snapshot(found)), expected);
    }

    #[test]
    fn differences() {
        check(&[], &[], &[], &[]);
        check(&[("a", Some(1))], &[("a", Some(1))], &[], &[]);
        check(&[], &[("a", Some(1)), ("b", None)], &["a", "b"], &[]);
        check(&[("a", Some(1)), ("b", Some(1))], &[("a", Some(2)), ("b", Some(1))], &["a"], &[]);
        check(&[("a", Some(1)), ("b", None)], &[], &[], &["a", "b"]);
        check(&[("a", None)], &[("a", Some(1))], &["a"], &[]);
        check(&[("a", None)], &[("a", None)], &["a"], &[]);
        check(&[("a", Some(1))], &[("a", None)], &[], &[]);
        check(&[("a", Some(1)), ("c", Some(1))], &[("b", Some(1)), ("c", Some(0))], &["b", "c"], &["a"]);
    }
}
