//! On which CPUs instances run: `--host-policy`, and threads that keep to it (Triton's `numa_utils.cc`).
//!
//! Does not bind memory to a NUMA node: with the default policy of Linux, memory comes from the node of the CPU that
//! touches it first.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use nereid_core::backend::{Execution, Instance, Terminate};
use nereid_core::batch::Batch;
use nereid_core::{Error, Result};
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The NUMA node of a policy's memory.
const NUMA_NODE: &str = "numa-node";
/// The CPUs of a policy, such as `0-3,8-11`.
const CPU_CORES: &str = "cpu-cores";

/// Host policies by name, each with its settings as they were given. They are looked at when an instance is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPolicies(BTreeMap<String, BTreeMap<String, String>>);

impl HostPolicies {
    /// Sets `setting` of `policy`; the last one counts.
    ///
    /// # Errors
    /// `Unsupported`: there is no such setting.
    pub fn set(&mut self, policy: &str, setting: &str, value: &str) -> Result<()> {
        if ![NUMA_NODE, CPU_CORES].contains(&setting) {
            return Err(Error::unsupported(format!(
                "Unsupported host policy setting '{setting}' is specified, supported settings are '{NUMA_NODE}', \
                 '{CPU_CORES}'"
            )));
        }
        self.0.entry(policy.to_owned()).or_default().insert(setting.to_owned(), value.to_owned());
        Ok(())
    }

    /// Whether any policy asks for memory of a NUMA node.
    pub fn bind_memory(&self) -> bool {
        self.0.values().any(|settings| settings.contains_key(NUMA_NODE))
    }

    /// The CPUs of `policy`.
    ///
    /// # Errors
    /// A setting of it does not parse, with Triton's text.
    pub(crate) fn cores(&self, policy: &str) -> Result<Cores> {
        let Some(settings) = self.0.get(policy) else { return Ok(Cores::All) };
        let cores = settings.get(CPU_CORES).map_or(Ok(Cores::All), |text| parse(text))?;
        if let Some(node) = settings.get(NUMA_NODE) {
            integer(node, NUMA_NODE)?;
        }
        Ok(cores)
    }
}

/// CPUs that threads may run on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cores {
    /// Those of the process.
    All,
    These(CpuSet),
}

impl Cores {
    /// Runs `work` on these CPUs: threads that it starts stay there.
    ///
    /// # Errors
    /// Those of `work`; Internal if the system refuses the CPUs or a thread.
    pub(crate) fn run<T: Send>(self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let Self::These(cores) = self else { return work() };
        let bound = move || {
            bind(&cores)?;
            work()
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("host-policy".into()).spawn_scoped(scope, bound);
            let thread =
                thread.map_err(|e| Error::internal(format!("failed to start a thread on its CPUs: {e}")))?;
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// `instance`, whose executions run on these CPUs.
    pub(crate) fn keep(self, instance: Box<dyn Instance>) -> Box<dyn Instance> {
        match self {
            Self::All => instance,
            Self::These(cores) => Box::new(Bound { instance, cores }),
        }
    }
}

/// An instance that takes the thread that runs it to its CPUs. The thread stays there.
struct Bound {
    instance: Box<dyn Instance>,
    cores: CpuSet,
}

impl Instance for Bound {
    fn execute(&mut self, batch: &Batch<'_>) -> Result<Execution> {
        bind(&self.cores)?;
        self.instance.execute(batch)
    }

    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        self.instance.terminator()
    }

    fn device_memory(&self) -> Option<i32> {
        self.instance.device_memory()
    }

    fn needs_own_thread(&self) -> bool {
        true
    }
}

/// Takes this thread to `cores`.
fn bind(cores: &CpuSet) -> Result<()> {
    sched_setaffinity(Pid::from_raw(0), cores).map_err(refused)
}

fn refused(errno: Errno) -> Error {
    Error::internal(format!("Unable to set NUMA thread affinity: {}", errno.desc()))
}

/// Of `0-3` or `0-3,8-11`.
fn parse(text: &str) -> Result<Cores> {
    let mut cores = CpuSet::new();
    for range in text.split(',') {
        let (lower, upper) = range.split_once('-').ok_or_else(|| {
            Error::invalid_arg(format!(
                "host policy setting '{CPU_CORES}' format is '<lower_cpu_core_id>-<upper_cpu_core_id>'. Got {range}"
            ))
        })?;
        let (lower, upper) = (integer(lower, CPU_CORES)?, integer(upper, CPU_CORES)?);
        if upper >= CpuSet::count() {
            return Err(refused(Errno::EINVAL));
        }
        (lower..=upper).try_for_each(|core| cores.set(core)).map_err(refused)?;
    }
    Ok(Cores::These(cores))
}

fn integer(text: &str, setting: &str) -> Result<usize> {
    text.trim().parse().map_err(|_| {
        Error::invalid_arg(format!("Parsing '{setting}' value: Can't parse '{text}' to integer"))
    })
}

#[cfg(test)]
#[path = "host_policy_tests.rs"]
mod tests;
