//! Delays, which would last for weeks: each of these tests ends because they are cut short, or is about instances
//! without one.

use std::sync::mpsc;
use std::thread;

use bytes::Bytes;
use nereid_core::backend::Instance;
use nereid_core::{DataType, ErrorCode, ModelConfig, ValidRequest};

use crate::fixture::{config, create, instance, load, request, run};

fn slow() -> ModelConfig {
    let parameters = [("execute_delay_ms".to_owned(), i32::MAX.to_string())].into();
    ModelConfig { parameters, ..config(0, &[(DataType::Int8, &[1])]) }
}

fn one(config: &ModelConfig) -> ValidRequest {
    request(config, &[("INPUT0", &[1], Bytes::from_static(b"a"))], &[])
}

fn outcome(instance: &mut dyn Instance, config: &ModelConfig) -> Result<(), ErrorCode> {
    run(instance, config, &[one(config)]).map(drop).map_err(|e| e.code())
}

#[test]
fn a_delay_ends_when_it_is_told_so_and_again() {
    let config = slow();
    let mut instance = instance(&config);
    let terminator = instance.terminator().unwrap();
    for _ in 0..3 {
        let (about_to, entered) = mpsc::channel();
        thread::scope(|scope| {
            let (instance, config) = (&mut instance, &config);
            let running = scope.spawn(move || {
                about_to.send(()).unwrap();
                outcome(&mut **instance, config)
            });
            entered.recv().unwrap();
            terminator.terminate(); // before or while it waits: both must do
            assert_eq!(running.join().unwrap(), Err(ErrorCode::Cancelled));
        });
        terminator.reset();
    }
}

#[test]
fn a_word_that_comes_before_counts_and_can_be_taken_back() {
    let config = ModelConfig {
        parameters: [("execute_delay_ms".to_owned(), "1".to_owned())].into(),
        ..config(0, &[(DataType::Int8, &[1])])
    };
    let mut instance = instance(&config);
    let terminator = instance.terminator().unwrap();
    terminator.terminate();
    assert_eq!(outcome(&mut *instance, &config), Err(ErrorCode::Cancelled));
    terminator.reset();
    assert_eq!(outcome(&mut *instance, &config), Ok(()));
}

#[test]
fn other_instances_and_models_without_a_delay_run_on() {
    let config = slow();
    let model = load(&config).unwrap();
    let [mut stopped, other] = [0, 1].map(|_| create(&*model));
    let (a, b) = (stopped.terminator().unwrap(), other.terminator().unwrap());
    a.terminate();
    assert_eq!(outcome(&mut *stopped, &config), Err(ErrorCode::Cancelled));
    b.reset(); // an instance's own word: `a` still stands
    assert_eq!(outcome(&mut *stopped, &config), Err(ErrorCode::Cancelled));
    let fast = ModelConfig { parameters: Default::default(), ..config };
    assert!(instance(&fast).terminator().is_none());
}
