//! Stands in for `libnvinfer.so.11` and `libnvonnxparser.so.11`. What it does is in `fake_nvinfer`.

#![allow(unsafe_code, reason = "it is called as a C++ library is")]
#![allow(clippy::print_stderr, reason = "it ends the program when it is misused, and says why")]
#![allow(missing_debug_implementations, reason = "nobody prints its objects")]
#![allow(unreachable_pub, reason = "its functions are found by name")]

mod fake_nvinfer;

/// Whose vtables it has.
const FAMILY: &str = "V11";
/// Of TensorRT, unless told otherwise: 11.4.0.1.
const VERSION: [i32; 4] = [11, 4, 0, 1];
