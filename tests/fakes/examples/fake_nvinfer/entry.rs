//! The functions that the libraries export, and those that tests ask.

use std::ffi::{c_char, c_void};

use super::behaviour::Behaviour;
use super::builder::{self, Builder};
use super::log::{ERROR, Log, VERBOSE, WARNING};
use super::network::Network;
use super::object::{self, Public, text};
use super::parser::{self, Parser};
use super::runtime::{self, Runtime};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The first logger, which stays TensorRT's global one.
static GLOBAL: AtomicUsize = AtomicUsize::new(0);

fn greet(logger: *mut c_void, version: i32, function: &str) -> bool {
    let log = Log::new(logger);
    let own = Behaviour::get().version_number();
    if version != own {
        log.line(
            ERROR,
            &format!("{function}: Error Code 3: API Usage Error (TensorRT version {version} is not the library's {own})"),
        );
        return false;
    }
    match GLOBAL.compare_exchange(0, logger as usize, Ordering::SeqCst, Ordering::SeqCst) {
        Err(first) if first != logger as usize => log.line(
            WARNING,
            &format!("The logger passed into {function} differs from one already registered for an existing builder, runtime, or refitter."),
        ),
        _ => log.line(VERBOSE, &format!("{function} called")),
    }
    true
}

#[unsafe(no_mangle)]
extern "C" fn createInferRuntime_INTERNAL(logger: *mut c_void, version: i32) -> *mut Public<Runtime> {
    if let Some(address) = Behaviour::get().runtime {
        let what = "createInferRuntime: Error Code 6: API Usage Error (CUDA initialization failure with error: 35. Please \
                    check your CUDA installation:  http://docs.nvidia.com/cuda/cuda-installation-guide-linux/index.html)";
        Log::new(logger).line(ERROR, what);
        return std::ptr::without_provenance_mut(address);
    }
    if greet(logger, version, "createInferRuntime") { runtime::new(logger) } else { std::ptr::null_mut() }
}

#[unsafe(no_mangle)]
extern "C" fn createInferBuilder_INTERNAL(logger: *mut c_void, version: i32) -> *mut Public<Builder> {
    if greet(logger, version, "createInferBuilder") { builder::new(logger) } else { std::ptr::null_mut() }
}

#[unsafe(no_mangle)]
extern "C" fn createNvOnnxParser_INTERNAL(
    network: *mut Public<Network>,
    logger: *mut c_void,
    version: i32,
) -> *mut Parser {
    let own = getNvOnnxParserVersion();
    if version != own {
        Log::new(logger).line(ERROR, &format!("parser version {version} is not the library's {own}"));
        return std::ptr::null_mut();
    }
    parser::new(network, logger)
}

#[unsafe(no_mangle)]
extern "C" fn getNvOnnxParserVersion() -> i32 {
    100 // 0.1.0
}

#[unsafe(no_mangle)]
extern "C" fn initLibNvInferPlugins(logger: *mut c_void, namespace: *const c_char) -> bool {
    if !text(namespace).is_empty() {
        object::die("plugins are registered in another namespace");
    }
    let accepted = Behaviour::get().plugins;
    if !accepted {
        Log::new(logger).line(ERROR, "plugins could not be registered");
    }
    accepted
}

#[unsafe(no_mangle)]
extern "C" fn getPluginRegistry() -> *mut c_void {
    std::ptr::null_mut()
}

#[unsafe(no_mangle)]
extern "C" fn getInferLibVersion() -> i32 {
    Behaviour::get().version_number()
}

#[unsafe(no_mangle)]
extern "C" fn getInferLibMajorVersion() -> i32 {
    Behaviour::get().version[0]
}

#[unsafe(no_mangle)]
extern "C" fn getInferLibMinorVersion() -> i32 {
    Behaviour::get().version[1]
}

#[unsafe(no_mangle)]
extern "C" fn getInferLibPatchVersion() -> i32 {
    Behaviour::get().version[2]
}

#[unsafe(no_mangle)]
extern "C" fn getInferLibBuildVersion() -> i32 {
    Behaviour::get().version[3]
}

/// How many runtimes, engines, contexts and parts of builders there are.
#[unsafe(no_mangle)]
extern "C" fn fake_live_objects() -> usize {
    object::live()
}
