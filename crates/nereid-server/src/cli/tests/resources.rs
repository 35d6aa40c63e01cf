//! The rate limiter, host policies and GPUs on the command line.

use nereid_repository::HostPolicies;
use nereid_scheduler::ResourceLimits;

use super::*;
use crate::cli::options::{GpuOptions, RateLimitOptions};

#[test]
fn rates_and_host_policies() {
    let o = options(&[
        "--rate-limit=EXECUTION_COUNT",
        "--rate-limit-resource=R1:10",
        "--rate-limit-resource=R2:5:0",
        "--rate-limit-resource=R2:8:1",
        "--rate-limit-resource=R1:9:-1",
        "--host-policy=gpu_0,cpu-cores=0-3,8-11",
    ]);
    let mut resources = ResourceLimits::default();
    for (name, count, device) in [("R1", 9, None), ("R2", 5, Some(0)), ("R2", 8, Some(1))] {
        resources.add(name, count, device);
    }
    assert_eq!(o.rate_limit, RateLimitOptions { enabled: true, resources });
    let mut policies = HostPolicies::default();
    policies.set("gpu_0", "cpu-cores", "0-3,8-11").unwrap();
    assert_eq!(o.host_policies, policies);
    assert!(
        !options(&["--rate-limit=execution_count", "--rate-limit=off"]).rate_limit.enabled,
        "the last one counts"
    );
    let warnings = run(&["--host-policy=cpu,numa-node=0", "--host-policy=cpu,numa-node=1"]).1;
    assert_eq!(
        warnings,
        ["'--host-policy <policy>,numa-node' binds no memory; it comes from the nodes of cpu-cores."]
    );
}

#[test]
fn gpus() {
    let defaults =
        GpuOptions { min_compute_capability: 7.5, pinned_pool_bytes: 1 << 28, load_limits: [].into() };
    assert_eq!(options(&[]).gpus, defaults);
    let (o, warnings) = run(&[
        "--min-supported-compute-capability=8",
        "--pinned-memory-pool-byte-size=0",
        "--cuda-memory-pool-byte-size=0:1048576",
        "--model-load-gpu-limit=0:0.5",
        "--model-load-gpu-limit=1:1",
        "--model-load-gpu-limit=0:0.75",
    ]);
    let load_limits = [(0, 0.75), (1, 1.0)].into();
    assert_eq!(o.gpus, GpuOptions { min_compute_capability: 8.0, pinned_pool_bytes: 0, load_limits });
    assert!(warnings.is_empty(), "{warnings:?}");
    for (value, reason) in [
        (
            "0:1.5",
            "setting model load GPU limit: expects limit fraction to be in range [0.0, 1.0], got 1.500000",
        ),
        (
            "0:-0.1",
            "setting model load GPU limit: expects limit fraction to be in range [0.0, 1.0], got -0.100000",
        ),
        ("0:NaN", "setting model load GPU limit: expects limit fraction to be in range [0.0, 1.0], got NaN"),
        ("-1:0.5", "setting model load GPU limit: expects device ID >= 0, got -1"),
        (
            "0.5",
            "Cannot parse pair option due to incorrect number of inputs.--<pair option> argument requires format \
             <first>:<second>. Found: 0.5",
        ),
        ("0:half", "Invalid option value. Got half"),
    ] {
        let flag = format!("--model-load-gpu-limit={value}");
        refused(&[&flag], &format!("Bad option: \"--model-load-gpu-limit\".\n{reason}"));
    }
    refused(
        &["--pinned-memory-pool-byte-size=-1"],
        "Bad option: \"--pinned-memory-pool-byte-size\".\nProvided option value is out of bound. Got -1",
    );
}
