//! The instances of a model.

/// One instance to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    /// `<group>_<index>`, or with a device `<group>_<index>_gpu<device>`.
    pub name: String,
    pub kind: InstanceKind,
    /// Loaded but never scheduled.
    pub passive: bool,
}

/// Where an instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceKind {
    Cpu,
    Gpu {
        device: i32,
    },
    /// The backend decides.
    Model,
}
