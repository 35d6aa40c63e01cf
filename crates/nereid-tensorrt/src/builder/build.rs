//! `IBuilder`: makes plans.

use std::ffi::{CString, c_char};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use nereid_cuda::Device;

use crate::abi::layout::Dims;
use crate::abi::object::{Owned, implementation};
use crate::abi::slot::This;
use crate::abi::slots::{BuilderConfigSlots, BuilderSlots, HostMemorySlots, ProfileSlots};
use crate::error::TensorRtError;
use crate::library::Library;
use crate::runtime::make_current;
use crate::version::Flavor;

use super::network::{Network, c_name, tensors};
use super::options::{
    BuildOptions, BuildProfile, ProfileShapes, chooses_precision, exclude_lean_runtime, version_compatible,
};
use super::parser::{OnnxParser, ParseError};

const CREATE: &str = "createInferBuilder";
const BUILD: &str = "buildSerializedNetwork";

/// Makes plans for one GPU.
#[derive(Debug)]
pub struct Builder {
    object: Owned,
    slots: &'static BuilderSlots,
    library: Arc<Library>,
    device: Option<Arc<dyn Device>>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildError {
    TensorRt(TensorRtError),
    Parse(ParseError),
}

impl Builder {
    /// A builder for `device`. TensorRT-RTX builds without one, for every GPU that it supports.
    ///
    /// # Errors
    /// The library has no builder, or needs a GPU; or what TensorRT logged.
    pub fn new(library: &Arc<Library>, device: Option<&Arc<dyn Device>>) -> Result<Self, TensorRtError> {
        let flavor = library.flavor();
        let Some(create) = library.create_builder() else {
            let reason = format!("the {} has no builder: install the whole TensorRT", flavor.name());
            return Err(TensorRtError::refused(CREATE, reason));
        };
        match device {
            Some(device) => make_current(device, CREATE)?,
            None if flavor == Flavor::Rtx => {}
            None => {
                let reason =
                    format!("{} builds plans on the GPU that they are for, and there is none", flavor.name());
                return Err(TensorRtError::refused(CREATE, reason));
            }
        }
        let mark = library.log().mark();
        // SAFETY: the logger is one of this library's family and is never freed; the version is the library's own.
        let pointer = unsafe { create(library.logger(), library.version_number()) };
        // SAFETY: a new builder, or what the library returns instead.
        let object = unsafe { Owned::new(pointer) }.ok_or_else(|| library.log().failure(CREATE, mark))?;
        let slots = BuilderSlots::of(library.family());
        // SAFETY: a slot of this class.
        let set_error_recorder = unsafe { object.method(slots.set_error_recorder) };
        // SAFETY: the recorder is never freed.
        unsafe { set_error_recorder(object.this(), library.error_recorder()) };
        Ok(Self { object, slots, library: Arc::clone(library), device: device.cloned() })
    }

    /// The network of the ONNX `model`. Weights in files beside it are found if `path` says where it is.
    ///
    /// # Errors
    /// What is wrong with the model, by node.
    pub fn parse(
        &self,
        parser: &OnnxParser,
        model: &[u8],
        path: Option<&Path>,
    ) -> Result<Network<'_>, BuildError> {
        let log = self.library.log();
        let mark = log.mark();
        // SAFETY: a slot of this class.
        let create = unsafe { self.object.method(self.slots.create_network) };
        // SAFETY: the builder is alive; no flag asks for anything special.
        let pointer = unsafe { create(self.object.this(), 0) };
        // SAFETY: a new network, or null.
        let object = unsafe { Owned::new(pointer) }.ok_or_else(|| log.failure("createNetworkV2", mark))?;
        let parser = parser.create(object.as_ptr(), &self.library);
        let parser = parser.ok_or_else(|| log.failure("createNvOnnxParser", mark))?;
        let path = path.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok());
        let path: *const c_char = path.as_ref().map_or(std::ptr::null(), |path| path.as_ptr());
        if !parser.parse(model, path) {
            return Err(BuildError::Parse(ParseError { faults: parser.faults() }));
        }
        let (inputs, outputs) = tensors(&object, &self.library)?;
        Ok(Network { parser, object, inputs, outputs, builder: std::marker::PhantomData })
    }

    /// The plan of `network`.
    ///
    /// # Errors
    /// An option that this TensorRT does not have, or what TensorRT logged.
    pub fn build(&self, network: &Network<'_>, options: &BuildOptions) -> Result<Vec<u8>, BuildError> {
        if let Some(device) = &self.device {
            make_current(device, BUILD)?;
        }
        let config = self.config(options)?;
        let log = self.library.log();
        let mark = log.mark();
        // SAFETY: a slot of this class.
        let build = unsafe { self.object.method(self.slots.build) };
        // SAFETY: all three are alive, and network and configuration are this builder's.
        let pointer = unsafe { build(self.object.this(), network.object.as_ptr(), config.as_ptr()) };
        // SAFETY: new memory, or null.
        let memory = unsafe { Owned::new(pointer) }.ok_or_else(|| log.failure(BUILD, mark))?;
        let slots = HostMemorySlots::of(self.library.family());
        // SAFETY: a slot of this class.
        let data = unsafe { memory.method(slots.data) };
        // SAFETY: the memory is alive.
        let data = unsafe { data(memory.this()) };
        // SAFETY: a slot of this class.
        let size = unsafe { memory.method(slots.size) };
        // SAFETY: the memory is alive.
        let size = unsafe { size(memory.this()) };
        if data.is_null() || size == 0 {
            return Err(TensorRtError::refused(BUILD, "TensorRT gave an empty plan").into());
        }
        // SAFETY: TensorRT says that so many bytes are there, and they are until `memory` goes.
        Ok(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), size) }.to_vec())
    }

    /// An `IBuilderConfig` with what `options` say.
    fn config(&self, options: &BuildOptions) -> Result<Owned, TensorRtError> {
        let (family, flavor) = (self.library.family(), self.library.flavor());
        let log = self.library.log();
        let mark = log.mark();
        // SAFETY: a slot of this class.
        let create = unsafe { self.object.method(self.slots.create_config) };
        // SAFETY: the builder is alive.
        let pointer = unsafe { create(self.object.this()) };
        // SAFETY: a new configuration, or null.
        let config =
            unsafe { Owned::new(pointer) }.ok_or_else(|| log.failure("createBuilderConfig", mark))?;
        let slots = BuilderConfigSlots::of(family);
        if !options.precisions.is_empty() && !chooses_precision(family, flavor) {
            let reason = format!(
                "{} {} takes the precision of every layer from the ONNX model: convert the model instead",
                flavor.name(),
                self.library.version().major
            );
            return Err(TensorRtError::refused("setFlag", reason));
        }
        let mut flags: Vec<i32> = options.precisions.iter().map(|precision| precision.flag()).collect();
        flags.extend(options.version_compatible.then(|| version_compatible(family)));
        flags.extend(options.exclude_lean_runtime.then(|| exclude_lean_runtime(family)));
        for flag in flags {
            // SAFETY: a slot of this class.
            let set = unsafe { config.method(slots.set_flag) };
            // SAFETY: the configuration is alive, and the flag is one of this family's.
            unsafe { set(config.this(), flag) };
        }
        for (pool, bytes) in &options.pools {
            // SAFETY: a slot of this class.
            let set = unsafe { config.method(slots.set_pool_limit) };
            // SAFETY: the configuration is alive, and the pool is one of TensorRT's.
            unsafe { set(config.this(), *pool as i32, usize::try_from(*bytes).unwrap_or(usize::MAX)) };
        }
        if let Some(level) = options.optimization_level {
            // SAFETY: a slot of this class.
            let set = unsafe { config.method(slots.set_optimization_level) };
            // SAFETY: the configuration is alive; TensorRT logs a level that it does not have.
            unsafe { set(config.this(), level) };
        }
        for profile in &options.profiles {
            self.add_profile(&config, slots, profile)?;
        }
        Ok(config)
    }

    fn add_profile(
        &self,
        config: &Owned,
        slots: &BuilderConfigSlots,
        profile: &BuildProfile,
    ) -> Result<(), TensorRtError> {
        let log = self.library.log();
        let mark = log.mark();
        // SAFETY: a slot of this class.
        let create = unsafe { self.object.method(self.slots.create_profile) };
        // SAFETY: the builder is alive, and keeps the profile.
        let object = std::ptr::NonNull::new(unsafe { create(self.object.this()) });
        let object = object.ok_or_else(|| log.failure("createOptimizationProfile", mark))?;
        // SAFETY: made just now, and deleted with the builder.
        let this = unsafe { implementation(object) };
        for input in &profile.inputs {
            for (selector, list) in [(0, &input.min), (1, &input.opt), (2, &input.max)] {
                self.set(this, input, selector, list)?;
            }
        }
        // SAFETY: a slot of this class.
        let is_valid = unsafe { ProfileSlots::of(self.library.family()).is_valid.of(this) };
        // SAFETY: the profile is alive.
        if unsafe { is_valid(this) } == 0 {
            let reason =
                "min, opt and max of an input do not go together: min <= opt <= max in every dimension";
            return Err(TensorRtError::refused("IOptimizationProfile::isValid", reason));
        }
        // SAFETY: a slot of this class.
        let add = unsafe { config.method(slots.add_profile) };
        // SAFETY: both are alive.
        let index = unsafe { add(config.this(), object.as_ptr()) };
        if index < 0 { Err(log.failure("addOptimizationProfile", mark)) } else { Ok(()) }
    }

    /// One shape, or the values, of one input of a profile.
    fn set(
        &self,
        profile: This,
        input: &ProfileShapes,
        selector: i32,
        list: &[i64],
    ) -> Result<(), TensorRtError> {
        let slots = ProfileSlots::of(self.library.family());
        let log = self.library.log();
        let mark = log.mark();
        let (call, accepted) = if input.is_shape_tensor {
            let call = "setShapeValues";
            let name = c_name(call, &input.name)?;
            let count = i32::try_from(list.len()).unwrap_or(i32::MAX);
            let accepted = if let Some(slot) = slots.set_values_v2.in_minor(self.library.version().minor) {
                // SAFETY: a slot of this class.
                let set = unsafe { slot.of(profile) };
                // SAFETY: the profile is alive, and as many values as are named are there during the call.
                unsafe { set(profile, name.as_ptr(), selector, list.as_ptr(), count) }
            } else {
                let narrow: Result<Vec<i32>, _> = list.iter().copied().map(i32::try_from).collect();
                let narrow = narrow.map_err(|_| {
                    TensorRtError::refused(call, format!("values {list:?} of '{}' are too large", input.name))
                })?;
                // SAFETY: a slot of this class.
                let set = unsafe { slots.set_values.of(profile) };
                // SAFETY: as above.
                unsafe { set(profile, name.as_ptr(), selector, narrow.as_ptr(), count) }
            };
            (call, accepted)
        } else {
            let call = "setDimensions";
            let name = c_name(call, &input.name)?;
            let dims = Dims::of(list).ok_or_else(|| {
                let reason = format!("shape {list:?} of '{}' has more than 8 dimensions", input.name);
                TensorRtError::refused(call, reason)
            })?;
            // SAFETY: a slot of this class.
            let set = unsafe { slots.set_dimensions.of(profile) };
            // SAFETY: the profile is alive, and the shape is there during the call.
            (call, unsafe { set(profile, name.as_ptr(), selector, &raw const dims) })
        };
        if accepted != 0 { Ok(()) } else { Err(log.failure(call, mark)) }
    }
}

impl From<TensorRtError> for BuildError {
    fn from(error: TensorRtError) -> Self {
        Self::TensorRt(error)
    }
}

impl std::error::Error for BuildError {}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TensorRt(error) => error.fmt(f),
            Self::Parse(error) => error.fmt(f),
        }
    }
}
