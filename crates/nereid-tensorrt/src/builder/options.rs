//! What a plan is built for. Plain data, in TensorRT's words.

use crate::version::{Family, Flavor};

/// How to build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// Precisions that layers may use besides their own. Only TensorRT 10 chooses.
    pub precisions: Vec<Precision>,
    /// The plan can be run by later versions of the same major one.
    pub version_compatible: bool,
    /// A version-compatible plan goes without the lean runtime, which then has to be installed.
    pub exclude_lean_runtime: bool,
    /// 0 to 5: the more, the longer the build and, it is hoped, the shorter an execution.
    pub optimization_level: Option<i32>,
    /// Most bytes of each pool.
    pub pools: Vec<(MemoryPool, u64)>,
    /// Needed where an input's shape varies.
    pub profiles: Vec<BuildProfile>,
}

/// One optimisation profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildProfile {
    pub inputs: Vec<ProfileShapes>,
}

/// The shapes, or for a shape tensor the values, of one input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileShapes {
    pub name: String,
    pub min: Vec<i64>,
    pub opt: Vec<i64>,
    pub max: Vec<i64>,
    pub is_shape_tensor: bool,
}

/// A precision that TensorRT 10 may choose for a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    Fp16,
    Bf16,
    Int8,
}

impl Precision {
    /// `BuilderFlag` of TensorRT 10.
    pub(super) const fn flag(self) -> i32 {
        match self {
            Self::Fp16 => 0,
            Self::Int8 => 1,
            Self::Bf16 => 17,
        }
    }
}

/// A pool of memory (`MemoryPoolType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum MemoryPool {
    Workspace = 0,
    DlaManagedSram = 1,
    DlaLocalDram = 2,
    DlaGlobalDram = 3,
    TacticSharedMemory = 5,
}

/// `BuilderFlag::kVERSION_COMPATIBLE`
pub(super) const fn version_compatible(family: Family) -> i32 {
    match family {
        Family::V10 => 13,
        Family::V11 => 12,
    }
}

/// `BuilderFlag::kEXCLUDE_LEAN_RUNTIME`
pub(super) const fn exclude_lean_runtime(family: Family) -> i32 {
    match family {
        Family::V10 => 14,
        Family::V11 => 13,
    }
}

/// Whether the builder chooses precisions.
pub(super) const fn chooses_precision(family: Family, flavor: Flavor) -> bool {
    matches!((family, flavor), (Family::V10, Flavor::Full))
}
