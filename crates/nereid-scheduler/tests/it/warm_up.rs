//! Batches on instances that have no scheduler yet.

use nereid_core::testing::{TestInstance, identity_config, identity_request};
use nereid_core::{Error, Result};
use nereid_scheduler::{Statistics, warm_up};

fn run(instance: &mut TestInstance, statistics: &Statistics) -> Result<()> {
    let config = identity_config(8);
    let requests = [1, 3].map(|rows| identity_request(&config, rows, 1.0));
    warm_up(instance, &config, requests.into(), statistics)
}

#[test]
fn counts_as_one_execution() {
    let statistics = Statistics::default();
    run(&mut TestInstance::identity(), &statistics).unwrap();
    let counts = statistics.snapshot();
    assert_eq!((counts.success.count, counts.inference_count, counts.execution_count), (2, 4, 1));
    assert_eq!(counts.batches.keys().copied().collect::<Vec<_>>(), [4]);
}

#[test]
fn failures_and_panics_are_errors_and_the_instance_can_go_on() {
    let statistics = Statistics::default();
    let failing = |what: fn() -> Result<()>| run(&mut TestInstance::with_hook(move |_| what()), &statistics);
    assert_eq!(failing(|| Err(Error::internal("no"))).unwrap_err().message(), "no");
    let error = failing(|| panic!("oh")).unwrap_err();
    assert_eq!(error.message(), "model 'identity' failed: backend panicked: oh");
    let counts = statistics.snapshot();
    assert_eq!((counts.fail.count, counts.success.count, counts.failures), (4, 0, [0, 0, 4, 0]));
}
