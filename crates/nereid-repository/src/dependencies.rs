//! Which models are known and which of them are made of others (`DependencyGraph` in Triton's model_repository_manager.cc).
//! Pure. A model is known from when its config was read until it is unloaded, whether or not it could be loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nereid_core::{Error, Result};

use crate::ModelId;

/// All models that are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dependencies(BTreeMap<ModelId, Node>);

#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// What the steps of an ensemble need; empty for other models.
    pub(crate) needs: Vec<Need>,
    /// Somebody asked for it by name.
    pub(crate) explicit: bool,
    /// Why it cannot be loaded, as long as neither it nor what it needs changes.
    pub(crate) invalid: Option<Error>,
}

/// A model that an ensemble needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    pub(crate) name: Arc<str>,
    /// -1 is any.
    pub(crate) version: i64,
}

impl Dependencies {
    pub(crate) fn get(&self, model: &ModelId) -> Option<&Node> {
        self.0.get(model)
    }

    /// All models of this name.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = ModelId> {
        self.0.keys().filter(move |model| *model.name == *name).cloned()
    }

    pub(crate) fn get_mut(&mut self, model: &ModelId) -> Option<&mut Node> {
        self.0.get_mut(model)
    }

    /// `model` was found, and needs these. Once asked for by name it stays so.
    pub(crate) fn set(&mut self, model: &ModelId, needs: Vec<Need>, explicit: bool) {
        let node = self.0.entry(model.clone()).or_default();
        node.needs = needs;
        node.explicit |= explicit;
        node.invalid = None;
    }

    /// Forgets the models that go by `name`, and with `cascade` also what was loaded for their sake alone. Gives back
    /// all that are forgotten.
    pub(crate) fn remove(&mut self, models: &BTreeSet<ModelId>, cascade: bool) -> BTreeSet<ModelId> {
        let (mut removed, mut now) = (BTreeSet::new(), models.clone());
        while let Some(model) = now.pop_first() {
            let used = if cascade { self.upstreams(&model) } else { BTreeSet::new() };
            self.0.remove(&model);
            removed.insert(model);
            let idle = |used: &ModelId| {
                self.get(used).is_some_and(|node| !node.explicit) && self.downstreams(used).is_empty()
            };
            now.extend(used.into_iter().filter(idle));
        }
        removed
    }

    /// The model that `name` means for one in `namespace`: a neighbour, or else the only one of that name.
    pub(crate) fn resolve(&self, namespace: &str, name: &str) -> Option<&ModelId> {
        let mut named = self.0.keys().filter(|model| *model.name == *name);
        let (mut only, mut count) = (None, 0);
        for model in named.by_ref() {
            if *model.namespace == *namespace {
                return Some(model);
            }
            (only, count) = (Some(model), count + 1);
        }
        only.filter(|_| count == 1)
    }

    /// What `model` is made of, as far as it is known.
    pub(crate) fn upstreams(&self, model: &ModelId) -> BTreeSet<ModelId> {
        let needs = self.get(model).map_or(&[][..], |node| &node.needs);
        needs.iter().filter_map(|need| self.resolve(&model.namespace, &need.name)).cloned().collect()
    }

    /// The ensembles that are made of `model`.
    fn downstreams(&self, model: &ModelId) -> BTreeSet<ModelId> {
        let uses = |id: &ModelId, need: &Need| {
            need.name == model.name && self.resolve(&id.namespace, &need.name) == Some(model)
        };
        let users = self.0.iter().filter(|(id, node)| node.needs.iter().any(|need| uses(id, need)));
        users.map(|(id, _)| id.clone()).collect()
    }

    /// The ensembles that may be concerned when models of these names change, and all that are made of those in turn.
    pub(crate) fn affected(&self, models: impl Iterator<Item = Arc<str>>) -> BTreeSet<ModelId> {
        let mut affected = BTreeSet::new();
        let mut names: Vec<Arc<str>> = models.collect();
        while let Some(name) = names.pop() {
            for (id, node) in &self.0 {
                if node.needs.iter().any(|need| need.name == name) && affected.insert(id.clone()) {
                    names.push(id.name.clone());
                }
            }
        }
        affected
    }

    /// `models` in the order in which they can be loaded: each after what it is made of. Those that wait for each other
    /// come last.
    pub(crate) fn waves(&self, mut models: BTreeSet<ModelId>) -> Vec<BTreeSet<ModelId>> {
        let mut waves = Vec::new();
        while !models.is_empty() {
            let ready =
                |model: &&ModelId| self.upstreams(model).iter().all(|upstream| !models.contains(upstream));
            let mut wave: BTreeSet<ModelId> = models.iter().filter(ready).cloned().collect();
            if wave.is_empty() {
                let in_circle = |model: &&ModelId| self.before_itself(model).is_some();
                wave = models.iter().filter(in_circle).cloned().collect();
            }
            if wave.is_empty() {
                wave = std::mem::take(&mut models); // cannot be; it would not end
            }
            models.retain(|model| !wave.contains(model));
            waves.push(wave);
        }
        waves
    }

    /// Refuses `model` if what it needs is not known, or if it needs itself.
    ///
    /// # Errors
    /// InvalidArg with the texts of `ConnectDependencyGraph` and `CircularDependencyCheck`.
    pub(crate) fn check(&self, model: &ModelId) -> Result<()> {
        let needs = self.get(model).map_or(&[][..], |node| &node.needs);
        let missing = needs.iter().filter(|need| self.resolve(&model.namespace, &need.name).is_none());
        let missing: BTreeSet<&str> = missing.map(|need| &*need.name).collect();
        if !missing.is_empty() {
            let names = missing.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::invalid_arg(format!(
                "ensemble {model} contains models that are not available or ambiguous: {names}"
            )));
        }
        match self.before_itself(model) {
            None => Ok(()),
            Some(last) => Err(Error::invalid_arg(format!(
                "circular dependency between ensembles: {model} -> ... -> {last} -> {model}"
            ))),
        }
    }

    /// The model through which `model` needs itself.
    fn before_itself(&self, model: &ModelId) -> Option<ModelId> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![model.clone()]);
        while let Some(current) = next.pop() {
            let upstreams = self.upstreams(&current);
            if upstreams.contains(model) {
                return Some(current);
            }
            next.extend(upstreams.into_iter().filter(|upstream| seen.insert(upstream.clone())));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ModelId {
        match text.split_once("::") {
            Some((namespace, name)) => ModelId { namespace: namespace.into(), name: name.into() },
            None => ModelId::bare(text),
        }
    }

    /// Models with what they need, all asked for by name but those with a `?`.
    fn graph(models: &[(&str, &[&str])]) -> Dependencies {
        let mut graph = Dependencies::default();
        for (model, needs) in models {
            let need = |name: &&str| Need { name: (*name).into(), version: -1 };
            let explicit = !model.ends_with('?');
            graph.set(&id(model.trim_end_matches('?')), needs.iter().map(need).collect(), explicit);
        }
        graph
    }

    fn ids(names: &[&str]) -> BTreeSet<ModelId> {
        names.iter().map(|name| id(name)).collect()
    }

    fn waves(graph: &Dependencies) -> Vec<String> {
        let all = graph.0.keys().cloned().collect();
        let text =
            |wave: &BTreeSet<ModelId>| wave.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        graph.waves(all).iter().map(text).collect()
    }

    #[test]
    fn models_come_after_what_they_are_made_of() {
        let nested = [("outer", &["inner", "a"][..]), ("inner", &["a", "b"]), ("a", &[]), ("b", &[])];
        assert_eq!(waves(&graph(&nested)), ["a b", "inner", "outer"]);
        assert_eq!(waves(&graph(&[("e", &["nosuch"]), ("a", &[])])), ["a e"]);
        let circle = [("x", &["y"][..]), ("y", &["x"]), ("z", &["x", "a"]), ("a", &[])];
        assert_eq!(waves(&graph(&circle)), ["a", "x y", "z"]);
        assert_eq!(waves(&graph(&[("e", &["e"])])), ["e"]);
    }

    #[test]
    fn refusals() {
        let graph = graph(&[
            ("self", &["self"]),
            ("x", &["y"]),
            ("y", &["z"]),
            ("z", &["x"]),
            ("near", &["x"]),
            ("e", &["nosuch", "a", "gone", "gone"]),
            ("a", &[]),
        ]);
        for (model, expected) in [
            ("a", Ok(())),
            ("near", Ok(())), // for what it is made of to say
            ("self", Err("circular dependency between ensembles: self -> ... -> self -> self")),
            ("x", Err("circular dependency between ensembles: x -> ... -> z -> x")),
            ("e", Err("ensemble e contains models that are not available or ambiguous: gone, nosuch")),
        ] {
            let result = graph.check(&id(model)).map_err(|e| e.message().to_owned());
            assert_eq!(result, expected.map_err(str::to_owned));
        }
    }

    #[test]
    fn neighbours_first_then_the_only_one() {
        let graph = graph(&[
            ("n::e", &["a", "b", "c"]),
            ("n::a", &[]),
            ("m::a", &[]),
            ("m::b", &[]),
            ("m::c", &[]),
            ("k::c", &[]),
        ]);
        assert_eq!(graph.upstreams(&id("n::e")), ids(&["n::a", "m::b"]));
        assert_eq!(
            graph.check(&id("n::e")).unwrap_err().message(),
            "ensemble n::e contains models that are not available or ambiguous: c"
        );
        assert_eq!(graph.affected(["c".into()].into_iter()), ids(&["n::e"]));
    }

    #[test]
    fn what_a_change_concerns() {
        let graph = graph(&[("outer", &["inner"]), ("inner", &["a"]), ("other", &["b"]), ("a", &[])]);
        assert_eq!(graph.affected(["a".into()].into_iter()), ids(&["inner", "outer"]));
        assert_eq!(graph.affected(["outer".into()].into_iter()), ids(&[]));
        assert_eq!(graph.affected(["b".into()].into_iter()), ids(&["other"]), "a model to come");
    }

    #[test]
    fn removal_takes_along_what_nobody_else_wants() {
        let models = [
            ("outer", &["inner", "a"][..]),
            ("inner?", &["b", "c"]),
            ("other", &["c"]),
            ("a", &[]),
            ("b?", &[]),
            ("c?", &[]),
        ];
        let removed = |cascade| {
            let mut graph = graph(&models);
            (graph.remove(&ids(&["outer"]), cascade), graph.0.len())
        };
        assert_eq!(removed(false), (ids(&["outer"]), 5));
        assert_eq!(removed(true), (ids(&["outer", "inner", "b"]), 3), "a was asked for, c is needed");
    }

    #[test]
    fn a_model_that_was_asked_for_stays_so() {
        let mut graph = graph(&[("e", &["a"]), ("a", &[])]);
        graph.set(&id("a"), Vec::new(), false);
        assert_eq!(graph.remove(&ids(&["e"]), true), ids(&["e"]));
    }
}
