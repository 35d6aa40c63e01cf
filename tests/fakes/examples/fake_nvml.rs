//! Stands in for the management library (`libnvidia-ml.so.1`): GPUs as `fake_nvml.conf` beside the library describes them,
//! read anew by every call, with the codes that NVML documents.
//!
//! ```text
//! init=9                                    what nvmlInit gives; 0 without this line
//! hang                                      readings of devices do not return while this line is there
//! gpu uuid=GPU-1 name=NVIDIA_H100 pci=00000000:1A:00.0 mig=off utilization=37 total=100 used=40 power=123456 …
//! mig uuid=MIG-1 name=NVIDIA_H100_MIG_1g.10gb total=10 used=4
//! ```
//!
//! A `mig` is a part of the GPU above it, which says `mig=on`. `_` in a name is a space. A GPU has besides: `limit` (mW,
//! as `power`) and `energy` (mJ). `key=!15` is a call that ends with this code; without the key it is not supported.

#![allow(unsafe_code, reason = "the functions of a C library")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::fs;
use std::mem;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

type Return = c_int;
/// Not looked at by callers: which GPU, from 1, in the upper bits, and which part of it, from 1 or 0, in the lower eight.
type Handle = *mut c_void;

const SUCCESS: Return = 0;
const UNINITIALIZED: Return = 1;
const INVALID_ARGUMENT: Return = 2;
const NOT_SUPPORTED: Return = 3;
const NOT_FOUND: Return = 6;
const INSUFFICIENT_SIZE: Return = 7;
const ARGUMENT_VERSION_MISMATCH: Return = 25;

/// Places for parts on a GPU in MIG mode.
const PLACES: c_uint = 7;

/// Calls of `nvmlInit` that were not taken back.
static INITIALIZED: AtomicUsize = AtomicUsize::new(0);

#[repr(C)]
struct Utilization {
    gpu: c_uint,
    memory: c_uint,
}

#[repr(C)]
struct MemoryV2 {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

#[repr(C)]
struct PciInfo {
    bus_id_legacy: [u8; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    pci_device_id: c_uint,
    pci_subsystem_id: c_uint,
    bus_id: [u8; 32],
}

/// A line of the file.
struct Device(Vec<(String, String)>);

/// What the file says now.
#[derive(Default)]
struct Machine {
    init: Return,
    hangs: bool,
    gpus: Vec<(Device, Vec<Device>)>,
}

impl Device {
    fn text(&self, key: &str) -> Result<String, Return> {
        let found = self.0.iter().find(|(name, _)| name == key);
        let value = &found.ok_or(NOT_SUPPORTED)?.1;
        match value.strip_prefix('!') {
            Some(code) => Err(code.parse().unwrap_or(INVALID_ARGUMENT)),
            None => Ok(value.replace('_', " ")),
        }
    }

    fn number(&self, key: &str) -> Result<u64, Return> {
        self.text(key)?.parse().map_err(|_| INVALID_ARGUMENT)
    }
}

impl Machine {
    fn now() -> Self {
        let mut machine = Self::default();
        let text = fs::read_to_string(folder().join("fake_nvml.conf")).unwrap_or_default();
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default()) {
            let mut words = line.split_whitespace();
            let pair =
                |word: &str| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
            match words.next() {
                Some("hang") => machine.hangs = true,
                Some("gpu") => machine.gpus.push((Device(words.filter_map(pair).collect()), Vec::new())),
                Some("mig") => {
                    if let Some((_, parts)) = machine.gpus.last_mut() {
                        parts.push(Device(words.filter_map(pair).collect()));
                    }
                }
                Some(word) => {
                    machine.init = word.strip_prefix("init=").and_then(|code| code.parse().ok()).unwrap_or(0);
                }
                None => {}
            }
        }
        machine
    }

    /// As it is, once it answers.
    fn awake() -> Result<Self, Return> {
        if INITIALIZED.load(Ordering::SeqCst) == 0 {
            return Err(UNINITIALIZED);
        }
        loop {
            let machine = Self::now();
            if !machine.hangs {
                return Ok(machine);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn device(&self, handle: Handle) -> Result<&Device, Return> {
        let (gpu, parts) = self.gpus.get((handle.addr() >> 8).wrapping_sub(1)).ok_or(INVALID_ARGUMENT)?;
        match handle.addr() & 0xff {
            0 => Ok(gpu),
            part => parts.get(part - 1).ok_or(INVALID_ARGUMENT),
        }
    }
}

/// Where this library lies.
fn folder() -> PathBuf {
    let mut info: libc::Dl_info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    let own: fn() -> PathBuf = folder;
    // SAFETY: `info` is there to be written, and any address may be asked for.
    let found = unsafe { libc::dladdr(own as *const c_void, &raw mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return PathBuf::new();
    }
    // SAFETY: `dladdr` gave a string that lives as long as the library is loaded.
    let path = unsafe { CStr::from_ptr(info.dli_fname) };
    let path = PathBuf::from(path.to_string_lossy().into_owned());
    path.parent().map(PathBuf::from).unwrap_or_default()
}

fn code(result: Result<(), Return>) -> Return {
    result.err().unwrap_or(SUCCESS)
}

/// Writes `value` where the caller wants it.
fn give<T>(to: *mut T, value: T) -> Result<(), Return> {
    if to.is_null() {
        return Err(INVALID_ARGUMENT);
    }
    // SAFETY: who calls a function of NVML answers for its pointers.
    unsafe { to.write(value) };
    Ok(())
}

/// Writes `text` and its NUL where the caller has `length` bytes.
fn give_text(to: *mut c_char, length: c_uint, text: &str) -> Result<(), Return> {
    if text.len() >= length as usize {
        return Err(INSUFFICIENT_SIZE);
    }
    let bytes = text.bytes().chain([0]);
    bytes.enumerate().try_for_each(|(at, byte)| give(to.wrapping_add(at), byte as c_char))
}

fn give_number<T: TryFrom<u64>>(device: Handle, to: *mut T, key: &str) -> Return {
    let read = || -> Result<(), Return> {
        let machine = Machine::awake()?;
        let number = machine.device(device)?.number(key)?;
        give(to, T::try_from(number).map_err(|_| INVALID_ARGUMENT)?)
    };
    code(read())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> Return {
    let init = Machine::now().init;
    if init == SUCCESS {
        INITIALIZED.fetch_add(1, Ordering::SeqCst);
    }
    init
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> Return {
    let before = INITIALIZED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |calls| calls.checked_sub(1));
    if before.is_ok() { SUCCESS } else { UNINITIALIZED }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlSystemGetDriverVersion(version: *mut c_char, length: c_uint) -> Return {
    if INITIALIZED.load(Ordering::SeqCst) == 0 {
        return UNINITIALIZED;
    }
    code(give_text(version, length, "570.00"))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> Return {
    code(Machine::awake().and_then(|machine| give(count, machine.gpus.len() as c_uint)))
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut Handle) -> Return {
    let read = || -> Result<(), Return> {
        let machine = Machine::awake()?;
        let (gpu, _) = machine.gpus.get(index as usize).ok_or(INVALID_ARGUMENT)?;
        if let Err(code @ 4..) = gpu.text("handle") {
            return Err(code);
        }
        give(device, std::ptr::without_provenance_mut((index as usize + 1) << 8))
    };
    code(read())
}

fn device_text(device: Handle, to: *mut c_char, length: c_uint, key: &str) -> Return {
    let read = || -> Result<(), Return> {
        let machine = Machine::awake()?;
        give_text(to, length, &machine.device(device)?.text(key)?)
    };
    code(read())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetName(device: Handle, name: *mut c_char, length: c_uint) -> Return {
    device_text(device, name, length, "name")
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetUUID(device: Handle, uuid: *mut c_char, length: c_uint) -> Return {
    device_text(device, uuid, length, "uuid")
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPciInfo_v3(device: Handle, info: *mut PciInfo) -> Return {
    let read = || -> Result<(), Return> {
        let machine = Machine::awake()?;
        let id = machine.device(device)?.text("pci")?;
        let mut pci = PciInfo {
            bus_id_legacy: [0; 16],
            domain: 0,
            bus: 0,
            device: 0,
            pci_device_id: 0,
            pci_subsystem_id: 0,
            bus_id: [0; 32],
        };
        pci.bus_id.iter_mut().zip(id.bytes().take(31)).for_each(|(to, byte)| *to = byte);
        // Four digits of the domain less.
        pci.bus_id_legacy.iter_mut().zip(id.bytes().skip(4).take(15)).for_each(|(to, byte)| *to = byte);
        give(info, pci)
    };
    code(read())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetUtilizationRates(device: Handle, utilization: *mut Utilization) -> Return {
    let read = || -> Result<(), Return> {
        let machine = Machine::awake()?;
        let gpu = machine.device(device)?.number("utilization")? as c_uint;
        give(utilization, Utilization { gpu, memory: 0 })
    };
    code(read())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: Handle, memory: *mut MemoryV2) -> Return {
    let read = || -> Result<(), Return> {
        let version = mem::size_of::<MemoryV2>() as c_uint | 2 << 24;
        // SAFETY: who calls a function of NVML answers for its pointers.
        let given = unsafe { memory.as_ref() }.ok_or(INVALID_ARGUMENT)?.version;
        if given != version {
            return Err(ARGUMENT_VERSION_MISMATCH);
        }
        let machine = Machine::awake()?;
        let device = machine.device(device)?;
        let (total, used) = (device.number("total")?, device.number("used")?);
        give(memory, MemoryV2 { version, total, reserved: 0, free: total.saturating_sub(used), used })
    };
    code(read())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPowerUsage(device: Handle, milliwatts: *mut c_uint) -> Return {
    give_number(device, milliwatts, "power")
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetPowerManagementLimit(device: Handle, milliwatts: *mut c_uint) -> Return {
    give_number(device, milliwatts, "limit")
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetTotalEnergyConsumption(device: Handle, millijoules: *mut c_ulonglong) -> Return {
    give_number(device, millijoules, "energy")
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigMode(device: Handle, current: *mut c_uint, pending: *mut c_uint) -> Return {
    let read = || -> Result<(), Return> {
        let machine = Machine::awake()?;
        let mode = c_uint::from(machine.device(device)?.text("mig")? == "on");
        give(current, mode)?;
        give(pending, mode)
    };
    code(read())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMaxMigDeviceCount(device: Handle, count: *mut c_uint) -> Return {
    let read = || -> Result<(), Return> {
        let machine = Machine::awake()?;
        let on = machine.device(device)?.text("mig") == Ok("on".to_owned());
        give(count, if on { PLACES } else { 0 })
    };
    code(read())
}

#[unsafe(no_mangle)]
extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: Handle,
    index: c_uint,
    part: *mut Handle,
) -> Return {
    let read = || -> Result<(), Return> {
        let machine = Machine::awake()?;
        if machine.device(device)?.text("mig")? != "on" {
            return Err(NOT_SUPPORTED);
        }
        if index >= PLACES {
            return Err(INVALID_ARGUMENT);
        }
        let handle = device.map_addr(|address| address + index as usize + 1);
        machine.device(handle).map_err(|_| NOT_FOUND)?;
        give(part, handle)
    };
    code(read())
}
