//! Batching decisions on a paused clock, each a row of (preferred, delay, queue, now) → decision.

use nereid_core::Responder;
use nereid_core::testing::{identity_config, identity_request};

use super::super::queue::Entry;
use super::*;

fn at(us: u64) -> Timestamp {
    Timestamp::from_ns(us * 1000)
}

fn config(preferred: &[u32], delay_us: u64) -> ModelConfig {
    ModelConfig {
        scheduling: Scheduling::DynamicBatching(DynamicBatching {
            preferred_batch_sizes: preferred.to_vec(),
            max_queue_delay_us: delay_us,
            ..Default::default()
        }),
        ..identity_config(8)
    }
}

/// A queue of requests of the given rows, the i-th enqueued at i µs.
fn queue(config: &ModelConfig, rows: &[u32]) -> Queue {
    let mut queue = Queue::unlimited();
    for (i, rows) in rows.iter().enumerate() {
        let request = identity_request(config, *rows, 0.0);
        queue.push(Entry::new(request, Responder::nobody(), at(i as u64))).unwrap();
    }
    queue
}

#[track_caller]
fn check(preferred: &[u32], delay_us: u64, rows: &[u32], now_us: u64, expected: Decision) {
    let config = config(preferred, delay_us);
    let decision = Batcher::new(&config).decide(&queue(&config, rows), at(now_us));
    assert_eq!(decision, expected, "preferred {preferred:?}, delay {delay_us}, rows {rows:?}, now {now_us}");
}

fn run(requests: usize) -> Decision {
    Decision::Run { requests }
}

#[test]
fn without_delay_everything_goes_up_to_the_best_preferred_size() {
    check(&[8], 0, &[], 0, Decision::Idle);
    check(&[8], 0, &[1], 0, run(1));
    check(&[8], 0, &[1; 5], 0, run(5));
    check(&[8], 0, &[1; 20], 0, run(8));
    check(&[4, 8], 0, &[1; 6], 0, run(4));
    check(&[4, 8], 0, &[1; 9], 0, run(8));
    check(&[4], 0, &[1; 3], 0, run(3));
    check(&[4], 0, &[3, 3], 0, run(1)); // would pass the largest preferred size: marked before
    check(&[4], 0, &[5], 0, run(1)); // larger than every preferred size: runs as it is
    check(&[8], 0, &[5, 5], 0, run(1)); // cannot share a batch of 8
}

#[test]
fn with_delay_a_batch_waits_until_it_is_due_full_or_preferred() {
    check(&[4, 8], 100, &[1; 3], 50, Decision::Wait { until: at(100), rows: 4 });
    check(&[4, 8], 100, &[1; 4], 50, run(4));
    check(&[4, 8], 100, &[1; 5], 50, run(4));
    check(&[4, 8], 100, &[1; 5], 100, run(5)); // the delay has passed: everything goes
    check(&[4, 8], 100, &[1; 3], 100, run(3));
    check(&[4], 100, &[3, 3], 50, run(1));
    check(&[8], 100, &[7, 5], 50, run(1)); // the next one cannot join
    check(&[8], 100, &[7], 50, Decision::Wait { until: at(100), rows: 8 });
    check(&[4], 100, &[5], 50, run(1)); // nothing preferred can be reached any more
}

#[test]
fn different_shapes_do_not_share_a_batch() {
    let config = config(&[8], 1000);
    let mut queue = queue(&config, &[1, 1]);
    let wide = nereid_core::InferRequest {
        inputs: vec![nereid_core::InputTensor {
            name: "INPUT0".into(),
            datatype: nereid_core::DataType::Fp32,
            shape: nereid_core::Shape::from_slice(&[1, 2]),
            data: bytes_of(8),
        }],
        ..Default::default()
    };
    let wide = ValidRequest::new(wide, &config).unwrap();
    queue.push(Entry::new(wide, Responder::nobody(), at(2))).unwrap();
    assert_eq!(Batcher::new(&config).decide(&queue, at(3)), run(2), "sent at once: it cannot grow");
}

/// A request of one row: its inputs, each with its position and the size of its only dimension.
fn request(config: &ModelConfig, inputs: &[(usize, i64)]) -> ValidRequest {
    let tensor = |(index, size): &(usize, i64)| nereid_core::InputTensor {
        name: config.inputs[*index].name.to_string(),
        datatype: nereid_core::DataType::Fp32,
        shape: nereid_core::Shape::from_slice(&[1, *size]),
        data: bytes_of(4 * *size as usize),
    };
    let inputs = inputs.iter().map(tensor).collect();
    ValidRequest::new(nereid_core::InferRequest { inputs, ..Default::default() }, config).unwrap()
}

/// How many of two requests run together.
#[track_caller]
fn check_pair(config: &ModelConfig, first: &[(usize, i64)], second: &[(usize, i64)], expected: usize) {
    let mut queue = Queue::unlimited();
    for inputs in [first, second] {
        queue.push(Entry::new(request(config, inputs), Responder::nobody(), at(0))).unwrap();
    }
    let decision = Batcher::new(config).decide(&queue, at(0));
    assert_eq!(decision, run(expected), "{first:?} and {second:?}");
}

#[test]
fn what_must_agree_between_requests() {
    let input = |name: &str| nereid_core::config::InputConfig {
        name: name.into(),
        ..identity_config(8).inputs.remove(0)
    };
    let with = |change: &dyn Fn(&mut [nereid_core::config::InputConfig])| {
        let mut config = ModelConfig { inputs: vec![input("a"), input("b")], ..config(&[8], 0) };
        change(&mut config.inputs);
        config
    };
    let plain = with(&|_| {});
    check_pair(&plain, &[(0, 1), (1, 2)], &[(0, 1), (1, 2)], 2);
    check_pair(&plain, &[(0, 1), (1, 2)], &[(0, 1), (1, 3)], 1);
    let ragged = with(&|inputs| inputs[1].allow_ragged_batch = true);
    check_pair(&ragged, &[(0, 1), (1, 2)], &[(0, 1), (1, 3)], 2);
    check_pair(&ragged, &[(0, 1), (1, 2)], &[(0, 2), (1, 2)], 1);
    let optional = with(&|inputs| inputs[0].optional = true);
    check_pair(&optional, &[(1, 2)], &[(1, 2)], 2);
    check_pair(&optional, &[(1, 2)], &[(1, 3)], 1);
    check_pair(&optional, &[(1, 2)], &[(0, 2), (1, 2)], 1);
    check_pair(&optional, &[(0, 1), (1, 2)], &[(0, 1), (1, 2)], 2);
    let both = with(&|inputs| inputs.iter_mut().for_each(|input| input.optional = true));
    check_pair(&both, &[(0, 2)], &[(1, 2)], 1); // as many, but not the same
    let fixed = with(&|inputs| {
        inputs[0].optional = true;
        inputs.iter_mut().for_each(|input| input.dims = vec![2]);
    });
    check_pair(&fixed, &[(1, 2)], &[(1, 2)], 2);
    check_pair(&fixed, &[(1, 2)], &[(0, 2), (1, 2)], 1);
    let both_ragged = with(&|inputs| inputs.iter_mut().for_each(|input| input.allow_ragged_batch = true));
    assert!(!Batcher::new(&both_ragged).compares_inputs(), "nothing to compare");
}

#[test]
fn values_of_shape_tensors_agree() {
    let mut config = config(&[8], 0);
    config.inputs.push(nereid_core::config::InputConfig {
        name: "s".into(),
        form: nereid_core::config::TensorForm::Shape,
        ..config.inputs[0].clone()
    });
    config.inputs[0].dims = vec![1];
    let request = |values: &[u8]| {
        let tensor = |name: &str, shape: &[i64], data: &[u8]| nereid_core::InputTensor {
            name: name.into(),
            datatype: nereid_core::DataType::Fp32,
            shape: nereid_core::Shape::from_slice(shape),
            data: bytes::Bytes::copy_from_slice(data),
        };
        let inputs =
            vec![tensor("INPUT0", &[1, 1], &[0; 4]), tensor("s", &[values.len() as i64 / 4], values)];
        ValidRequest::new(nereid_core::InferRequest { inputs, ..Default::default() }, &config).unwrap()
    };
    let batcher = Batcher::new(&config);
    assert!(batcher.compares_inputs());
    assert!(batcher.joins(&request(&[1, 0, 0, 0]), &request(&[1, 0, 0, 0])));
    // Triton stops at the first zero byte.
    assert!(!batcher.joins(&request(&[1, 0, 0, 0]), &request(&[1, 0, 2, 0])));
    assert!(!batcher.joins(&request(&[1, 0, 0, 0]), &request(&[1, 0, 0, 0, 1, 0, 0, 0])));
}

fn bytes_of(len: usize) -> bytes::Bytes {
    bytes::Bytes::from(vec![0; len])
}

#[test]
fn the_default_scheduler_and_models_that_do_not_batch_run_one_by_one() {
    let default = identity_config(8);
    assert_eq!(Batcher::new(&default).decide(&queue(&default, &[1, 1]), at(0)), run(1));
    assert_eq!(Batcher::new(&default).decide(&queue(&default, &[]), at(0)), Decision::Idle);
    let unbatched = ModelConfig { max_batch_size: 0, ..config(&[4], 100) };
    assert_eq!(Batcher::new(&unbatched).decide(&queue(&unbatched, &[1, 1]), at(0)), run(1));
}

#[test]
fn a_wait_ends_at_a_timeout_that_comes_first() {
    let mut config = config(&[8], 1000);
    let Scheduling::DynamicBatching(batching) = &mut config.scheduling else { unreachable!() };
    batching.default_queue_policy.default_timeout_us = 300;
    let mut queue = Queue::new(batching);
    queue.push(Entry::new(identity_request(&config, 1, 0.0), Responder::nobody(), at(0))).unwrap();
    assert_eq!(Batcher::new(&config).decide(&queue, at(10)), Decision::Wait { until: at(301), rows: 8 });
}
