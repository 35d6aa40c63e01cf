//! Reads the files of the kernel. What cannot be read limits nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::cgroup::{self, Groups, Version};
use super::{Cpus, Memory, Throttling, cpu, memory};

/// What the process may use, as it was when it was read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Container {
    pub(crate) cpus: Cpus,
    pub(crate) memory: Memory,
    /// `cpu.stat` of the group that the process is in.
    stat: Option<PathBuf>,
}

impl Container {
    /// Looks around.
    pub(crate) fn read() -> Self {
        let (memberships, mounts) = (text("/proc/self/cgroup"), text("/proc/self/mountinfo"));
        let groups = |controller| cgroup::groups(controller, &memberships, &mounts);
        let (cpu, memory) = (groups("cpu"), groups("memory"));
        let cpus = Cpus {
            quota: cpu.as_ref().and_then(quota),
            affinity: cpu::affinity(&text("/proc/self/status")),
            machine: cpu::count(&text("/sys/devices/system/cpu/online")),
        };
        let machine = memory::kilobytes("MemTotal", &text("/proc/meminfo"));
        let memory = Memory { limit: memory.as_ref().and_then(memory_limit), machine };
        let stat = cpu.and_then(|groups| {
            groups.directories.into_iter().map(|d| d.join("cpu.stat")).find(|f| f.exists())
        });
        Self { cpus, memory, stat }
    }

    /// Says in the log what CPUs there are, and for how many threads.
    pub(crate) fn log(&self, event_loops: usize) {
        let Cpus { quota, affinity, machine } = self.cpus;
        let known = |count: Option<usize>| count.map_or("unknown".to_owned(), |count| count.to_string());
        let quota = quota.map_or("none".to_owned(), |quota| format!("{quota}"));
        tracing::info!("CPUs: quota {quota}, affinity {}, machine {}", known(affinity), known(machine));
        let threads = self.cpus.threads();
        tracing::info!("Threads: {event_loops} for event loops, {threads} for ONNX Runtime at most");
    }

    /// How often the quota has stopped the process so far, if the kernel tells.
    pub(crate) fn throttling(&self) -> Option<Throttling> {
        cpu::throttling(&text(self.stat.as_ref()?))
    }
}

/// The smallest quota of `groups`: each limits what is in it.
fn quota(groups: &Groups) -> Option<f64> {
    let quotas = groups.directories.iter().filter_map(|directory| match groups.version {
        Version::V1 => {
            let file = |name| text(directory.join(name));
            cpu::quota_v1(&file("cpu.cfs_quota_us"), &file("cpu.cfs_period_us"))
        }
        Version::V2 => cpu::quota_v2(&text(directory.join("cpu.max"))),
    });
    quotas.min_by(f64::total_cmp)
}

/// The smallest limit of `groups`.
fn memory_limit(groups: &Groups) -> Option<u64> {
    let file = match groups.version {
        Version::V1 => "memory.limit_in_bytes",
        Version::V2 => "memory.max",
    };
    groups.directories.iter().filter_map(|directory| memory::limit(&text(directory.join(file)))).min()
}

/// Empty when there is no such file.
fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(directory: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(directory).unwrap();
        for (name, contents) in files {
            fs::write(directory.join(name), contents).unwrap();
        }
    }

    #[test]
    fn the_tightest_group_counts_and_gaps_do_not() {
        let root = tempfile::tempdir().unwrap();
        let directories: Vec<_> = ["a/b/c", "a/b", "a", ""].iter().map(|d| root.path().join(d)).collect();
        let groups = |version| Groups { version, directories: directories.clone() };
        for version in [Version::V1, Version::V2] {
            assert_eq!((quota(&groups(version)), memory_limit(&groups(version))), (None, None));
        }
        write(&directories[0], &[("cpu.max", "300000 100000\n"), ("memory.max", "max\n")]);
        write(&directories[2], &[("cpu.max", "150000 100000\n"), ("memory.max", "1000\n")]);
        write(&directories[3], &[("memory.max", "2000\n")]);
        assert_eq!(quota(&groups(Version::V2)), Some(1.5));
        assert_eq!(memory_limit(&groups(Version::V2)), Some(1000));
        let half = [("cpu.cfs_quota_us", "50000\n"), ("cpu.cfs_period_us", "100000\n")];
        write(&directories[1], &half);
        write(&directories[1], &[("memory.limit_in_bytes", "4000\n")]);
        write(&directories[3], &[("memory.limit_in_bytes", "9223372036854771712\n")]);
        assert_eq!(quota(&groups(Version::V1)), Some(0.5));
        assert_eq!(memory_limit(&groups(Version::V1)), Some(4000));
    }

    #[test]
    fn this_machine() {
        let Container { cpus, memory, .. } = Container::read();
        assert!(cpus.affinity.unwrap() <= cpus.machine.unwrap());
        assert!(memory.most().unwrap() > super::super::resident());
    }
}
