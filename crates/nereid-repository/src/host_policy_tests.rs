use nereid_core::testing::{TestInstance, identity_config, identity_request};
use nix::sched::sched_getaffinity;

use super::*;

fn policies(settings: &[(&str, &str, &str)]) -> HostPolicies {
    let mut policies = HostPolicies::default();
    for (policy, setting, value) in settings {
        policies.set(policy, setting, value).unwrap();
    }
    policies
}

fn own_cpus() -> Vec<usize> {
    cpus(&sched_getaffinity(Pid::from_raw(0)).unwrap())
}

fn cpus(set: &CpuSet) -> Vec<usize> {
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).collect()
}

#[test]
fn settings() {
    let check = |text: &str, expected: &[usize]| match parse(text).unwrap() {
        Cores::These(set) => assert_eq!(cpus(&set), expected, "{text}"),
        Cores::All => panic!("{text}"),
    };
    check("0-0", &[0]);
    check("2-4", &[2, 3, 4]);
    check("0-1,8-9", &[0, 1, 8, 9]);
    check("3-2", &[]);
    let policies =
        policies(&[("cpu", "cpu-cores", "0-3"), ("cpu", "cpu-cores", "1-1"), ("m", "numa-node", "0")]);
    assert!(
        matches!(policies.cores("cpu").unwrap(), Cores::These(set) if cpus(&set) == [1]),
        "the last one counts"
    );
    assert!(matches!(policies.cores("m").unwrap(), Cores::All));
    assert!(matches!(policies.cores("gpu_0").unwrap(), Cores::All));
    assert!(policies.bind_memory() && !HostPolicies::default().bind_memory());
}

#[test]
fn refusals() {
    let check = |setting: &str, value: &str, expected: &str| {
        let error = policies(&[("p", setting, value)]).cores("p").unwrap_err();
        assert_eq!(error.message(), expected, "{setting}={value}");
    };
    let format = "host policy setting 'cpu-cores' format is '<lower_cpu_core_id>-<upper_cpu_core_id>'. Got ";
    check("cpu-cores", "3", &format!("{format}3"));
    check("cpu-cores", "0-1,3", &format!("{format}3"));
    check("cpu-cores", "a-2", "Parsing 'cpu-cores' value: Can't parse 'a' to integer");
    check("cpu-cores", "-1-2", "Parsing 'cpu-cores' value: Can't parse '' to integer");
    check("cpu-cores", "0-999999999", "Unable to set NUMA thread affinity: Invalid argument");
    check("numa-node", "near", "Parsing 'numa-node' value: Can't parse 'near' to integer");
    let error = HostPolicies::default().set("p", "cores", "0").unwrap_err();
    let expected = "Unsupported host policy setting 'cores' is specified, supported settings are 'numa-node', 'cpu-cores'";
    assert_eq!(error.message(), expected);
}

#[test]
fn instances_and_what_they_start_keep_to_their_cpus() {
    let all = own_cpus();
    let last = *all.last().unwrap();
    let policies = policies(&[("cpu", "cpu-cores", &format!("{last}-{last}"))]);
    let cores = policies.cores("cpu").unwrap();
    let seen = cores.run(|| Ok((own_cpus(), thread::spawn(own_cpus).join().unwrap()))).unwrap();
    assert_eq!(seen, (vec![last], vec![last]));
    assert_eq!(own_cpus(), all, "the loading thread is as it was");

    let instance = TestInstance::with_hook(move |_| {
        assert_eq!(own_cpus(), [last]);
        Ok(())
    });
    let mut instance = cores.keep(Box::new(instance));
    assert!(instance.needs_own_thread());
    let config = identity_config(0);
    let request = identity_request(&config, 1, 1.0);
    thread::scope(|scope| {
        scope.spawn(|| instance.execute(&Batch::new(&config, &[&request])).unwrap());
    });
    let error = policies_without_cpus().run(|| Ok(())).unwrap_err();
    assert_eq!(error.message(), "Unable to set NUMA thread affinity: Invalid argument");
}

fn policies_without_cpus() -> Cores {
    policies(&[("cpu", "cpu-cores", "1-0")]).cores("cpu").unwrap()
}
