//! Queue rules on a paused clock.

use nereid_core::testing::{identity_config, identity_request};

use super::*;

fn at(us: u64) -> Timestamp {
    Timestamp::from_ns(us * 1000)
}

/// An entry of one row whose value is `tag`.
fn entry(tag: f32, priority: u64, timeout_us: u64, now: Timestamp) -> Entry {
    let config = identity_config(8);
    let request = nereid_core::InferRequest {
        inputs: identity_request(&config, 1, tag)
            .inputs()
            .iter()
            .map(|i| nereid_core::InputTensor {
                name: "INPUT0".into(),
                datatype: nereid_core::DataType::Fp32,
                shape: i.shape.clone(),
                data: i.data.clone(),
            })
            .collect(),
        priority,
        timeout_us,
        ..Default::default()
    };
    Entry::new(ValidRequest::new(request, &config).unwrap(), Responder::nobody(), now)
}

fn tag(entry: &Entry) -> f32 {
    f32::from_le_bytes(entry.request.inputs()[0].data[..].try_into().unwrap())
}

fn tags<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<f32> {
    entries.into_iter().map(tag).collect()
}

fn policy(action: TimeoutAction, timeout_us: u64) -> QueuePolicy {
    QueuePolicy { timeout_action: action, default_timeout_us: timeout_us, ..Default::default() }
}

#[test]
fn levels_are_served_in_order_and_unknown_ones_mean_the_default() {
    let config = DynamicBatching { priority_levels: 3, default_priority_level: 2, ..Default::default() };
    let mut queue = Queue::new(&config);
    for (tag, priority) in [(1.0, 3), (2.0, 0), (3.0, 1), (4.0, 9), (5.0, 1)] {
        queue.push(entry(tag, priority, 0, at(0))).unwrap();
    }
    assert_eq!(tags(queue.iter()), [3.0, 5.0, 2.0, 4.0, 1.0]);
    assert_eq!(tags(&queue.take(3)), [3.0, 5.0, 2.0]);
    assert_eq!((queue.len(), queue.rows()), (2, 2));
}

#[test]
fn without_levels_there_is_one_policy() {
    let one = QueuePolicy { max_queue_size: 1, ..Default::default() };
    let policies = [(0, one), (5, one)].into();
    for default_priority_level in [0, 5] {
        let config = DynamicBatching {
            default_priority_level,
            priority_queue_policies: Clone::clone(&policies),
            ..Default::default()
        };
        let mut queue = Queue::new(&config);
        for (tag, priority) in [(1.0, 5), (2.0, 0), (3.0, 1)] {
            queue.push(entry(tag, priority, 0, at(0))).unwrap();
        }
        assert_eq!(tags(queue.iter()), [1.0, 2.0, 3.0]);
    }
}

#[test]
fn levels_that_nobody_uses_any_more_do_not_pile_up() {
    let config =
        DynamicBatching { priority_levels: u64::MAX, default_priority_level: 1, ..Default::default() };
    let mut queue = Queue::new(&config);
    for level in 1..1000 {
        queue.push(entry(1.0, level, 0, at(0))).unwrap();
        assert_eq!(queue.take(1).len(), 1);
    }
    assert!(queue.levels.len() <= FEW_LEVELS, "{} levels", queue.levels.len());
    for level in (1..1000).rev() {
        queue.push(entry(level as f32, level, 0, at(0))).unwrap();
    }
    assert_eq!(tags(&queue.take(1000)), (1..1000).map(|level| level as f32).collect::<Vec<_>>());
    assert!(queue.is_empty());
}

#[test]
fn a_full_level_refuses_and_others_do_not() {
    let config = DynamicBatching {
        priority_levels: 2,
        default_priority_level: 1,
        priority_queue_policies: [(2, QueuePolicy { max_queue_size: 1, ..Default::default() })].into(),
        ..Default::default()
    };
    let mut queue = Queue::new(&config);
    queue.push(entry(1.0, 2, 0, at(0))).unwrap();
    assert_eq!(tag(&queue.push(entry(2.0, 2, 0, at(0))).unwrap_err()), 2.0);
    queue.push(entry(3.0, 1, 0, at(0))).unwrap();
    assert_eq!(queue.len(), 2);
}

#[test]
fn rejecting_takes_what_timed_out_and_nothing_else() {
    let config =
        DynamicBatching { default_queue_policy: policy(TimeoutAction::Reject, 100), ..Default::default() };
    let mut queue = Queue::new(&config);
    for (tag, now) in [(1.0, 0), (2.0, 50)] {
        queue.push(entry(tag, 0, 0, at(now))).unwrap();
    }
    assert_eq!(queue.next_deadline(), Some(at(100)));
    assert!(queue.expire(at(100)).is_empty(), "a time-out passes after its moment, not at it");
    assert_eq!(tags(&queue.expire(at(101))), [1.0]);
    assert_eq!((queue.len(), queue.next_deadline()), (1, Some(at(150))));
    assert_eq!(tags(&queue.expire(at(1000))), [2.0]);
    assert!(queue.is_empty() && queue.next_deadline().is_none());
}

#[test]
fn delaying_puts_behind_all_others_of_the_level_only_once() {
    let config =
        DynamicBatching { default_queue_policy: policy(TimeoutAction::Delay, 100), ..Default::default() };
    let mut queue = Queue::new(&config);
    queue.push(entry(1.0, 0, 0, at(0))).unwrap();
    queue.push(entry(2.0, 0, 0, at(90))).unwrap();
    assert!(queue.expire(at(101)).is_empty());
    queue.push(entry(3.0, 0, 0, at(102))).unwrap();
    assert_eq!(tags(queue.iter()), [2.0, 3.0, 1.0]);
    assert!(queue.expire(at(10_000)).is_empty());
    assert_eq!(tags(&queue.take(9)), [1.0, 2.0, 3.0]);
}

#[test]
fn a_client_may_only_shorten_a_timeout_and_only_if_allowed() {
    for (allowed, default_us, asked_us, expected) in [
        (true, 100, 10, Some(at(10))),
        (true, 100, 1000, Some(at(100))),
        (true, 0, 10, None), // a default of 0 can never be lowered
        (true, 100, 0, Some(at(100))),
        (false, 100, 10, Some(at(100))),
    ] {
        let policy =
            QueuePolicy { allow_timeout_override: allowed, ..policy(TimeoutAction::Reject, default_us) };
        let mut queue = Queue::new(&DynamicBatching { default_queue_policy: policy, ..Default::default() });
        queue.push(entry(1.0, 0, asked_us, at(0))).unwrap();
        assert_eq!(
            queue.next_deadline(),
            expected,
            "allowed {allowed}, default {default_us}, asked {asked_us}"
        );
    }
}

#[test]
fn a_shorter_timeout_of_a_later_request_passes_first() {
    let policy = QueuePolicy { allow_timeout_override: true, ..policy(TimeoutAction::Reject, 100) };
    let mut queue = Queue::new(&DynamicBatching { default_queue_policy: policy, ..Default::default() });
    queue.push(entry(1.0, 0, 0, at(0))).unwrap();
    queue.push(entry(2.0, 0, 10, at(5))).unwrap();
    assert_eq!(tags(&queue.expire(at(20))), [2.0]);
    assert_eq!(queue.next_deadline(), Some(at(100)));
    assert_eq!(tags(&queue.expire(at(101))), [1.0]);
}

#[test]
fn timeouts_that_clients_choose_pass_in_their_own_order() {
    for action in [TimeoutAction::Reject, TimeoutAction::Delay] {
        let policy = QueuePolicy { allow_timeout_override: true, ..policy(action, 1000) };
        let mut queue = Queue::new(&DynamicBatching { default_queue_policy: policy, ..Default::default() });
        // Of 0, 1, 2, … the later ones time out sooner; every third one leaves before.
        let push = |queue: &mut Queue, n: u64| queue.push(entry(n as f32, 0, 1000 - n, at(0))).unwrap();
        let tickets: Vec<_> = (0..300).map(|n| push(&mut queue, n)).collect();
        for ticket in tickets.iter().step_by(3) {
            assert!(queue.remove(*ticket).is_some());
        }
        assert_eq!(tags(&queue.take(2)), [1.0, 2.0]);
        assert_eq!(queue.next_deadline(), Some(at(701)), "early, because 299 was the last to be there");
        let rejected = queue.expire(at(702));
        assert_eq!(queue.next_deadline(), Some(at(702)), "that of 298");
        let rejected = [tags(&rejected), tags(&queue.expire(at(901)))].concat();
        let expired: Vec<f32> = (100..300).filter(|n| n % 3 != 0).map(|n| n as f32).collect();
        let others = (3..100).filter(|n| n % 3 != 0).map(|n| n as f32);
        match action {
            // 299 timed out first, the rest at once and in the order in which they came.
            TimeoutAction::Reject => {
                let mut expected = expired;
                expected.rotate_right(1);
                assert_eq!((rejected, tags(queue.iter())), (expected, others.collect()));
            }
            TimeoutAction::Delay => {
                let mut delayed = expired;
                delayed.rotate_right(1);
                assert!(rejected.is_empty());
                assert_eq!(tags(&queue.take(300)), others.chain(delayed).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn a_ticket_takes_its_request_out_once_wherever_it_stands() {
    let config = DynamicBatching {
        priority_levels: 2,
        default_priority_level: 1,
        default_queue_policy: policy(TimeoutAction::Delay, 100),
        ..Default::default()
    };
    let mut queue = Queue::new(&config);
    let tickets: Vec<_> = [(1.0, 1, 0), (2.0, 1, 0), (3.0, 1, 150), (4.0, 2, 150), (5.0, 2, 150)]
        .map(|(tag, priority, us)| queue.push(entry(tag, priority, 0, at(us))).unwrap())
        .into();
    assert!(queue.expire(at(101)).is_empty()); // 1 and 2 are delayed
    assert_eq!(tags(queue.iter()), [3.0, 1.0, 2.0, 4.0, 5.0]);
    for (ticket, left) in [
        (tickets[1], &[3.0, 1.0, 4.0, 5.0][..]),
        (tickets[3], &[3.0, 1.0, 5.0]),
        (tickets[2], &[1.0, 5.0]),
        (tickets[0], &[5.0]),
        (tickets[4], &[]),
    ] {
        assert!(queue.remove(ticket).is_some());
        assert!(queue.remove(ticket).is_none());
        assert_eq!((tags(queue.iter()), queue.len(), queue.rows()), (left.to_vec(), left.len(), left.len()));
    }
    assert_eq!(queue.next_deadline(), None);
    let gone = queue.push(entry(6.0, 1, 0, at(0))).unwrap();
    assert_eq!(tags(&queue.take(1)), [6.0]);
    assert!(queue.remove(gone).is_none());
}
