//! One change per model at a time: whoever loads or unloads a model first waits for its turn.

use std::collections::BTreeSet;

use parking_lot::{Condvar, Mutex};

/// Names of the models that are being changed.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    busy: Mutex<BTreeSet<String>>,
    freed: Condvar,
}

/// The right to change some models; ends when dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    names: Vec<String>,
}

impl Turns {
    /// Waits until none of `names` is being changed, then takes them all.
    pub(crate) fn take(&self, names: &[&str]) -> Turn<'_> {
        let mut busy = self.busy.lock();
        self.freed.wait_while(&mut busy, |busy| names.iter().any(|name| busy.contains(*name)));
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        busy.extend(names.iter().cloned());
        Turn { turns: self, names }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut busy = self.turns.busy.lock();
        for name in &self.names {
            busy.remove(name);
        }
        drop(busy);
        self.turns.freed.notify_all();
    }
}
