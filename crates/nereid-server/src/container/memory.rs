//! Memory: the limit of the control groups, what the machine has, and what the process has of it.

use std::fs;

/// A limit of this many bytes or more stands for none: version 1 writes the largest number of whole pages that it knows.
const NO_LIMIT: u64 = 1 << 60;

/// The memory that there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The limit of the container, at which the kernel ends the process.
    pub(crate) limit: Option<u64>,
    /// What the machine has.
    pub(crate) machine: Option<u64>,
}

impl Memory {
    /// What the process can have at most; `None` if nothing tells.
    pub(crate) fn most(&self) -> Option<u64> {
        self.limit.into_iter().chain(self.machine).min()
    }

    /// Takes no huge pages from now on if the container has a limit. The allocator asks for them, and then each of many
    /// requests that are half read has 2 MiB at least, whatever is counted for it: under a flood the kernel ended the process.
    pub(crate) fn save(&self) {
        if self.limit.is_some()
            && let Err(e) = rustix::thread::disable_transparent_huge_pages(true)
        {
            tracing::debug!("huge pages cannot be switched off: {e}");
        }
    }
}

/// The limit from the text of `memory.limit_in_bytes` or `memory.max`, where `max` stands for none.
pub(super) fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| (1..NO_LIMIT).contains(bytes))
}

/// The value of `name` in `/proc/meminfo` or `/proc/self/status`, in bytes.
pub(super) fn kilobytes(name: &str, text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let (number, unit) = value.trim().split_once(' ')?;
    (unit == "kB").then_some(number.parse::<u64>().ok()?.checked_mul(1024)).flatten()
}

/// Bytes of memory that the process has now; 0 if nothing tells.
pub(crate) fn resident() -> u64 {
    fs::read_to_string("/proc/self/status").ok().and_then(|text| kilobytes("VmRSS", &text)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        for (text, expected) in [
            ("134217728\n", Some(128 << 20)),
            ("max\n", None),
            ("9223372036854771712\n", None),
            ("9223372036854775807", None),
            ("18446744073709551615", None),
            ("99999999999999999999999", None),
            ("-1\n", None),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(limit(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_smaller_of_limit_and_machine() {
        let most = |limit, machine| Memory { limit, machine }.most();
        assert_eq!(most(Some(5), Some(9)), Some(5));
        assert_eq!(most(Some(9), Some(5)), Some(5));
        assert_eq!(most(None, Some(9)), Some(9));
        assert_eq!(most(Some(5), None), Some(5));
        assert_eq!(most(None, None), None);
    }

    #[test]
    fn values_in_kilobytes() {
        let text = "VmHWM:\t   20 kB\nVmRSS:\t   12 kB\nThreads:\t3\nVmBig:\t99999999999999999999 kB\n";
        for (name, expected) in [("VmRSS", Some(12 << 10)), ("Threads", None), ("VmBig", None), ("Vm", None)]
        {
            assert_eq!(kilobytes(name, text), expected, "{name}");
        }
        assert!(resident() > 1 << 20, "this process");
    }
}
