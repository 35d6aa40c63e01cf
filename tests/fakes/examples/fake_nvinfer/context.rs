//! `IExecutionContext`.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::dims::{Dims, written};
use super::golden::{Class, Vtable};
use super::log::{FAILED_EXECUTION, Log};
use super::object::{Child, Exclusive, Implementation, Public, create, die, text};
use super::operation;
use super::output;
use super::plan::Plan;

pub struct Context {
    pub plan: Arc<Plan>,
    pub log: Log,
    exclusive: Exclusive,
    /// The caller provides memory.
    user_managed: bool,
    set: Mutex<Set>,
    _engine: Child,
}

/// What the caller has set.
#[derive(Clone, Default)]
pub struct Set {
    pub profile: usize,
    profile_was_chosen: bool,
    /// By tensor.
    pub shapes: Vec<Option<Vec<i64>>>,
    pub addresses: Vec<usize>,
    pub allocators: Vec<usize>,
    memory: usize,
    event: usize,
}

type This<'a> = &'a Implementation<Context>;

pub fn new(plan: Arc<Plan>, log: Log, user_managed: bool, engine: Child) -> *mut Public<Context> {
    static VTABLE: OnceLock<Vtable> = OnceLock::new();
    let vtable = *VTABLE.get_or_init(|| {
        Class::new("VExecutionContext")
            .method("setDeviceMemory(void *)", set_device_memory as *const ())
            .method("setDeviceMemoryV2(void *, int64_t)", set_device_memory_v2 as *const ())
            .method("setOptimizationProfileAsync(int32_t, cudaStream_t)", set_profile as *const ())
            .method("setInputShape(const char *, const Dims &)", set_input_shape as *const ())
            .method("getTensorShape(const char *)", tensor_shape as *const ())
            .method("setTensorAddress(const char *, void *)", set_tensor_address as *const ())
            .method("inferShapes(int32_t, const char **)", infer_shapes as *const ())
            .method("setInputConsumedEvent(cudaEvent_t)", set_input_consumed_event as *const ())
            .method("setOutputAllocator(const char *, IOutputAllocator *)", set_output_allocator as *const ())
            .method("getMaxOutputSize(const char *)", max_output_size as *const ())
            .method("enqueueV3(cudaStream_t)", enqueue as *const ())
            .finish()
    });
    let count = plan.tensors.len();
    let set = Set {
        shapes: vec![None; count],
        addresses: vec![0; count],
        allocators: vec![0; count],
        ..Set::default()
    };
    create(
        vtable,
        Context {
            plan,
            log,
            exclusive: Exclusive::default(),
            user_managed,
            set: Mutex::new(set),
            _engine: engine,
        },
    )
}

impl Context {
    fn set(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(|_| die("the fake panicked before"))
    }

    /// Whether the shape of tensor `index` is to be set.
    fn varies(&self, index: usize) -> bool {
        self.plan.tensors[index].shape.contains(&-1)
    }

    /// Inputs whose shape, or whose address if they are shape tensors, has not been set.
    fn missing(&self, set: &Set) -> Vec<usize> {
        let inputs = self.plan.positions(true).into_iter();
        inputs
            .filter(|&index| {
                self.varies(index) && set.shapes[index].is_none()
                    || self.plan.tensors[index].is_shape_io && set.addresses[index] == 0
            })
            .collect()
    }
}

extern "C" fn set_device_memory(this: This<'_>, memory: *mut c_void) {
    this.state.set().memory = memory as usize;
}

extern "C" fn set_device_memory_v2(this: This<'_>, memory: *mut c_void, size: i64) {
    const NAME: &str = "IExecutionContext::setDeviceMemoryV2";
    if usize::try_from(size).is_ok_and(|size| size >= this.state.plan.memory) {
        this.state.set().memory = memory as usize;
    } else {
        let needed = this.state.plan.memory;
        this.state.log.usage_error(NAME, &format!("{size} bytes are too few, {needed} are needed"));
    }
}

extern "C" fn set_profile(this: This<'_>, profile: i32, _stream: *mut c_void) -> bool {
    let context = &this.state;
    let _used = context.exclusive.enter("IExecutionContext");
    let Some(profile) = usize::try_from(profile).ok().filter(|profile| *profile < context.plan.profiles)
    else {
        let what = format!(
            "Profile index should be within range [0, {}], but is {profile}.",
            context.plan.profiles - 1
        );
        context.log.usage_error("IExecutionContext::setOptimizationProfileAsync", &what);
        return false;
    };
    let mut set = context.set();
    set.profile = profile;
    set.profile_was_chosen = true;
    set.shapes.fill(None);
    true
}

extern "C" fn set_input_shape(this: This<'_>, name: *const c_char, dims: *const Dims) -> bool {
    const NAME: &str = "IExecutionContext::setInputShape";
    let context = &this.state;
    let _used = context.exclusive.enter("IExecutionContext");
    let name = text(name);
    // SAFETY: a C++ reference.
    let dims = unsafe { &*dims };
    let shape = dims.shape();
    let Some((index, tensor)) = context.plan.tensor(name).filter(|(_, tensor)| tensor.is_input) else {
        context.log.usage_error(NAME, &format!("Given invalid tensor name: {name}."));
        return false;
    };
    if shape.len() != tensor.shape.len() {
        let what = format!(
            "Parameter check failed, condition: engineDims.nbDims == dims.nbDims. Set dimensions are {}. Expected \
             dimensions are {}.",
            written(shape),
            written(&tensor.shape)
        );
        context.log.usage_error(NAME, &what);
        return false;
    }
    let mut set = context.set();
    let profile = tensor.profiles.get(set.profile);
    for (position, &size) in shape.iter().enumerate() {
        let expected = tensor.shape[position];
        if expected != -1 && size != expected {
            let what = format!(
                "Static dimension mismatch while setting input shape for {name}. Set dimensions are {}. Expected dimensions \
                 are {}.",
                written(shape),
                written(&tensor.shape)
            );
            context.log.usage_error(NAME, &what);
            return false;
        }
        if let Some([min, _, max]) = profile
            && !(min[position]..=max[position]).contains(&size)
        {
            let what = format!(
                "Set dimension {} for tensor {name} does not satisfy any optimization profiles. Valid range for profile {}: \
                 {}..{}.",
                written(shape),
                set.profile,
                written(min),
                written(max)
            );
            context.log.usage_error(NAME, &what);
            return false;
        }
    }
    set.shapes[index] = Some(shape.to_vec());
    true
}

extern "C" fn tensor_shape(this: This<'_>, name: *const c_char) -> Dims {
    let context = &this.state;
    let Some((index, _)) = context.plan.tensor(text(name)) else { return Dims::INVALID };
    Dims::of(&operation::shape(&context.plan, &context.set(), index))
}

extern "C" fn set_tensor_address(this: This<'_>, name: *const c_char, address: *mut c_void) -> bool {
    const NAME: &str = "IExecutionContext::setTensorAddress";
    let context = &this.state;
    let _used = context.exclusive.enter("IExecutionContext");
    let Some((index, tensor)) = context.plan.tensor(text(name)) else {
        context.log.usage_error(NAME, &format!("Given invalid tensor name: {}.", text(name)));
        return false;
    };
    let address = address as usize;
    if !tensor.is_host && !address.is_multiple_of(256) {
        context.log.usage_error(NAME, &format!("the address of {} is not aligned to 256 bytes", text(name)));
        return false;
    }
    context.set().addresses[index] = address;
    true
}

extern "C" fn infer_shapes(this: This<'_>, capacity: i32, names: *mut *const c_char) -> i32 {
    const NAME: &str = "IExecutionContext::inferShapes";
    let context = &this.state;
    let _used = context.exclusive.enter("IExecutionContext");
    let Ok(capacity) = usize::try_from(capacity) else { return -1 };
    if names.is_null() && capacity > 0 {
        return -1;
    }
    let set = context.set();
    let missing = context.missing(&set);
    for (position, index) in missing.iter().take(capacity).enumerate() {
        // SAFETY: the caller says that there is room for so many names.
        let place = unsafe { names.add(position) };
        // SAFETY: as above.
        unsafe { place.write(context.plan.tensors[*index].name.as_ptr()) };
    }
    if missing.is_empty() {
        for index in context.plan.positions(false) {
            let shape = operation::shape(&context.plan, &set, index);
            if shape.iter().any(|size| *size < -1) {
                let name = context.plan.tensors[index].name.to_string_lossy().into_owned();
                context.log.usage_error(NAME, &format!("{name}: dimensions {} are invalid", written(&shape)));
                return -1;
            }
        }
        if let Err(what) = operation::write_shape_tensors(&context.plan, &set) {
            context.log.usage_error(NAME, &what);
            return -1;
        }
    }
    missing.len() as i32
}

extern "C" fn set_input_consumed_event(this: This<'_>, event: *mut c_void) -> bool {
    this.state.set().event = event as usize;
    true
}

extern "C" fn set_output_allocator(this: This<'_>, name: *const c_char, allocator: *mut c_void) -> bool {
    let context = &this.state;
    let Some((index, _)) = context.plan.tensor(text(name)).filter(|(_, tensor)| !tensor.is_input) else {
        let what = format!("{} is no output", text(name));
        context.log.usage_error("IExecutionContext::setOutputAllocator", &what);
        return false;
    };
    if !allocator.is_null() {
        output::check(allocator);
    }
    context.set().allocators[index] = allocator as usize;
    true
}

extern "C" fn max_output_size(this: This<'_>, name: *const c_char) -> i64 {
    let context = &this.state;
    let Some((index, tensor)) = context.plan.tensor(text(name)).filter(|(_, tensor)| !tensor.is_input) else {
        return -1;
    };
    let set = context.set();
    operation::largest_shape(&context.plan, &set, index).map_or(-1, |shape| tensor.byte_size(&shape) as i64)
}

extern "C" fn enqueue(this: This<'_>, stream: *mut c_void) -> bool {
    const NAME: &str = "IExecutionContext::enqueueV3";
    let context = &this.state;
    let _used = context.exclusive.enter("IExecutionContext");
    let set = context.set().clone();
    let refuse = |what: &str| {
        context.log.usage_error(NAME, what);
        false
    };
    if context.plan.operation == "fail" {
        context.log.error(
            NAME,
            FAILED_EXECUTION,
            "1: Cuda Runtime",
            "an illegal memory access was encountered",
        );
        return false;
    }
    let has_dynamic_input = context.plan.positions(true).iter().any(|index| context.varies(*index));
    if has_dynamic_input && context.plan.profiles > 1 && !set.profile_was_chosen {
        return refuse(
            "no optimization profile was chosen: call setOptimizationProfileAsync before enqueueV3",
        );
    }
    if context.user_managed && set.memory == 0 && context.plan.memory > 0 {
        return refuse(
            "the device memory of the context was not set: call setDeviceMemoryV2 before enqueueV3",
        );
    }
    if let Some(index) = context.missing(&set).first() {
        let name = context.plan.tensors[*index].name.to_string_lossy();
        return refuse(&format!(
            "Parameter check failed, condition: allInputDimensionsSpecified(). Not all dimensions are specified for input \
             tensor {name}."
        ));
    }
    for (index, tensor) in context.plan.tensors.iter().enumerate() {
        let name = tensor.name.to_string_lossy();
        if set.addresses[index] == 0 && tensor.is_input {
            return refuse(&format!(
                "Address is not set for input tensor {name}. Call setInputTensorAddress or setTensorAddress before \
                 enqueue/execute."
            ));
        }
        if set.addresses[index] == 0 && set.allocators[index] == 0 {
            return refuse(&format!(
                "Neither address or allocator is set for output tensor {name}. Call setOutputTensorAddress, \
                 setTensorAddress or setOutputAllocator before enqueue/execute."
            ));
        }
    }
    match operation::enqueue(context, &set, stream) {
        Ok(()) => true,
        Err(what) => refuse(&what),
    }
}
