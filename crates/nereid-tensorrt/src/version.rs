//! Versions of TensorRT, and which of them this crate can call.

use std::fmt;

/// `major.minor.patch.build` of a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: i32,
    pub minor: i32,
    pub patch: i32,
    pub build: i32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch, build } = self;
        write!(f, "{major}.{minor}.{patch}.{build}")
    }
}

/// Versions whose vtables have the same layout; inside one, methods are only added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// TensorRT 10.
    V10,
    /// TensorRT 11, and TensorRT-RTX from 1.5.
    V11,
}

/// What a library was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// `libnvinfer`: everything, the builder too.
    Full,
    /// `libnvinfer_lean`: runs version-compatible plans of its major version.
    Lean,
    /// `libtensorrt_rtx`: plans of its own, for GPUs of workstations.
    Rtx,
}

impl Flavor {
    /// What NVIDIA calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "TensorRT",
            Self::Lean => "TensorRT lean runtime",
            Self::Rtx => "TensorRT-RTX",
        }
    }
}

impl Family {
    /// The newest minor version of TensorRT (of TensorRT-RTX for `rtx`) whose headers were compared with the slot tables.
    pub(crate) const fn newest_known(self, flavor: Flavor) -> i32 {
        match (self, flavor) {
            (_, Flavor::Rtx) => 7,
            (Self::V10, _) => 16,
            (Self::V11, _) => 4,
        }
    }

    /// The family of `version`.
    ///
    /// # Errors
    /// The words that finish "it is TensorRT 8.6.1.0, …".
    pub(crate) fn of(version: Version, flavor: Flavor) -> Result<Self, &'static str> {
        match (flavor, version.major, version.minor) {
            (Flavor::Rtx, 1, 5..) => Ok(Self::V11),
            (Flavor::Rtx, ..) => Err("but TensorRT-RTX is supported from 1.5 to 1.x"),
            (_, 10, _) => Ok(Self::V10),
            (_, 11, _) => Ok(Self::V11),
            (_, ..10, _) => Err("which is too old: install TensorRT 10 or 11"),
            _ => Err("which is newer than this server knows: install TensorRT 10 or 11"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flavor: Flavor, major: i32, minor: i32, expected: Option<Family>) {
        let version = Version { major, minor, patch: 1, build: 2 };
        assert_eq!(Family::of(version, flavor).ok(), expected, "{flavor:?} {version}");
    }

    #[test]
    fn families() {
        use Family::{V10, V11};
        for flavor in [Flavor::Full, Flavor::Lean] {
            for (major, minor, expected) in [
                (8, 6, None),
                (9, 3, None),
                (10, 0, Some(V10)),
                (10, 99, Some(V10)),
                (11, 0, Some(V11)),
                (11, 9, Some(V11)),
                (12, 0, None),
                (1, 7, None),
                (0, 0, None),
                (-10, 0, None),
            ] {
                check(flavor, major, minor, expected);
            }
        }
        for (major, minor, expected) in
            [(1, 4, None), (1, 5, Some(V11)), (1, 9, Some(V11)), (2, 0, None), (10, 5, None)]
        {
            check(Flavor::Rtx, major, minor, expected);
        }
    }
}
