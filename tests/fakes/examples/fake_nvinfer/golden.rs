//! Vtables, filled by the signatures of the golden table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::behaviour::Behaviour;
use super::object::die;

const TABLE: &str = include_str!("../../../../crates/nereid-tensorrt/tests/slots_golden.tsv");

/// The major version of TensorRT-RTX.
const RTX: i32 = 1;

/// The address point of a vtable.
#[derive(Clone, Copy)]
pub struct Vtable(pub *const usize);

// SAFETY: it is never written after it was made, and never freed.
unsafe impl Send for Vtable {}
// SAFETY: as above.
unsafe impl Sync for Vtable {}

/// A vtable in the making.
pub struct Class {
    name: &'static str,
    entries: Vec<usize>,
    done: BTreeSet<&'static str>,
}

impl Class {
    /// The class `name`, with nothing but methods that end the process.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            entries: UNEXPECTED.iter().map(|entry| *entry as usize).collect(),
            done: BTreeSet::new(),
        }
    }

    /// Puts `function` where the golden table has the method of this signature. A family or version that has none goes
    /// without.
    pub fn method(mut self, signature: &'static str, function: *const ()) -> Self {
        if let Some(slot) = position(self.name, signature) {
            self.entries[slot] = function as usize;
        }
        if !self.done.insert(signature) {
            die(&format!("{}::{signature} is written twice", self.name));
        }
        if !TABLE.contains(&format!("{}::{signature}", self.name)) {
            die(&format!("the golden table has no {}::{signature}", self.name));
        }
        self
    }

    pub fn finish(self) -> Vtable {
        Vtable(Box::leak(self.entries.into_boxed_slice()).as_ptr())
    }
}

/// Position of the method of `class` whose signature is this, `const` or not, in this family and version.
pub fn position(class: &'static str, signature: &'static str) -> Option<usize> {
    static FOUND: Mutex<BTreeMap<(&str, &str), Option<usize>>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().expect("nothing panics with it");
    *found.entry((class, signature)).or_insert_with(|| find(class, signature))
}

fn find(class: &str, signature: &str) -> Option<usize> {
    let [major, minor, ..] = Behaviour::get().version;
    let newest = if [crate::VERSION[0], RTX].contains(&major) { minor } else { i32::MAX };
    TABLE.lines().find_map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [row_family, row_class, slot, since, text] = fields[..] else { return None };
        let whole = text.strip_suffix(" const").unwrap_or(text);
        let prefix = format!("{class}::");
        let found = whole.match_indices(&prefix).any(|(at, _)| whole[at + prefix.len()..] == *signature);
        let minor: i32 = since.split('.').nth(1)?.parse().ok()?;
        let is_there = minor <= newest || class.starts_with("IParser");
        (row_family == family() && row_class == class && found && is_there)
            .then(|| slot.parse().expect("a slot is a number"))
    })
}

/// Whose vtables these are: TensorRT-RTX has versions of its own.
fn family() -> &'static str {
    if Behaviour::get().version[0] == RTX { "RTX1_5" } else { crate::FAMILY }
}

type Entry = extern "C" fn();

/// What lies in a slot that no test should call.
extern "C" fn unexpected<const SLOT: usize>() {
    let methods = TABLE.lines().filter(|line| {
        let mut fields = line.split('\t');
        fields.next() == Some(family()) && fields.nth(1) == Some(&SLOT.to_string())
    });
    let methods: Vec<&str> = methods.filter_map(|line| line.rsplit('\t').next()).collect();
    die(&format!(
        "an unexpected virtual method was called: slot {SLOT} of {} {:?}, one of {methods:#?}",
        family(),
        Behaviour::get().version
    ));
}

macro_rules! entries {
    ($($tens:literal)*) => {
        [$(
            unexpected::<{ $tens * 10 }>, unexpected::<{ $tens * 10 + 1 }>, unexpected::<{ $tens * 10 + 2 }>,
            unexpected::<{ $tens * 10 + 3 }>, unexpected::<{ $tens * 10 + 4 }>, unexpected::<{ $tens * 10 + 5 }>,
            unexpected::<{ $tens * 10 + 6 }>, unexpected::<{ $tens * 10 + 7 }>, unexpected::<{ $tens * 10 + 8 }>,
            unexpected::<{ $tens * 10 + 9 }>,
        )*]
    };
}

static UNEXPECTED: [Entry; 80] = entries!(0 1 2 3 4 5 6 7);
