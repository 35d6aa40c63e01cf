//! `workspace:1024,…`: sizes of memory pools as `trtexec` takes them, in MiB or with a suffix.

use nereid_tensorrt::builder::MemoryPool;

/// Pools with their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pools(pub(super) Vec<(MemoryPool, u64)>);

const NAMES: [(&str, MemoryPool); 5] = [
    ("workspace", MemoryPool::Workspace),
    ("dlaSRAM", MemoryPool::DlaManagedSram),
    ("dlaLocalDRAM", MemoryPool::DlaLocalDram),
    ("dlaGlobalDRAM", MemoryPool::DlaGlobalDram),
    ("tacticSharedMem", MemoryPool::TacticSharedMemory),
];

/// # Errors
/// The words that go behind "invalid value".
pub(super) fn parse(text: &str) -> Result<Pools, String> {
    let pools = text.split(',').map(|item| {
        let (name, size) = item.split_once(':').ok_or_else(|| format!("'{item}' is not POOL:SIZE"))?;
        let pool = NAMES.iter().find(|(known, _)| *known == name).map(|(_, pool)| *pool).ok_or_else(|| {
            let known: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("there is no pool '{name}': there are {}", known.join(", "))
        })?;
        let bytes = bytes(size).ok_or_else(|| {
            format!("'{size}' of pool '{name}' is not a size, which is a number in MiB or with a suffix B, K, M or G")
        })?;
        // As `trtexec` does for this one.
        let bytes = if pool == MemoryPool::DlaManagedSram && bytes > 0 { 1 << bytes.ilog2() } else { bytes };
        Ok((pool, bytes))
    });
    pools.collect::<Result<_, String>>().map(Pools)
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().last()? {
        (at, 'B') => (&text[..at], 1_u64),
        (at, 'K') => (&text[..at], 1 << 10),
        (at, 'M') => (&text[..at], 1 << 20),
        (at, 'G') => (&text[..at], 1 << 30),
        _ => (text, 1 << 20),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    (0.0..1e18).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("workspace:1024", 1 << 30),
            ("workspace:1G", 1 << 30),
            ("workspace:512K", 512 << 10),
            ("workspace:0.25M", 256 << 10),
            ("workspace:17B", 17),
            ("workspace:0", 0),
            ("dlaSRAM:1000B", 512),
        ] {
            assert_eq!(parse(text).unwrap().0[0].1, expected, "{text}");
        }
        let two = parse("workspace:1,tacticSharedMem:48K").unwrap();
        assert_eq!(two.0, [(MemoryPool::Workspace, 1 << 20), (MemoryPool::TacticSharedMemory, 48 << 10)]);
    }

    #[test]
    fn mistakes() {
        for (text, expected) in [
            ("1024", "'1024' is not POOL:SIZE"),
            ("space:1", "there is no pool 'space': there are workspace, dlaSRAM"),
            ("workspace:", "'' of pool 'workspace' is not a size"),
            ("workspace:x", "'x' of pool"),
            ("workspace:-1", "'-1' of pool"),
            ("workspace:99999999999999G", "is not a size"),
            ("workspace:NaN", "is not a size"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
