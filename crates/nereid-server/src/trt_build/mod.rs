//! `nereid trt-build`: an ONNX model becomes a TensorRT plan, with the flags of NVIDIA's `trtexec`.

mod arguments;
mod pools;
mod profile;
mod progress;
mod report;
mod run;
mod shapes;

#[cfg(test)]
mod tests;

pub use run::main;
