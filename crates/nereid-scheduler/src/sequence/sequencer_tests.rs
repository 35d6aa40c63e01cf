//! Who holds a slot and who waits, on a paused clock.

use nereid_core::{ErrorCode, Responder};

use super::super::bench::Flags::{End, Middle, Only, Start};
use super::super::bench::{Bench, IDLE_US, at, column, config, direct, oldest, values};
use super::*;

const NO_START: &str = "inference request for sequence 7 to model 'identity' must specify the START flag on the first \
                        request of the sequence";

#[test]
fn what_no_sequence_can_take_is_refused() {
    let mut bench = Bench::new(config(direct(), 4), 1);
    assert_eq!(bench.refused(7, Middle), (ErrorCode::InvalidArg, NO_START.into()));
    let no_id = "inference request to model 'identity' must specify a non-zero or non-empty correlation ID";
    assert_eq!(bench.refused(0, Start), (ErrorCode::InvalidArg, no_id.into()));
    bench.send(7, Only, 1.0);
    assert_eq!(bench.refused(7, Middle), (ErrorCode::InvalidArg, NO_START.into()), "the sequence has ended");
    bench.sequencer.stop();
    let (code, message) = bench.refused(8, Start);
    assert_eq!(code, ErrorCode::Unavailable);
    assert!(message.starts_with("Server is stopping, scheduler for model has stopped"), "{message}");
    let rows = nereid_core::testing::identity_request(&bench.config, 2, 1.0);
    let entry = Entry::new(rows, Responder::nobody(), at(0));
    let refused = bench.sequencer.enqueue(entry).unwrap_err();
    let expected = "inference request to model 'identity' must specify batch-size 1 due to requirements of sequence batcher";
    assert_eq!(refused.error.message(), expected);
    assert_eq!(bench.sequencer.pending(), 1);
}

#[test]
fn sequences_spread_over_instances_and_stay_there() {
    let mut bench = Bench::new(config(direct(), 2), 2);
    for id in 1..=4 {
        bench.send(id, Start, id as f32);
    }
    assert_eq!((bench.run(0), bench.run(1)), (vec![1.0, 3.0], vec![2.0, 4.0]));
    for id in [4, 3, 2, 1] {
        bench.send(id, Middle, 10.0 + id as f32);
    }
    assert_eq!((bench.run(0), bench.run(1)), (vec![11.0, 13.0], vec![12.0, 14.0]));
}

#[test]
fn the_backlog_gets_slots_in_its_order_and_may_be_added_to() {
    let mut bench = Bench::new(config(direct(), 1), 1);
    bench.send(1, Start, 1.0);
    for id in [2, 3] {
        bench.send(id, Start, id as f32);
        bench.send(id, Middle, id as f32 + 0.5);
    }
    bench.send(2, End, 2.75);
    assert_eq!(bench.refused(8, Middle).0, ErrorCode::InvalidArg);
    assert_eq!((bench.run(0), bench.run(0), bench.sequencer.pending()), (vec![1.0], vec![], 5));
    bench.send(1, End, 1.5);
    let ran: Vec<_> = (0..6).flat_map(|_| bench.run(0)).collect();
    assert_eq!(ran, [1.5, 2.0, 2.5, 2.75, 3.0, 3.5]);
    bench.send(3, End, 3.75);
    assert_eq!(bench.run(0), [3.75]);
}

#[test]
fn a_second_start_goes_on_in_the_same_slot_with_a_fresh_state() {
    let mut bench = Bench::new(config(direct(), 2), 1);
    for (flags, value, state) in
        [(Start, 1.0, -1.0), (Middle, 2.0, 1.0), (Start, 3.0, -1.0), (Middle, 4.0, 3.0), (End, 5.0, 4.0)]
    {
        bench.send(1, flags, value);
        let job = bench.take(0).unwrap();
        assert_eq!((values(&job), column(&job, 5)), (vec![value], vec![state]));
        bench.finish(0, job, Ok);
    }
}

#[test]
fn idle_sequences_lose_their_slot() {
    let mut bench = Bench::new(config(direct(), 1), 1);
    bench.send(7, Start, 1.0);
    bench.send(2, Start, 2.0);
    bench.now = 600;
    bench.send(7, Middle, 3.0);
    assert_eq!((bench.run(0), bench.run(0)), (vec![1.0], vec![3.0]));
    assert_eq!(bench.sequencer.next_expiry(), Some(at(IDLE_US)));
    bench.expire(IDLE_US);
    assert_eq!(bench.sequencer.next_expiry(), Some(at(600 + IDLE_US)), "it had another request at 600");
    bench.expire(600 + IDLE_US - 1);
    assert_eq!(bench.run(0), []);
    bench.expire(600 + IDLE_US);
    assert_eq!(bench.refused(7, Middle), (ErrorCode::InvalidArg, NO_START.into()));
    assert_eq!(bench.run(0), [2.0], "the backlog has the slot");
    assert_eq!(bench.refused(2, Middle).0, ErrorCode::InvalidArg, "which was idle for as long");
}

#[test]
fn requests_that_wait_are_run_before_an_idle_sequence_ends() {
    let mut bench = Bench::new(config(direct(), 1), 1);
    bench.send(1, Start, 1.0);
    bench.expire(IDLE_US);
    bench.send(2, Only, 2.0);
    assert_eq!((bench.run(0), bench.run(0)), (vec![1.0], vec![2.0]));
}

#[test]
fn a_sequence_times_out_in_the_backlog_as_a_whole() {
    let mut bench = Bench::new(config(direct(), 1), 1);
    bench.try_send(1, Start, 1.0, 1, 5).unwrap(); // has a slot at once
    bench.try_send(7, Start, 7.0, 1, 500).unwrap();
    bench.try_send(7, Middle, 7.0, 1, 100).unwrap();
    bench.try_send(3, Only, 3.0, 1, 0).unwrap();
    assert_eq!(bench.sequencer.next_expiry(), Some(at(100)));
    assert_eq!((bench.expire(99), bench.expire(100)), (0, 2));
    assert_eq!(bench.refused(7, Middle), (ErrorCode::InvalidArg, NO_START.into()));
    bench.send(1, End, 1.5);
    assert_eq!((bench.run(0), bench.run(0), bench.run(0)), (vec![1.0], vec![1.5], vec![3.0]));
    assert_eq!((bench.sequencer.pending(), bench.expire(IDLE_US)), (0, 0));
}

#[test]
fn a_cancelled_request_takes_those_behind_it_along() {
    let check = |strategy: Strategy| {
        let mut bench = Bench::new(config(strategy, 1), 1);
        bench.send(7, Start, 1.0);
        bench.send(7, Middle, 2.0);
        let third = bench.send(7, Middle, 3.0);
        bench.send(7, Middle, 4.0);
        bench.send(2, Start, 5.0);
        let behind = bench.send(2, Middle, 6.0);
        bench.send(3, Only, 7.0);
        assert_eq!(bench.sequencer.cancel(third).len(), 2);
        assert_eq!(bench.sequencer.cancel(third).len(), 0, "it has left");
        assert_eq!(bench.refused(7, Middle), (ErrorCode::InvalidArg, NO_START.into()));
        assert_eq!(bench.sequencer.cancel(behind).len(), 2, "nothing of it has run: all of it goes");
        assert_eq!((bench.run(0), bench.run(0), bench.run(0)), (vec![1.0], vec![2.0], vec![7.0]));
        let only = bench.send(4, Start, 8.0);
        assert_eq!(bench.sequencer.cancel(only).len(), 1, "first of its slot");
        let running = bench.send(5, Start, 9.0);
        let job = bench.take(0).unwrap();
        assert_eq!(bench.sequencer.cancel(running).len(), 0, "it runs");
        bench.finish(0, job, Ok);
        bench.send(5, End, 10.0);
        assert_eq!((bench.run(0), bench.sequencer.pending()), (vec![10.0], 0));
    };
    check(direct());
    check(oldest(1));
}

#[test]
fn sequences_go_on_while_the_scheduler_stops_until_nobody_can_send() {
    let mut bench = Bench::new(config(direct(), 1), 1);
    bench.send(1, Start, 1.0);
    bench.send(2, Start, 2.0);
    bench.sequencer.stop();
    bench.send(1, Middle, 1.5);
    bench.send(2, Middle, 2.5);
    assert_eq!((bench.run(0), bench.run(0), bench.run(0)), (vec![1.0], vec![1.5], vec![]));
    assert!(!bench.sequencer.is_drained(0));
    bench.sequencer.close();
    assert!(!bench.sequencer.is_drained(0));
    assert_eq!(
        (bench.run(0), bench.run(0)),
        (vec![2.0], vec![2.5]),
        "the slot of 1 is free, though it did not end"
    );
    assert!(bench.sequencer.is_drained(0));
    assert_eq!(bench.sequencer.next_expiry(), None);
}

#[test]
fn a_retired_scheduler_lets_nobody_wait_for_a_sequence_that_cannot_go_on() {
    let check = |strategy: Strategy| {
        let mut bench = Bench::new(config(strategy, 1), 1);
        bench.send(1, Start, 1.0);
        bench.send(2, Start, 2.0);
        assert_eq!((bench.run(0), bench.run(0)), (vec![1.0], vec![]));
        bench.sequencer.retire();
        assert_eq!(bench.run(0), [2.0]);
        bench.send(2, Middle, 3.0);
        assert_eq!(bench.run(0), [3.0], "nobody waits for its slot");
        bench.send(3, Only, 4.0);
        assert_eq!(bench.run(0), [4.0], "who comes all the same is served");
        assert_eq!(bench.refused(2, Middle).0, ErrorCode::InvalidArg);
    };
    check(direct());
    check(oldest(1));
}

#[test]
fn slots_are_made_when_they_are_needed() {
    let mut bench = Bench::new(config(oldest(usize::MAX), 4), 2);
    for id in 1..=5 {
        bench.send(id, Only, 1.0);
    }
    assert_eq!(bench.sequencer.slots.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
    while bench.run(0).len() + bench.run(1).len() > 0 {}
    bench.send(6, Only, 1.0);
    assert_eq!(bench.sequencer.slots.iter().map(Vec::len).sum::<usize>(), 5, "used again");
}
