//! Memory layouts of TensorRT's tensors.

use std::fmt;

/// `nvinfer1::TensorFormat`: the same numbers in TensorRT 10 and 11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum TensorFormat {
    Linear = 0,
    Chw2 = 1,
    Hwc8 = 2,
    Chw4 = 3,
    Chw16 = 4,
    Chw32 = 5,
    Dhwc8 = 6,
    Cdhw32 = 7,
    Hwc = 8,
    DlaLinear = 9,
    DlaHwc4 = 10,
    Hwc16 = 11,
    Dhwc = 12,
}

impl TensorFormat {
    /// Every layout, by ascending number.
    pub const ALL: [Self; 13] = [
        Self::Linear,
        Self::Chw2,
        Self::Hwc8,
        Self::Chw4,
        Self::Chw16,
        Self::Chw32,
        Self::Dhwc8,
        Self::Cdhw32,
        Self::Hwc,
        Self::DlaLinear,
        Self::DlaHwc4,
        Self::Hwc16,
        Self::Dhwc,
    ];

    /// The layout with TensorRT's `number`; `None` for those of a TensorRT that is newer than this code.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.number() == number)
    }

    /// TensorRT's number.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// TensorRT's name without its `k`, such as `CHW32`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "LINEAR",
            Self::Chw2 => "CHW2",
            Self::Hwc8 => "HWC8",
            Self::Chw4 => "CHW4",
            Self::Chw16 => "CHW16",
            Self::Chw32 => "CHW32",
            Self::Dhwc8 => "DHWC8",
            Self::Cdhw32 => "CDHW32",
            Self::Hwc => "HWC",
            Self::DlaLinear => "DLA_LINEAR",
            Self::DlaHwc4 => "DLA_HWC4",
            Self::Hwc16 => "HWC16",
            Self::Dhwc => "DHWC",
        }
    }
}

impl fmt::Display for TensorFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
