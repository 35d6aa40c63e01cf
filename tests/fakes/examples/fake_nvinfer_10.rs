//! Stands in for `libnvinfer.so.10` and `libnvonnxparser.so.10`. What it does is in `fake_nvinfer`.

#![allow(unsafe_code, reason = "it is called as a C++ library is")]
#![allow(clippy::print_stderr, reason = "it ends the program when it is misused, and says why")]
#![allow(missing_debug_implementations, reason = "nobody prints its objects")]
#![allow(unreachable_pub, reason = "its functions are found by name")]

mod fake_nvinfer;

/// Whose vtables it has.
const FAMILY: &str = "V10";
/// Of TensorRT, unless told otherwise: 10.16.1.11.
const VERSION: [i32; 4] = [10, 16, 1, 11];
