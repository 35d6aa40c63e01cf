//! What a copy of the library was told to do differently.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

#[derive(Clone, Debug)]
pub struct Behaviour {
    pub version: [i32; 4],
    /// What `createInferRuntime` returns instead of a runtime.
    pub runtime: Option<usize>,
    pub plugins: bool,
}

impl Behaviour {
    pub fn get() -> &'static Self {
        static BEHAVIOUR: OnceLock<Behaviour> = OnceLock::new();
        BEHAVIOUR.get_or_init(|| {
            Self::read(&std::fs::read_to_string(own_path() + ".behaviour").unwrap_or_default())
        })
    }

    /// The number that TensorRT makes of its version.
    pub fn version_number(&self) -> i32 {
        let [major, minor, patch, _] = self.version;
        if major < 10 { major * 1000 + minor * 100 + patch } else { major * 10_000 + minor * 100 + patch }
    }

    fn read(text: &str) -> Self {
        let mut behaviour = Self { version: crate::VERSION, runtime: None, plugins: true };
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("version", version)) => {
                    for (part, text) in behaviour.version.iter_mut().zip(version.split('.')) {
                        *part = text.parse().expect("a version is numbers");
                    }
                }
                Some(("runtime", "null")) => behaviour.runtime = Some(0),
                Some(("runtime", address)) => {
                    let digits = address.trim_start_matches("0x");
                    behaviour.runtime =
                        Some(usize::from_str_radix(digits, 16).expect("an address is hexadecimal"));
                }
                Some(("plugins", answer)) => behaviour.plugins = answer == "true",
                _ => super::object::die(&format!("the behaviour '{line}' is unknown")),
            }
        }
        behaviour
    }
}

#[repr(C)]
struct DlInfo {
    path: *const c_char,
    base: *mut c_void,
    symbol: *const c_char,
    address: *mut c_void,
}

unsafe extern "C" {
    fn dladdr(address: *const c_void, info: *mut DlInfo) -> c_int;
}

/// The path of this copy of the library.
fn own_path() -> String {
    let mut info = DlInfo {
        path: std::ptr::null(),
        base: std::ptr::null_mut(),
        symbol: std::ptr::null(),
        address: std::ptr::null_mut(),
    };
    let here: fn() -> String = own_path;
    // SAFETY: the address is one of this library's, and the structure is the loader's.
    let found = unsafe { dladdr(here as *const c_void, &raw mut info) };
    assert!(found != 0 && !info.path.is_null(), "the loader knows this library");
    // SAFETY: the loader's C string.
    unsafe { CStr::from_ptr(info.path) }.to_string_lossy().into_owned()
}
