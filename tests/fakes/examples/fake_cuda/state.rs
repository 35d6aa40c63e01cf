//! Everything that there is in this process, and the context of each thread.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::code::{CAPTURE_UNSUPPORTED, Code, INVALID_CONTEXT, NOT_INITIALIZED, SUCCESS, check};
use crate::mapping::Mapping;
use crate::streams::{Node, Stream};

#[derive(Default)]
pub(crate) struct State {
    pub(crate) is_initialized: bool,
    /// How often the primary context of each GPU was retained.
    pub(crate) retained: BTreeMap<usize, usize>,
    /// Own allocations, by start.
    pub(crate) allocations: BTreeMap<u64, Allocation>,
    /// Allocations of other processes, by start.
    pub(crate) opened: BTreeMap<u64, Opened>,
    pub(crate) pinned: BTreeMap<u64, Mapping>,
    pub(crate) streams: BTreeMap<u64, Arc<Stream>>,
    pub(crate) events: BTreeSet<u64>,
    /// What was captured, by the address of a graph or of an executable one.
    pub(crate) graphs: BTreeMap<u64, Arc<Vec<Node>>>,
    pub(crate) executables: BTreeMap<u64, Arc<Vec<Node>>>,
    last: u64,
}

pub(crate) struct Allocation {
    pub(crate) mapping: Mapping,
    /// Which GPU it is on.
    pub(crate) device: usize,
}

pub(crate) struct Opened {
    pub(crate) mapping: Mapping,
    pub(crate) handle: [u8; 64],
    pub(crate) count: usize,
}

thread_local! {
    /// Number of the GPU whose context is current.
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

pub(crate) fn current() -> Option<usize> {
    CURRENT.get()
}

pub(crate) fn set_current(device: Option<usize>) {
    CURRENT.set(device);
}

pub(crate) fn state() -> MutexGuard<'static, State> {
    static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A call that needs `cuInit` only.
pub(crate) fn initialized(body: impl FnOnce(&mut State) -> Result<(), Code>) -> Code {
    let mut state = state();
    let result = check(state.is_initialized, NOT_INITIALIZED).and_then(|()| body(&mut state));
    result.err().unwrap_or(SUCCESS)
}

/// A call that needs a context, of the GPU whose number it is given.
pub(crate) fn in_context(body: impl FnOnce(&mut State, usize) -> Result<(), Code>) -> Code {
    initialized(|state| {
        let device = current().filter(|device| state.retained.get(device).is_some_and(|count| *count > 0));
        body(state, device.ok_or(INVALID_CONTEXT)?)
    })
}

impl State {
    /// A new address of something that has no memory.
    pub(crate) fn address(&mut self) -> u64 {
        self.last += 0x10;
        0x1000 + self.last
    }

    /// The mapping that `address` is in.
    pub(crate) fn around(&self, address: u64) -> Option<&Mapping> {
        let own = self.allocations.range(..=address).next_back().map(|(_, found)| &found.mapping);
        let others = self.opened.range(..=address).next_back().map(|(_, found)| &found.mapping);
        [own, others].into_iter().flatten().find(|mapping| mapping.has(address, 1))
    }

    /// Whether all these bytes are in one mapping; none are anywhere.
    pub(crate) fn have(&self, address: u64, bytes: usize) -> bool {
        bytes == 0 || self.around(address).is_some_and(|mapping| mapping.has(address, bytes as u64))
    }

    /// Bytes of own allocations on a GPU.
    pub(crate) fn used(&self, device: usize) -> u64 {
        let on = self.allocations.values().filter(|allocation| allocation.device == device);
        on.map(|allocation| allocation.mapping.bytes).sum()
    }

    /// What may wait for other streams is forbidden to a thread that captures, and breaks its capture.
    pub(crate) fn not_capturing(&self) -> Result<(), Code> {
        let this: ThreadId = thread::current().id();
        let broken = self.streams.values().filter(|stream| stream.break_capture_of(this)).count();
        check(broken == 0, CAPTURE_UNSUPPORTED)
    }
}
