//! Which requests make a batch, and when, on a paused clock.

use nereid_core::Error;
use nereid_core::config::{Direct, Scheduling};

use super::super::bench::Flags::{End, Middle, Only, Start};
use super::super::bench::{Bench, at, column, config, direct, oldest, values};
use super::super::hold::Hold;
use super::*;

#[test]
fn a_row_is_a_slot_and_idle_ones_below_are_filled() {
    let mut bench = Bench::new(config(direct(), 4), 1);
    for id in 1..=3 {
        bench.send(id, Start, id as f32);
    }
    let job = bench.take(0).unwrap();
    assert_eq!(values(&job), [1.0, 2.0, 3.0], "up to the highest slot in use");
    assert_eq!(
        (column(&job, 1), column(&job, 2), column(&job, 3)),
        (vec![1.0; 3], vec![0.0; 3], vec![1.0; 3])
    );
    bench.finish(0, job, Ok);
    bench.send(3, End, 33.0);
    bench.send(2, Middle, 22.0);
    let job = bench.take(0).unwrap();
    assert_eq!(values(&job), [0.0, 22.0, 33.0]);
    assert_eq!(column(&job, 1), [0.0; 3], "START");
    assert_eq!(column(&job, 2), [0.0, 0.0, 1.0], "END");
    assert_eq!(column(&job, 3), [0.0, 1.0, 1.0], "READY");
    let ids: Vec<_> = job.entries.iter().map(|entry| entry.request.inputs()[4].data[0]).collect();
    assert_eq!(ids, [0, 2, 3], "CORRID");
    assert!(job.entries[0].request.is_null());
    bench.finish(0, job, Ok);
    bench.send(1, Middle, 11.0);
    assert_eq!(bench.run(0), [11.0]);
}

#[test]
fn a_state_stays_with_its_sequence_and_survives_a_failure() {
    let mut bench = Bench::new(config(direct(), 2), 1);
    bench.send(1, Start, 1.0);
    bench.send(2, Start, 2.0);
    assert_eq!(bench.run(0), [1.0, 2.0]);
    bench.send(2, Middle, 3.0);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![0.0, 3.0], vec![0.0, 2.0]));
    bench.finish(0, job, |_| Err(Error::internal("failed")));
    bench.send(1, Middle, 4.0);
    bench.send(2, End, 5.0);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![4.0, 5.0], vec![1.0, 2.0]));
    bench.send(3, Start, 6.0); // gets the slot of 2, whose last request still runs
    bench.finish(0, job, Ok);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![0.0, 6.0], vec![0.0, -1.0]));
}

#[test]
fn batches_wait_for_company_as_the_config_says() {
    let rule = Direct { max_queue_delay_us: 100, minimum_slot_utilization: 0.5 };
    let mut bench = Bench::new(config(Strategy::Direct(rule), 4), 1);
    bench.send(1, Start, 1.0);
    bench.now = 40;
    assert!(matches!(bench.sequencer.plan(0, at(40)), Plan::Wait { until } if until == at(101)));
    bench.send(2, Start, 2.0);
    assert_eq!(bench.run(0), [1.0, 2.0], "half of the slots have a request");
    bench.send(1, Middle, 3.0);
    assert_eq!(bench.run(0), []);
    bench.now = 141;
    assert_eq!(bench.run(0), [3.0], "its time is over");
    bench.send(2, Middle, 4.0);
    bench.sequencer.close();
    assert_eq!(bench.run(0), [0.0, 4.0], "nobody else can come");
}

#[test]
fn other_shapes_go_in_other_batches_and_nobody_starves() {
    let mut bench = Bench::new(config(direct(), 4), 1);
    let mut send = |id, flags, value, width| bench.try_send(id, flags, value, width, 0).map(drop);
    for (flags, add) in [(Start, 0.0), (Middle, 0.25), (End, 0.5)] {
        for (id, width) in [(1, 2), (2, 2), (3, 1), (4, 3)] {
            send(id, flags, id as f32 + add, width).unwrap();
        }
    }
    let batches: Vec<_> = std::iter::from_fn(|| bench.run_with(0, Ok)).collect();
    let expected = [0.0, 0.25, 0.5].map(|add| {
        [vec![1.0 + add, 2.0 + add, 0.0, 0.0], vec![0.0, 0.0, 3.0 + add, 0.0], vec![0.0, 0.0, 0.0, 4.0 + add]]
    });
    assert_eq!(
        batches,
        expected.as_flattened(),
        "twelve requests in nine batches of four rows, as in Triton"
    );
}

#[test]
fn oldest_runs_one_request_of_a_sequence_at_a_time() {
    let mut bench = Bench::new(config(oldest(8), 4), 1);
    for value in [1.0, 1.5, 1.75] {
        bench.send(1, if value == 1.0 { Start } else { Middle }, value);
    }
    bench.send(2, Start, 2.0);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![1.0, 2.0], vec![-1.0; 2]), "no null requests");
    assert!(bench.take(0).is_none(), "the next one of 1 waits for the state");
    bench.send(3, Start, 3.0);
    bench.finish(0, job, Ok);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![3.0, 1.5], vec![-1.0, 1.0]), "oldest first");
    bench.finish(0, job, Ok);
    assert_eq!(bench.run(0), [1.75]);
}

#[test]
fn oldest_has_so_many_candidates_and_a_slot_waits_for_the_end_of_its_last_request() {
    let mut bench = Bench::new(config(oldest(2), 4), 1);
    for id in 1..=3 {
        bench.send(id, Only, id as f32);
    }
    assert_eq!(bench.sequencer.pending(), 3);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), bench.take(0).is_none()), (vec![1.0, 2.0], true));
    bench.finish(0, job, Ok);
    assert_eq!((bench.run(0), bench.sequencer.pending()), (vec![3.0], 0));
}

#[test]
fn iterative_requests_need_no_id_and_leave_their_slot() {
    let mut config = config(direct(), 1);
    let Scheduling::Sequence(batching) = &mut config.scheduling else { unreachable!() };
    batching.iterative = true;
    let mut bench = Bench::new(config, 1);
    bench.send(0, Middle, 1.0);
    bench.send(0, Middle, 2.0);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 1), column(&job, 2)), (vec![1.0], vec![1.0], vec![0.0]));
    assert!(bench.take(0).is_none());
    bench.finish(0, job, Ok);
    let job = bench.take(0).unwrap();
    assert_eq!((values(&job), column(&job, 5)), (vec![2.0], vec![-1.0]), "a sequence of its own");
}

#[test]
fn the_test_hooks_hold_batches_back() {
    let hold = Hold::new(2, 1, 2);
    let mut bench = Bench::held(config(direct(), 1), 2, hold);
    bench.send(1, Start, 1.0);
    bench.send(2, Start, 2.0);
    assert_eq!((bench.run(0), bench.run(1)), (vec![], vec![]), "nothing in the backlog");
    bench.send(3, Only, 3.0);
    assert_eq!((bench.run(0), bench.run(1)), (vec![1.0], vec![2.0]));
    bench.send(1, End, 4.0);
    assert_eq!((bench.run(0), bench.run(0)), (vec![4.0], vec![3.0]), "once only");
    let mut bench = Bench::held(config(oldest(4), 4), 1, Hold::new(2, 0, 1));
    bench.send(1, Start, 1.0);
    bench.send(1, Middle, 2.0);
    assert_eq!(bench.run(0), [], "one request is ready");
    bench.send(2, Start, 3.0);
    assert_eq!(bench.run(0), [1.0, 3.0]);
    let mut bench = Bench::held(config(direct(), 4), 1, Hold::new(9, 0, 1));
    bench.send(1, Start, 1.0);
    bench.sequencer.stop();
    assert_eq!(bench.run(0), [1.0], "a scheduler that stops holds nothing back");
}
