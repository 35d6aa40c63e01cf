//! The instances of a model.

/// One instance to create.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceSpec {
    /// `<group>_<index>`; those of a group that differ in the device alone have the same.
    pub name: String,
    pub kind: InstanceKind,
    /// Loaded but never scheduled.
    pub passive: bool,
    /// Name of the host policy that it runs under: the group's, else `cpu`, `gpu_<device>` or `model`.
    pub host_policy: String,
    /// Optimization profiles of a TensorRT engine, as the config spells their numbers; empty means the first.
    pub profiles: Vec<String>,
    /// Number of the DLA core that runs it besides its GPU.
    pub dla_core: Option<i64>,
    /// What it takes to run, for the rate limiter.
    pub rate_limiter: RateLimiterSpec,
}

/// `rate_limiter` of an instance group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimiterSpec {
    /// Held by the instance while it runs.
    pub resources: Vec<ResourceSpec>,
    /// Weight of each execution: twice as high means half as many when instances compete. 0 counts as 1.
    pub priority: u32,
}

/// How many copies of a resource an instance needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceSpec {
    pub name: String,
    /// Shared by all devices; otherwise each device has copies of its own.
    pub global: bool,
    pub count: u32,
}

/// Where an instance runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InstanceKind {
    #[default]
    Cpu,
    Gpu {
        device: i32,
    },
    /// The backend decides.
    Model,
}

impl InstanceKind {
    /// The device whose resources an instance uses. What is on no GPU counts as on device 0, as in Triton.
    pub fn device(self) -> i32 {
        match self {
            Self::Gpu { device } => device,
            Self::Cpu | Self::Model => 0,
        }
    }
}
