//! What the page shows of one GPU, or of a part of one. No driver is asked here.

/// One reading; what the driver does not tell of this GPU is left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::metrics) struct GpuValues {
    /// `GPU-…`, or `MIG-…` for a part of a GPU.
    pub(in crate::metrics) uuid: String,
    /// 0 to 1.
    pub(in crate::metrics) utilization: Option<f64>,
    pub(in crate::metrics) memory_total_bytes: Option<u64>,
    pub(in crate::metrics) memory_used_bytes: Option<u64>,
    pub(in crate::metrics) power_usage_watts: Option<f64>,
    pub(in crate::metrics) power_limit_watts: Option<f64>,
    /// Since the first reading.
    pub(in crate::metrics) energy_joules: Option<f64>,
}
