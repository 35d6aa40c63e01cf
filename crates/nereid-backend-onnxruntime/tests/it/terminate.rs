//! Stopping a run from another thread. The run would go on for ever: each of these tests ends because it is
//! stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use nereid_core::DataType::{Bool, Int64};
use nereid_core::backend::Instance;
use nereid_core::config::InstanceSpec;

use crate::fixture::{Fixture, config, cpu, input, output};
use crate::onnx::{Attribute, Graph, longs};

const LONG: Duration = Duration::from_secs(60);

/// Negates `y`, which starts as 7, `rounds` times; other than a single node, a loop is never too long to stop.
fn looping() -> Fixture {
    let body = Graph::new()
        .input("round", Int64, &[])
        .input("going_in", Bool, &[])
        .input("y_in", Int64, &[1])
        .output("going_out", Bool, &[])
        .output("y_out", Int64, &[1])
        .node("Identity", &["going_in"], &["going_out"])
        .node("Neg", &["y_in"], &["y_out"]);
    let model = Graph::new()
        .input("rounds", Int64, &[1])
        .output("y", Int64, &[1])
        .initializer("seven", Int64, &[1], &longs(&[7]))
        .node_with("Loop", &["rounds", "", "seven"], &["y"], &[Attribute::Graph("body", body)])
        .build();
    Fixture::new(config(0, vec![input("rounds", Int64, &[1])], vec![output("y", Int64, &[1])]), &model)
}

fn run(fixture: &Fixture, instance: &mut dyn Instance, rounds: i64) -> Result<Vec<u8>, String> {
    let request = fixture.request(&[("rounds", &[1], &longs(&[rounds]))]);
    let responses = fixture.run(instance, &[request]).map_err(|e| e.message().to_owned())?;
    Ok(responses[0].outputs[0].data.to_vec())
}

/// User time of a thread in clock ticks, from its `stat`.
fn ticks(task: &Path) -> u64 {
    let stat = fs::read_to_string(task.join("stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap();
    fields.split_whitespace().nth(11).unwrap().parse().unwrap()
}

const STOPPED: &str = "Exiting due to terminate flag";

#[test]
fn a_run_ends_when_it_is_told_so_and_the_instance_runs_again() {
    let fixture = looping();
    let mut instance = fixture.instance();
    let terminator = instance.terminator().unwrap();
    assert_eq!(run(&fixture, &mut *instance, 3).unwrap(), longs(&[-7]));
    for _ in 0..3 {
        let (entered, task) = mpsc::channel();
        std::thread::scope(|scope| {
            let (fixture, instance) = (&fixture, &mut instance);
            let running = scope.spawn(move || {
                entered.send(Path::new("/proc").join(fs::read_link("/proc/thread-self").unwrap())).unwrap();
                run(fixture, &mut **instance, i64::MAX)
            });
            let task: PathBuf = task.recv_timeout(LONG).unwrap();
            let before = ticks(&task);
            while ticks(&task) < before + 5 {
                std::thread::yield_now(); // until the run has used 50 ms
            }
            terminator.terminate();
            let error = running.join().unwrap().unwrap_err();
            assert!(error.contains(STOPPED), "{error}");
        });
        terminator.reset();
        assert_eq!(run(&fixture, &mut *instance, 2).unwrap(), longs(&[7]));
    }
}

#[test]
fn a_word_that_comes_before_the_run_counts() {
    let fixture = looping();
    let mut instance = fixture.instance();
    let terminator = instance.terminator().unwrap();
    terminator.terminate();
    let error = run(&fixture, &mut *instance, i64::MAX).unwrap_err();
    assert!(error.contains(STOPPED), "{error}");
    terminator.reset();
    assert_eq!(run(&fixture, &mut *instance, 1).unwrap(), longs(&[-7]));
}

#[test]
fn other_instances_of_the_session_run_on() {
    let fixture = looping();
    let model = fixture.load().unwrap();
    let [mut stopped, mut other] =
        [cpu(), cpu()].map(|spec: InstanceSpec| model.create_instance(&spec).unwrap());
    stopped.terminator().unwrap().terminate();
    assert_eq!(run(&fixture, &mut *other, 1).unwrap(), longs(&[-7]));
    assert!(run(&fixture, &mut *stopped, 1).is_err());
}
