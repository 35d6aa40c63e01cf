//! How many threads a session's pools have, so that all instances of a model together stay within the
//! CPU quota. ONNX Runtime's own default is a spinning pool per session as wide as the machine.

use std::collections::BTreeMap;

use nereid_core::Result;

use crate::settings::positive;

/// Sizes of a session's pools; the calling thread counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threads {
    pub(crate) intra_op: i32,
    pub(crate) inter_op: i32,
}

/// Sizes for a session that `instances` callers use at once on `cpu_threads` CPUs.
///
/// The callers and the pool's own `intra_op - 1` threads make up the quota. The parameters
/// `intra_op_thread_count` and `inter_op_thread_count` of the model decide when they are above 0.
///
/// # Errors
/// `InvalidArg` if a parameter is no number.
pub(crate) fn plan(
    parameters: &BTreeMap<String, String>,
    cpu_threads: usize,
    instances: usize,
) -> Result<Threads> {
    let left = (cpu_threads + 1).saturating_sub(instances.max(1)).max(1);
    Ok(Threads {
        intra_op: positive(parameters, "intra_op_thread_count")?
            .unwrap_or(i32::try_from(left).unwrap_or(i32::MAX)),
        inter_op: positive(parameters, "inter_op_thread_count")?.unwrap_or(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_and_pool_fill_the_quota() {
        for (cpus, instances, expected) in
            [(1, 1, 1), (8, 1, 8), (8, 2, 7), (8, 8, 1), (8, 20, 1), (0, 0, 1), (2, 0, 2)]
        {
            let threads = plan(&BTreeMap::new(), cpus, instances).unwrap();
            assert_eq!(threads, Threads { intra_op: expected, inter_op: 1 }, "{cpus} {instances}");
        }
        let given = [("intra_op_thread_count", "5"), ("inter_op_thread_count", "-1")];
        let given = given.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(plan(&given, 2, 2).unwrap(), Threads { intra_op: 5, inter_op: 1 });
    }
}
