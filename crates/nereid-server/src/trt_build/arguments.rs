//! The flags, in `trtexec`'s spelling.

use std::path::PathBuf;

use super::pools::{self, Pools};
use super::shapes::{self, Shapes};

/// What to build.
#[derive(Debug, clap::Parser)]
#[command(
    name = "nereid trt-build",
    about = "Builds a TensorRT plan (model.plan) from an ONNX model, on the GPU that it is for",
    after_help = "Flags are spelled as those of trtexec, as --flag=value or --flag value. SHAPES are NAME:1x3x224x224, with \
                  commas between inputs; a name with a colon or comma stands in single quotes, a scalar is NAME:scalar. \
                  For a shape tensor they are its values.\n\nExit codes: 0 the plan was written, 1 it could not be built, 2 \
                  the command line is wrong."
)]
pub(super) struct Arguments {
    /// The ONNX model. Weights in files beside it are found
    #[arg(long, value_name = "FILE")]
    pub(super) onnx: PathBuf,
    /// Where to write the plan. It appears there when it is complete
    #[arg(long = "saveEngine", value_name = "FILE")]
    pub(super) save_engine: PathBuf,
    /// Smallest shapes of inputs whose shape varies; the best ones unless given
    #[arg(long = "minShapes", value_name = "SHAPES", value_parser = shapes::parse)]
    pub(super) min_shapes: Option<Shapes>,
    /// The shapes to be best at; the largest ones unless given
    #[arg(long = "optShapes", value_name = "SHAPES", value_parser = shapes::parse)]
    pub(super) opt_shapes: Option<Shapes>,
    /// Largest shapes; the best ones unless given
    #[arg(long = "maxShapes", value_name = "SHAPES", value_parser = shapes::parse)]
    pub(super) max_shapes: Option<Shapes>,
    /// Let layers use 16-bit floating point. TensorRT 10 only: 11 takes the precision from the model
    #[arg(long)]
    pub(super) fp16: bool,
    /// The same with bfloat16
    #[arg(long)]
    pub(super) bf16: bool,
    /// The same with 8-bit integers, for models that say their ranges
    #[arg(long)]
    pub(super) int8: bool,
    /// Most memory of pools, such as workspace:1024 in MiB, or with a suffix B, K, M or G; the pools are workspace, dlaSRAM,
    /// dlaLocalDRAM, dlaGlobalDRAM and tacticSharedMem
    #[arg(long = "memPoolSize", value_name = "POOLS", value_parser = pools::parse)]
    pub(super) pools: Option<Pools>,
    /// 0 to 5: the more, the longer it takes
    #[arg(long = "builderOptimizationLevel", value_name = "N", value_parser = clap::value_parser!(i32).range(0..=5))]
    pub(super) optimization_level: Option<i32>,
    /// A plan that later versions of the same major one run too
    #[arg(long = "versionCompatible", visible_alias = "vc")]
    pub(super) version_compatible: bool,
    /// Leave the lean runtime out of a version-compatible plan
    #[arg(long = "excludeLeanRuntime", requires = "version_compatible")]
    pub(super) exclude_lean_runtime: bool,
    /// Number of the GPU
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) device: usize,
    /// Show everything that TensorRT says
    #[arg(long)]
    pub(super) verbose: bool,
    /// The library of TensorRT, or the folder that it is in (not in trtexec). Otherwise TENSORRT_LIB, otherwise the usual places
    #[arg(long = "lib", value_name = "PATH")]
    pub(super) library: Option<PathBuf>,
}
