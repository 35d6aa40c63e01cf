//! Asks an engine about itself. What a library or a plan says is bounded and checked before it is believed.

use std::ffi::{CStr, CString, c_char};

use crate::abi::callbacks::text;
use crate::abi::object::Owned;
use crate::abi::slots::EngineSlots;
use crate::datatype::TensorDataType;
use crate::error::TensorRtError;
use crate::format::TensorFormat;
use crate::profile::{Profile, ProfileInput};
use crate::tensor::{TensorInfo, TensorLocation, TensorMode};

/// More inputs and outputs than any model has.
const MAX_TENSORS: i32 = 4096;
/// More profiles than any plan has.
const MAX_PROFILES: i32 = 1024;
/// More values than a shape tensor has: it holds one shape or a few numbers.
const MAX_VALUES: i64 = 4096;
/// `OptProfileSelector`: smallest, best, largest.
const SELECTORS: [i32; 3] = [0, 1, 2];

/// An engine to be asked.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) object: &'a Owned,
    pub(crate) slots: &'static EngineSlots,
    /// Minor version of the library.
    pub(crate) minor: i32,
}

/// Calls the method at a slot of the engine.
macro_rules! ask {
    ($reader:expr, $slot:expr $(, $argument:expr)*) => {{
        let object = $reader.object;
        // SAFETY: a slot of this class, which this version has.
        let method = unsafe { object.method($slot) };
        // SAFETY: the object is alive, names end with a zero byte, and other arguments are plain numbers.
        unsafe { method(object.this() $(, $argument)*) }
    }};
}

impl Reader<'_> {
    pub(crate) fn name(&self) -> String {
        let name: *const c_char = ask!(self, self.slots.name);
        // SAFETY: TensorRT gives a C string that lives as long as the engine, or null.
        unsafe { text(name) }
    }

    pub(crate) fn device_memory_size(&self) -> u64 {
        match self.slots.device_memory_size_v2.in_minor(self.minor) {
            Some(slot) => u64::try_from(ask!(self, slot)).unwrap_or(0),
            None => ask!(self, self.slots.device_memory_size) as u64,
        }
    }

    pub(crate) fn names(&self) -> Result<Vec<CString>, TensorRtError> {
        let count = ask!(self, self.slots.tensors);
        if !(1..=MAX_TENSORS).contains(&count) {
            let reason =
                format!("the plan has {count} inputs and outputs; between 1 and {MAX_TENSORS} are possible");
            return Err(TensorRtError::refused("getNbIOTensors", reason));
        }
        (0..count)
            .map(|index| {
                let name: *const c_char = ask!(self, self.slots.tensor_name, index);
                if name.is_null() {
                    let reason = format!("tensor {index} of {count} has no name");
                    return Err(TensorRtError::refused("getIOTensorName", reason));
                }
                // SAFETY: TensorRT gives a C string that lives as long as the engine.
                Ok(unsafe { CStr::from_ptr(name) }.to_owned())
            })
            .collect()
    }

    pub(crate) fn tensor(&self, c_name: &CStr) -> Result<TensorInfo, TensorRtError> {
        let pointer = c_name.as_ptr();
        let name = c_name.to_string_lossy().into_owned();
        let unknown = |call, what: &str, number: i32| {
            let reason =
                format!("tensor '{name}' has {what} number {number}, which this server does not know");
            TensorRtError::refused(call, reason)
        };
        let number = ask!(self, self.slots.tensor_mode, pointer);
        let mode = match number {
            1 => TensorMode::Input,
            2 => TensorMode::Output,
            _ => return Err(unknown("getTensorIOMode", "mode", number)),
        };
        let number = ask!(self, self.slots.tensor_datatype, pointer);
        let datatype = TensorDataType::from_number(number)
            .ok_or_else(|| unknown("getTensorDataType", "datatype", number))?;
        let number = ask!(self, self.slots.tensor_location, pointer);
        let location = match number {
            0 => TensorLocation::Device,
            1 => TensorLocation::Host,
            _ => return Err(unknown("getTensorLocation", "location", number)),
        };
        let number = ask!(self, self.slots.tensor_format, pointer);
        let format =
            TensorFormat::from_number(number).ok_or_else(|| unknown("getTensorFormat", "format", number))?;
        let dims = ask!(self, self.slots.tensor_shape, pointer);
        let shape = dims.shape().ok_or_else(|| {
            let reason = format!("tensor '{name}' has {} dimensions; up to 8 are possible", dims.count());
            TensorRtError::refused("getTensorShape", reason)
        })?;
        Ok(TensorInfo {
            shape: shape.to_vec(),
            mode,
            datatype,
            location,
            format,
            is_shape_io: ask!(self, self.slots.is_shape_io, pointer) != 0,
            vectorized_dim: ask!(self, self.slots.vectorized_dim, pointer),
            components_per_element: ask!(self, self.slots.components_per_element, pointer),
            bytes_per_component: ask!(self, self.slots.bytes_per_component, pointer),
            name,
        })
    }

    /// The profiles, for the inputs among `tensors`, whose names are `names`.
    pub(crate) fn profiles(
        &self,
        names: &[CString],
        tensors: &[TensorInfo],
    ) -> Result<Vec<Profile>, TensorRtError> {
        let count = ask!(self, self.slots.profiles);
        if !(1..=MAX_PROFILES).contains(&count) {
            let reason = format!("the plan has {count} profiles; between 1 and {MAX_PROFILES} are possible");
            return Err(TensorRtError::refused("getNbOptimizationProfiles", reason));
        }
        let inputs = || names.iter().zip(tensors).filter(|(_, tensor)| tensor.mode == TensorMode::Input);
        (0..count)
            .map(|profile| {
                let inputs = inputs().map(|(name, tensor)| self.profile_input(name, tensor, profile));
                Ok(Profile { inputs: inputs.collect::<Result<_, _>>()? })
            })
            .collect()
    }

    fn profile_input(
        &self,
        name: &CStr,
        tensor: &TensorInfo,
        profile: i32,
    ) -> Result<ProfileInput, TensorRtError> {
        let shape = |selector| {
            let dims = ask!(self, self.slots.profile_shape, name.as_ptr(), profile, selector);
            match dims.shape() {
                Some(shape) => Ok(shape.to_vec()),
                // TensorRT says nothing about an input whose shape does not vary.
                None if !tensor.shape.contains(&-1) => Ok(tensor.shape.clone()),
                None => Err(TensorRtError::refused(
                    "getProfileShape",
                    format!("profile {profile} says nothing about input '{}'", tensor.name),
                )),
            }
        };
        let [min, opt, max] = [shape(0)?, shape(1)?, shape(2)?];
        let values = if tensor.is_shape_io { self.values(name, tensor, profile)? } else { None };
        Ok(ProfileInput { name: tensor.name.clone(), min, opt, max, values })
    }

    /// The values of a shape tensor under `profile`; `None` if TensorRT has none.
    fn values(
        &self,
        name: &CStr,
        tensor: &TensorInfo,
        profile: i32,
    ) -> Result<Option<[Vec<i64>; 3]>, TensorRtError> {
        let count = tensor.shape.iter().try_fold(1_i64, |product, &size| {
            (size >= 0).then(|| product.checked_mul(size)).flatten().filter(|&count| count <= MAX_VALUES)
        });
        let Some(count) = count.and_then(|count| usize::try_from(count).ok()) else {
            let reason = format!(
                "shape tensor '{}' has shape {:?}; up to {MAX_VALUES} values are possible",
                tensor.name, tensor.shape
            );
            return Err(TensorRtError::refused("getTensorShape", reason));
        };
        let mut values = [const { Vec::new() }; 3];
        for (selector, values) in SELECTORS.into_iter().zip(&mut values) {
            let Some(found) = self.values_of(name, profile, selector, count) else { return Ok(None) };
            *values = found;
        }
        Ok(Some(values))
    }

    /// `count` values of one kind. TensorRT 10 has them wide, or narrow where the plan was built with narrow ones.
    fn values_of(&self, name: &CStr, profile: i32, selector: i32, count: usize) -> Option<Vec<i64>> {
        if let Some(slot) = self.slots.profile_values_v2.in_minor(self.minor) {
            let start: *const i64 = ask!(self, slot, name.as_ptr(), profile, selector);
            if !start.is_null() {
                // SAFETY: TensorRT gives as many values as the tensor has, for as long as the engine lives.
                return Some(unsafe { std::slice::from_raw_parts(start, count) }.to_vec());
            }
        }
        let slot = self.slots.profile_values.in_minor(self.minor)?;
        let start: *const i32 = ask!(self, slot, name.as_ptr(), profile, selector);
        if start.is_null() {
            return None;
        }
        // SAFETY: as above.
        let narrow = unsafe { std::slice::from_raw_parts(start, count) };
        Some(narrow.iter().copied().map(i64::from).collect())
    }
}
