//! The rate limiter and host policies on the command line.

use nereid_repository::HostPolicies;
use nereid_scheduler::ResourceLimits;

use super::*;
use crate::cli::options::RateLimitOptions;

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
