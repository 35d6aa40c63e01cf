//! CPU time of another process from the scheduler's accounting, its resident memory, and pinning of
//! the load generator. Nothing here is portable beyond Linux.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// The CPU clock of a process: what all its threads, dead ones too, have spent in user and kernel mode.
#[derive(Debug, Clone, Copy)]
pub struct ProcessClock {
    pid: u32,
    clock: ClockId,
}

impl ProcessClock {
    /// The clock of process `pid`.
    ///
    /// # Errors
    /// No such process.
    pub fn of(pid: u32) -> Result<Self> {
        let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))
            .with_context(|| format!("no CPU clock of process {pid}"))?;
        Ok(Self { pid, clock })
    }

    /// CPU time so far, to the nanosecond.
    ///
    /// # Errors
    /// The process is gone.
    pub fn read(&self) -> Result<Duration> {
        let time = self.clock.now().with_context(|| format!("process {} is gone", self.pid))?;
        Ok(time.into())
    }
}

/// Resident memory of process `pid` in bytes, as `/proc` tells it (`VmRSS`).
///
/// # Errors
/// The process is gone.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|value| value.trim().strip_suffix(" kB")).and_then(|n| n.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("no VmRSS in {path}"))? * 1024)
}

/// Cores that this process may use; at least 1.
pub fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Keeps the calling thread on the last core that it may use.
///
/// # Errors
/// The kernel refuses.
pub fn pin_thread_to_last_core() -> Result<()> {
    let this_thread = Pid::from_raw(0);
    let allowed = sched_getaffinity(this_thread).context("cannot read the thread's affinity")?;
    let last = (0..CpuSet::count()).rev().find(|core| allowed.is_set(*core).unwrap_or(false));
    let mut only = CpuSet::new();
    only.set(last.context("the thread may use no core")?)?;
    sched_setaffinity(this_thread, &only).context("cannot pin the load generator")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_work_of_this_process() {
        let clock = ProcessClock::of(std::process::id()).unwrap();
        let before = clock.read().unwrap();
        let mut spent = Duration::ZERO;
        let mut n = 0_u64;
        while spent < Duration::from_millis(2) {
            n = std::hint::black_box(n + 1);
            spent = clock.read().unwrap() - before;
        }
        assert!(n > 0);
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
        assert!(ProcessClock::of(1 << 23).is_err(), "more than Linux allows");
    }
}
