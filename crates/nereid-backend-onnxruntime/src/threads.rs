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

/// CPUs, and the callers of a session who use them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) cpu_threads: usize,
    pub(crate) instances: usize,
}

/// Sizes for a session of which `share` is known.
///
/// The callers and the threads of one pool make up the quota: of the intra-op pool, or with `parallel`
/// execution of the inter-op pool. A caller counts there too, because ONNX Runtime has it spin while the
/// pool works; with an inter-op pool of 1 it would run the nodes one by one. The parameters
/// `intra_op_thread_count` and `inter_op_thread_count` of the model decide when they are above 0.
///
/// # Errors
/// `InvalidArg` if a parameter is no number.
pub(crate) fn plan(parameters: &BTreeMap<String, String>, parallel: bool, share: Share) -> Result<Threads> {
    let left = (share.cpu_threads + 1).saturating_sub(share.instances.max(1)).max(1);
    let left = i32::try_from(left).unwrap_or(i32::MAX);
    let intra_op = positive(parameters, "intra_op_thread_count")?;
    let inter_op = positive(parameters, "inter_op_thread_count")?;
    Ok(Threads {
        intra_op: intra_op.unwrap_or(if parallel && inter_op.is_none() { 1 } else { left }),
        inter_op: inter_op.unwrap_or(if parallel { left } else { 1 }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_and_pool_fill_the_quota() {
        for (cpu_threads, instances, expected) in
            [(1, 1, 1), (8, 1, 8), (8, 2, 7), (8, 8, 1), (8, 20, 1), (0, 0, 1), (2, 0, 2)]
        {
            let share = Share { cpu_threads, instances };
            let threads = plan(&BTreeMap::new(), false, share).unwrap();
            assert_eq!(threads, Threads { intra_op: expected, inter_op: 1 }, "{share:?}");
            let threads = plan(&BTreeMap::new(), true, share).unwrap();
            assert_eq!(threads, Threads { intra_op: 1, inter_op: expected }, "{share:?}");
        }
    }

    #[test]
    fn parameters_decide() {
        for (parallel, intra_op, inter_op, expected) in [
            (false, "5", "-1", (5, 1)),
            (false, "0", "3", (8, 3)),
            (true, "5", "0", (5, 8)),
            (true, "0", "3", (8, 3)),
            (true, "5", "3", (5, 3)),
        ] {
            let given = [("intra_op_thread_count", intra_op), ("inter_op_thread_count", inter_op)];
            let given = given.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
            let threads = plan(&given, parallel, Share { cpu_threads: 8, instances: 1 }).unwrap();
            assert_eq!((threads.intra_op, threads.inter_op), expected, "{parallel} {intra_op} {inter_op}");
        }
    }
}
