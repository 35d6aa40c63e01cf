//! TensorRT without a GPU: the same functions and vtables, on host memory. Vtables are filled by the signatures of the
//! golden table, not by what the program under test believes. Whoever misuses it (an unknown method, a parent destroyed
//! before its children, two threads in one context) ends the process with a line on stderr.
//!
//! # Plans
//! Text, one item a line, fields divided by spaces:
//!
//! ```text
//! FAKEPLAN                    what it begins with; anything else is refused as TensorRT refuses garbage
//! version 10.16.1             refused by a library of another version, in TensorRT's words
//! name <network>
//! op <operation> [argument]
//! memory <bytes>              what a context needs on the device
//! tensors <count>             a lie about the number of tensors
//! profiles <count>            a lie about the number of profiles
//! in <name> <datatype> <shape> [<min> <opt> <max>]… [attribute]…
//! out <name> <datatype> <shape> [attribute]…
//! end                         the last line; without it the plan is truncated
//! ```
//!
//! A datatype is TensorRT's number. A shape is `-1x3x224`, or `scalar`. Three shapes for each profile, none where nothing
//! varies. Attributes: `location=host`, `shape_io`, `values=1,8:4,8:16,8[;…]` (min:opt:max of a shape tensor, by profile),
//! `format=<number>`, `vectorized_dim=<n>`, `components=<n>`, `bytes=<n>`, `mode=<n>` and `rank=<n>` (lies).
//!
//! # Operations
//! | operation | what it does |
//! |---|---|
//! | `identity` | output *i* is input *i*; spare dimensions of an output are those of its input |
//! | `add_sub` | the first output is the sum of the two inputs, the second their difference (FLOAT, INT32, INT64) |
//! | `nonzero` | the positions of what is not 0 in the first input (FLOAT, INT32), as ONNX's NonZero: INT64, [rank, count] |
//! | `reshape` | the first input in the shape that the second, a shape tensor, says |
//! | `fill` | as many FLOATs as the first input, a shape tensor, says, each its own position |
//! | `shape` | the first output, a shape tensor, is the shape of the first input |
//! | `delay <ms>` | `identity`, after a while |
//! | `fail` | no execution can be enqueued, and the log says why |
//! | `oom` | the plan needs more memory than there is |
//! | `oom_context` | its contexts do |
//! | `flood <lines>` | `identity`, with as many lines in the log from another thread |
//!
//! # Models
//! The parser takes `FAKEONNX` with the lines `name`, `op`, `in <name> <datatype> <shape>`, `out …`, and `unsupported
//! <node> <operator>` for a node that it refuses. A plan that is built keeps what the builder was told in lines that begin
//! with `built_`.
//!
//! # Behaviour
//! A file beside the library, with its name and `.behaviour`, has lines `version <a.b.c.d>`, `runtime null` or
//! `runtime 0x228` (what the lean runtimes return without a driver), `plugins false`.

mod behaviour;
mod builder;
mod context;
mod dims;
mod engine;
mod entry;
mod golden;
mod log;
mod network;
mod object;
mod operation;
mod output;
mod parser;
mod plan;
mod runtime;
mod stream;
