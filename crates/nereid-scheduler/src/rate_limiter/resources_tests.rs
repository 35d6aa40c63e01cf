use nereid_core::config::{InstanceKind, RateLimiterSpec};

use super::*;

const GPU: InstanceKind = InstanceKind::Gpu { device: 1 };

fn resource(text: &str) -> ResourceSpec {
    let (name, count) = text.split_once(':').unwrap();
    let (name, global) = name.strip_prefix('*').map_or((name, false), |name| (name, true));
    ResourceSpec { name: name.into(), global, count: count.parse().unwrap() }
}

/// What an instance needs that lists `texts`: `R:2`, or `*R:2` for a global resource.
fn needs_of(kind: InstanceKind, texts: &[&str]) -> Needs {
    let rate_limiter =
        RateLimiterSpec { resources: texts.iter().map(|t| resource(t)).collect(), ..Default::default() };
    needs(&InstanceSpec { kind, rate_limiter, ..Default::default() })
}

fn cpu(texts: &[&str]) -> Needs {
    needs_of(InstanceKind::Cpu, texts)
}

/// Of `R:10` or `R:5:1`.
fn limits(texts: &[&str]) -> ResourceLimits {
    let mut limits = ResourceLimits::default();
    for text in texts {
        let mut parts = text.split(':');
        let (name, count) = (parts.next().unwrap(), parts.next().unwrap().parse().unwrap());
        limits.add(name, count, parts.next().map(|device| device.parse().unwrap()));
    }
    limits
}

fn on(device: i32, name: &str) -> Key {
    (Place::Device(device), name.into())
}

fn global(name: &str) -> Key {
    (Place::Global, name.into())
}

#[test]
fn there_are_as_many_copies_as_the_largest_need() {
    // The example of Triton's manual.
    let instances = [cpu(&["R1:4", "R2:4"]), cpu(&["R2:5", "R3:10", "R4:5"]), cpu(&["R1:1", "R3:7", "R4:2"])];
    let mut resources = Resources::default();
    instances.iter().for_each(|needs| resources.add(needs).unwrap());
    let counts = |resources: &Resources| ["R1", "R2", "R3", "R4"].map(|r| resources.count(&on(0, r)).0);
    assert_eq!(counts(&resources), [4, 5, 10, 5]);
    resources.recount([&instances[0], &instances[2]].into_iter());
    assert_eq!(counts(&resources), [4, 4, 7, 2], "what is gone does not count");
    resources.recount([].into_iter());
    assert_eq!(counts(&resources), [0; 4]);
}

#[test]
fn each_device_has_its_own_and_a_global_one_is_shared() {
    let (on_cpu, on_gpu) = (cpu(&["R:1", "*G:1"]), needs_of(GPU, &["R:1", "*G:1"]));
    let mut resources = Resources::default();
    [&on_cpu, &on_gpu].into_iter().for_each(|needs| resources.add(needs).unwrap());
    resources.take(&cpu(&["R:1"]));
    assert!(!resources.are_free(&on_cpu));
    assert!(resources.are_free(&on_gpu));
    assert!(needs_of(InstanceKind::Model, &["R:1"]).contains_key(&on(0, "R")), "as in Triton");
    resources.give_back(&cpu(&["R:1"]));
    resources.take(&on_gpu);
    assert!(!resources.are_free(&on_cpu));
    resources.give_back(&on_gpu);
    assert!(resources.are_free(&on_cpu));
}

#[test]
fn what_the_server_was_told_is_in_force() {
    let mut resources = Resources::new(limits(&["R1:10", "R2:5:0", "R2:8:1", "R3:2", "R1:12", "R3:9:7"]));
    resources.add(&cpu(&["R1:1", "R2:5", "*R3:1"])).unwrap();
    resources.add(&needs_of(GPU, &["R1:10", "R2:7"])).unwrap();
    let expected =
        [(on(0, "R1"), 10), (on(1, "R1"), 10), (on(0, "R2"), 5), (on(1, "R2"), 8), (global("R3"), 9)];
    for (key, count) in &expected {
        assert_eq!(resources.count(key).0, *count, "{key:?}");
    }
    resources.recount([&cpu(&["R1:1"])].into_iter());
    assert_eq!(resources.count(&on(0, "R1")).0, 10);
}

#[test]
fn refusals() {
    let check = |given: &[&str], before: &[&str], needs: &Needs, expected: &str| {
        let mut resources = Resources::new(limits(given));
        resources.add(&cpu(before)).unwrap();
        let known = resources.copies.clone();
        let error = resources.add(needs).unwrap_err();
        assert_eq!((error.code(), error.message()), (nereid_core::ErrorCode::InvalidArg, expected));
        assert_eq!(resources.copies, known, "nothing has changed");
    };
    let limited = |name: &str, limit: u64, needed: u64| {
        format!(
            "Resource count for \"{name}\" is limited to {limit} which will prevent scheduling of one or more model \
             instances, the minimum required count is {needed}"
        )
    };
    check(&["R:3"], &["R:3"], &cpu(&["R:4"]), &limited("R", 3, 4));
    check(&["R:10:10"], &[], &cpu(&["R:4"]), &limited("R", 0, 4));
    check(&["S:1"], &[], &cpu(&["R:4"]), &limited("R", 0, 4));
    check(&["S:1"], &[], &cpu(&["*R:1", "S:2"]), &limited("R", 0, 1));
    check(&["R:4:0"], &["R:4"], &needs_of(GPU, &["R:1"]), &limited("R", 0, 1));
    let both =
        "Resource \"R\" is present as both global and device-specific resource in the model configuration.";
    check(&[], &["R:1"], &cpu(&["*R:1"]), both);
    check(&[], &["*R:1"], &needs_of(GPU, &["R:1"]), both);
    check(&[], &[], &cpu(&["*R:1", "R:1"]), both);
    check(&["R:4"], &["*R:1"], &cpu(&["R:1"]), both);
}

#[test]
fn fewer_copies_than_are_in_use_block_until_they_are_back() {
    let (large, small) = (cpu(&["R:8"]), cpu(&["R:4"]));
    let mut resources = Resources::default();
    [&large, &small].into_iter().for_each(|needs| resources.add(needs).unwrap());
    resources.take(&small);
    resources.take(&small);
    resources.recount([&small].into_iter());
    assert_eq!((resources.count(&on(0, "R")), resources.are_free(&small)), ((4, 8), false));
    resources.give_back(&small);
    assert!(!resources.are_free(&small));
    resources.give_back(&small);
    assert!(resources.are_free(&small));
}
