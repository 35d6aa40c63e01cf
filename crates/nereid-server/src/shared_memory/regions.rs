//! The registered regions: by name, each with the number of requests that use it.
//!
//! A region that is unregistered while requests use it stays until the last of them has ended. Until then it can
//! be used, is shown and keeps its name, as in Triton (`shared_memory_manager.cc`).

use std::collections::BTreeMap;
use std::sync::Arc;

use nereid_core::{Error, ErrorCode, Result};
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};

use super::names::{check_key, check_name, shown};
use super::system::System;
use super::{HANDLE_BYTES, Kind, Memory, Place, Region, cuda};

/// The answer to whoever registers a region where that is not allowed.
const NOT_ALLOWED: &str =
    "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable.";

/// What clients have registered.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    allowed: bool,
    /// Most regions: each holds a file open, and connections need files too.
    pub(super) most: usize,
    table: Arc<Table>,
}

type Table = Mutex<BTreeMap<Arc<str>, Entry>>;

#[derive(Debug)]
struct Entry {
    region: Arc<Region>,
    /// Uses by requests that have not ended.
    uses: usize,
    awaiting_unregister: bool,
}

impl SharedMemory {
    /// No regions; `allowed` is whether clients may register any (`--allow-client-shm`).
    pub(crate) fn new(allowed: bool) -> Self {
        let files = getrlimit(Resource::Nofile).current;
        let most = files.map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX));
        Self { allowed, most, table: Arc::default() }
    }

    /// # Errors
    /// `Unsupported` when clients may not register or unregister regions.
    pub(crate) fn check_allowed(&self) -> Result<()> {
        if self.allowed { Ok(()) } else { Err(Error::unsupported(NOT_ALLOWED)) }
    }

    /// Registers `byte_size` bytes from `offset` of the object `key`.
    ///
    /// # Errors
    /// It is not allowed, the key is reserved, the name is taken (`AlreadyExists`), there are too many regions, or
    /// [`System::open`] fails.
    pub(crate) fn register_system(&self, name: &str, key: &str, offset: u64, byte_size: u64) -> Result<()> {
        let place = Place::System { key: key.to_owned(), offset };
        self.register(name, byte_size, place, |name| {
            Ok(Box::new(System::open(name, key, offset, byte_size)?))
        })
    }

    /// Registers the first `byte_size` bytes of the allocation that `handle` (a `cudaIpcMemHandle_t`) names.
    ///
    /// # Errors
    /// It is not allowed, the name is taken (`AlreadyExists`), there are too many regions or no GPU, or the handle
    /// is none.
    pub(crate) fn register_cuda(
        &self,
        name: &str,
        handle: [u8; HANDLE_BYTES],
        device_id: u64,
        byte_size: u64,
    ) -> Result<()> {
        self.register(name, byte_size, Place::Cuda { device_id }, |name| {
            cuda::open(name, handle, device_id, byte_size)
        })
    }

    /// Takes the memory outside of the lock, since a GPU may let it wait.
    pub(super) fn register(
        &self,
        name: &str,
        byte_size: u64,
        place: Place,
        open: impl FnOnce(Arc<str>) -> Result<Box<dyn Memory>>,
    ) -> Result<()> {
        self.check_allowed()?;
        check_name(name)?;
        if let Place::System { key, .. } = &place {
            check_key(name, key)?;
        }
        self.check_room(&self.table.lock(), name)?;
        let name = Arc::<str>::from(name);
        let region = Arc::new(Region { memory: open(name.clone())?, name: name.clone(), byte_size, place });
        let mut table = self.table.lock();
        self.check_room(&table, &name)?;
        table.insert(name, Entry { region, uses: 0, awaiting_unregister: false });
        Ok(())
    }

    fn check_room(&self, table: &BTreeMap<Arc<str>, Entry>, name: &str) -> Result<()> {
        if table.contains_key(name) {
            let message = format!("shared memory region '{}' already in manager", shown(name));
            return Err(Error::new(ErrorCode::AlreadyExists, message));
        }
        if table.len() >= self.most {
            return Err(Error::unavailable(format!(
                "failed to register shared memory region '{name}': {} regions are registered, and no more than half \
                 of the files that the server may open (ulimit -n) go to regions",
                table.len()
            )));
        }
        Ok(())
    }

    /// Unregisters the region of this kind and name, once no request uses it; every region of the kind when the
    /// name is empty. There need not be one. The owner of memory that no request uses may free it afterwards;
    /// closing it may wait for a device.
    ///
    /// # Errors
    /// It is not allowed.
    pub(crate) fn unregister(&self, kind: Kind, name: &str) -> Result<()> {
        self.check_allowed()?;
        let asked = |entry: &Entry| {
            entry.region.place.kind() == kind && (name.is_empty() || *entry.region.name == *name)
        };
        let mut table = self.table.lock();
        for entry in table.values_mut().filter(|entry| asked(entry)) {
            entry.awaiting_unregister = true;
        }
        let gone: Vec<_> = table.extract_if(.., |_, entry| entry.has_ended()).collect();
        drop(table);
        for (_, entry) in gone {
            entry.region.memory.close();
        }
        Ok(())
    }

    /// The region of this kind and name; every region of the kind, by name, when the name is empty.
    ///
    /// # Errors
    /// `NotFound` when no region has the name, or one of the other kind has it.
    pub(crate) fn status(&self, kind: Kind, name: &str) -> Result<Vec<Arc<Region>>> {
        let table = self.table.lock();
        if name.is_empty() {
            let regions = table.values().map(|entry| &entry.region);
            return Ok(regions.filter(|region| region.place.kind() == kind).cloned().collect());
        }
        let region = table.get(name).map(|entry| entry.region.clone());
        drop(table);
        let shown = shown(name);
        match (region, kind) {
            (Some(region), _) if region.place.kind() == kind => Ok(vec![region]),
            (Some(_), Kind::System) => Err(Error::not_found(format!(
                "The region named '{shown}' is registered as CUDA shared memory, not system shared memory"
            ))),
            (Some(_), Kind::Cuda) => Err(Error::not_found(format!(
                "The region named '{shown}' is registered as system shared memory, not CUDA shared memory"
            ))),
            (None, Kind::System) => {
                Err(Error::not_found(format!("Unable to find system shared memory region: '{shown}'")))
            }
            (None, Kind::Cuda) => {
                Err(Error::not_found(format!("Unable to find cuda shared memory region: '{shown}'")))
            }
        }
    }

    /// A use of `byte_size` bytes from `offset` of the region `name` (Triton's `GetMemoryInfo`).
    ///
    /// # Errors
    /// `NotFound` without such a region, `InvalidArg` when the bytes are not all in it.
    pub(super) fn lease(&self, name: &str, offset: u64, byte_size: u64) -> Result<Lease> {
        let mut table = self.table.lock();
        let Some(entry) = table.get_mut(name) else {
            return Err(Error::not_found(format!("Unable to find shared memory region: '{}'", shown(name))));
        };
        let size = entry.region.byte_size;
        if offset >= size {
            return Err(Error::invalid_arg(format!("Invalid offset for shared memory region: '{name}'")));
        }
        let Some(end) = offset.checked_add(byte_size) else {
            return Err(Error::invalid_arg(format!(
                "Integer overflow detected: byte_size ({byte_size}) + offset ({offset}) exceeds maximum value ({}) for \
                 region '{name}'",
                u64::MAX
            )));
        };
        if end > size {
            let message = format!("Invalid offset + byte size for shared memory region: '{name}'");
            return Err(Error::invalid_arg(message));
        }
        entry.uses += 1;
        Ok(Lease { region: entry.region.clone(), table: self.table.clone() })
    }
}

impl Entry {
    fn has_ended(&self) -> bool {
        self.awaiting_unregister && self.uses == 0
    }
}

/// One use of a region by a request: while it lives, the region is not unregistered.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) region: Arc<Region>,
    table: Arc<Table>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        let Some(entry) = table.get_mut(&self.region.name) else { return };
        entry.uses -= 1;
        let gone = if entry.has_ended() { table.remove(&self.region.name) } else { None };
        drop(table);
        drop(gone);
    }
}
