//! Freeing versions when threads are refused: nothing may wait for itself.

use std::sync::Arc;
use std::time::Duration;

use nereid_core::ModelConfig;
use nereid_core::backend::{Instance, Model};
use nereid_core::config::InstanceSpec;
use nereid_core::testing::{TestInstance, identity_config};
use nereid_protocol::inference;
use nereid_scheduler::{Scheduler, SchedulerOptions};
use parking_lot::Mutex;

use super::*;
use crate::disk::ModelDir;
use crate::states::Outcome;
use crate::table::Table;
use crate::version::Description;
use crate::{Labels, ModelId, ModelVersion};

/// Long enough for anything that ends at all.
const PATIENCE: Duration = Duration::from_secs(30);

struct Identity;

impl Model for Identity {
    fn create_instance(&self, _: &InstanceSpec) -> Result<Box<dyn Instance>> {
        Ok(Box::new(TestInstance::identity()))
    }
}

fn version(table: &Arc<Table>, version: u64, reaper: &Reaper) -> Arc<ModelVersion> {
    let config: Arc<ModelConfig> = Arc::new(identity_config(8));
    let instance: Box<dyn Instance> = Box::new(TestInstance::identity());
    let options = SchedulerOptions {
        config: config.clone(),
        instances: vec![instance.into()],
        delay_until_queued: 0,
        delay_until_backlogged: 0,
        statistics: Arc::default(),
        rate_limiter: None,
    };
    let id = ModelId::bare("m");
    let running = Running {
        scheduler: Scheduler::start(options).unwrap(),
        device_memory: None,
        passive: Mutex::default(),
        model: Arc::new(Mutex::new(Box::new(Identity))),
        dir: ModelDir::temporary(tempfile::tempdir().unwrap().into()).unwrap(),
        departure: table.arrived(&id, version),
    };
    let description = Description {
        id,
        version,
        config,
        wire_config: inference::ModelConfig::default(),
        labels: Labels::default(),
        load_duration: Duration::ZERO,
    };
    Arc::new(ModelVersion::new(description, Arc::new(running), reaper.clone()))
}

/// Serves version 1, unloads it, and rejects version 2 because version 3 failed; whatever frees them.
fn check(reaper: &Reaper) {
    let table = Arc::<Table>::default();
    let id = ModelId::bare("m");
    let (first, second) = (version(&table, 1, reaper), version(&table, 2, reaper));
    let changes = {
        let table = table.clone();
        thread::spawn(move || {
            let outcome = |version, result| Outcome { version, in_place: false, result };
            table.finish_load(&id, vec![outcome(1, Ok(first))]).unwrap();
            table.update(&id, |entry| entry.unload());
            let outcomes = vec![outcome(2, Ok(second)), outcome(3, Err(Error::internal("x")))];
            table.finish_load(&id, outcomes).unwrap_err();
        })
    };
    assert_eq!(table.wait_until_empty(PATIENCE), 0, "the table waits for itself");
    changes.join().unwrap();
    let states: Vec<_> = crate::table::entry(&table.models(), &ModelId::bare("m"))
        .unwrap()
        .versions
        .values()
        .map(|slot| slot.reason.clone())
        .collect();
    assert_eq!(states, ["unloaded", "unloaded", "Internal: x"]);
}

#[test]
fn on_threads_of_their_own() {
    check(&Reaper::start().unwrap());
}

#[test]
fn on_the_reapers_thread() {
    check(&Reaper::with(|_| Err(io::ErrorKind::WouldBlock.into())).unwrap());
}

/// As if there had never been a thread: the last reference goes while the table is being changed.
#[test]
fn on_the_thread_that_lets_go() {
    let (queue, _) = mpsc::channel();
    check(&Reaper { queue });
}
