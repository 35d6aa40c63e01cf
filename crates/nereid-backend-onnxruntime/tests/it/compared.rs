//! An instance that runs every batch several times, on the CPU and bound to the memory of a GPU that the host stands in for,
//! and fails the test if the answers differ.

use std::sync::Arc;

use nereid_core::Result;
use nereid_core::backend::{Execution, Instance, Outputs, Terminate};
use nereid_core::batch::Batch;
use nereid_core::config::{InstanceKind, InstanceSpec};

use crate::fixture::cpu;

pub(crate) struct Compared {
    cpu: Box<dyn Instance>,
    bound: [Box<dyn Instance>; 2],
}

/// An instance on GPU 0.
pub(crate) fn gpu() -> InstanceSpec {
    InstanceSpec { kind: InstanceKind::Gpu { device: 0 }, ..cpu() }
}

impl Compared {
    pub(crate) fn new(cpu: Box<dyn Instance>, bound: [Box<dyn Instance>; 2]) -> Self {
        for instance in &bound {
            assert_eq!((cpu.device_memory(), instance.device_memory()), (None, Some(0)));
        }
        Self { cpu, bound }
    }
}

impl Instance for Compared {
    fn execute(&mut self, batch: &Batch<'_>) -> Result<Execution> {
        let expected = self.cpu.execute(batch);
        for bound in &mut self.bound {
            assert_eq!(shown(&bound.execute(batch)), shown(&expected));
        }
        expected
    }

    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        let instances = self.bound.iter().chain([&self.cpu]);
        Some(Arc::new(TerminateAll(instances.map(|instance| instance.terminator()).collect::<Option<_>>()?)))
    }
}

struct TerminateAll(Vec<Arc<dyn Terminate>>);

impl Terminate for TerminateAll {
    fn terminate(&self) {
        self.0.iter().for_each(|instance| instance.terminate());
    }

    fn reset(&self) {
        self.0.iter().for_each(|instance| instance.reset());
    }
}

/// What clients would see of it.
fn shown(execution: &Result<Execution>) -> Result<Vec<String>, String> {
    match execution {
        // Where a run is when it is stopped is left to chance.
        Err(error) if error.message().contains("terminate flag") => Err("stopped".to_owned()),
        Err(error) => Err(error.with_code()),
        Ok(Execution { outputs: Outputs::Each(_), .. }) => panic!("nobody gave a place on a GPU"),
        Ok(Execution { outputs: Outputs::Batch(outputs), .. }) => {
            Ok(outputs.iter().map(|output| format!("{output:?}")).collect())
        }
    }
}
