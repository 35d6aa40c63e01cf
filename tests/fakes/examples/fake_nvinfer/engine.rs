//! `ICudaEngine`.

use std::ffi::c_char;
use std::sync::{Arc, OnceLock};

use super::context::{self, Context};
use super::dims::Dims;
use super::golden::{Class, Vtable};
use super::log::{FAILED_ALLOCATION, Log};
use super::object::{Child, Exclusive, Implementation, Parent, Public, create, text};
use super::plan::{Plan, Tensor};

pub struct Engine {
    plan: Arc<Plan>,
    log: Log,
    contexts: Parent,
    exclusive: Exclusive,
    _runtime: Child,
}

type This<'a> = &'a Implementation<Engine>;

pub fn new(plan: Plan, log: Log, runtime: Child) -> *mut Public<Engine> {
    static VTABLE: OnceLock<Vtable> = OnceLock::new();
    let vtable = *VTABLE.get_or_init(|| {
        Class::new("VCudaEngine")
            .method("createExecutionContext(ExecutionContextAllocationStrategy)", create_context as *const ())
            .method("getDeviceMemorySize()", device_memory_size as *const ())
            .method("getDeviceMemorySizeV2()", device_memory_size as *const ())
            .method("getName()", name as *const ())
            .method("getNbOptimizationProfiles()", profiles as *const ())
            .method(
                "getProfileTensorValues(const char *, int32_t, OptProfileSelector)",
                narrow_values as *const (),
            )
            .method(
                "getProfileTensorValuesV2(const char *, int32_t, OptProfileSelector)",
                values as *const (),
            )
            .method("getTensorShape(const char *)", shape as *const ())
            .method("getTensorDataType(const char *)", datatype as *const ())
            .method("getTensorLocation(const char *)", location as *const ())
            .method("isShapeInferenceIO(const char *)", is_shape_io as *const ())
            .method("getTensorIOMode(const char *)", mode as *const ())
            .method("getTensorBytesPerComponent(const char *)", bytes_per_component as *const ())
            .method("getTensorComponentsPerElement(const char *)", components_per_element as *const ())
            .method("getTensorFormat(const char *)", format as *const ())
            .method("getTensorVectorizedDim(const char *)", vectorized_dim as *const ())
            .method("getProfileShape(const char *, int32_t, OptProfileSelector)", profile_shape as *const ())
            .method("getNbIOTensors()", tensors as *const ())
            .method("getIOTensorName(int32_t)", tensor_name as *const ())
            .finish()
    });
    create(
        vtable,
        Engine {
            plan: Arc::new(plan),
            log,
            contexts: Parent::new("ICudaEngine"),
            exclusive: Exclusive::default(),
            _runtime: runtime,
        },
    )
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.contexts.goes();
    }
}

extern "C" fn create_context(this: This<'_>, strategy: i32) -> *mut Public<Context> {
    const NAME: &str = "ICudaEngine::createExecutionContext";
    let engine = &this.state;
    let _used = engine.exclusive.enter("ICudaEngine");
    if !(0..3).contains(&strategy) {
        engine.log.usage_error(NAME, &format!("there is no allocation strategy {strategy}"));
        return std::ptr::null_mut();
    }
    if engine.plan.operation == "oom_context" {
        engine.log.error(
            NAME,
            FAILED_ALLOCATION,
            "2: OutOfMemory",
            "Requested size was 1099511627776 bytes.",
        );
        return std::ptr::null_mut();
    }
    context::new(Arc::clone(&engine.plan), engine.log.clone(), strategy == 2, engine.contexts.child())
}

extern "C" fn device_memory_size(this: This<'_>) -> usize {
    this.state.plan.memory
}

extern "C" fn name(this: This<'_>) -> *const c_char {
    this.state.plan.name.as_ptr()
}

extern "C" fn profiles(this: This<'_>) -> i32 {
    this.state.plan.profile_count.unwrap_or(this.state.plan.profiles as i32)
}

extern "C" fn tensors(this: This<'_>) -> i32 {
    this.state.plan.tensor_count.unwrap_or(this.state.plan.tensors.len() as i32)
}

extern "C" fn tensor_name(this: This<'_>, index: i32) -> *const c_char {
    let tensor = usize::try_from(index).ok().and_then(|index| this.state.plan.tensors.get(index));
    tensor.map_or(std::ptr::null(), |tensor| tensor.name.as_ptr())
}

extern "C" fn narrow_values(this: This<'_>, name: *const c_char, profile: i32, selector: i32) -> *const i32 {
    find(this, name).map_or(std::ptr::null(), |tensor| pick(&tensor.narrow_values, profile, selector))
}

extern "C" fn values(this: This<'_>, name: *const c_char, profile: i32, selector: i32) -> *const i64 {
    find(this, name).map_or(std::ptr::null(), |tensor| pick(&tensor.values, profile, selector))
}

fn pick<T>(values: &[[Vec<T>; 3]], profile: i32, selector: i32) -> *const T {
    let values = usize::try_from(profile).ok().and_then(|profile| values.get(profile));
    let values = values.and_then(|values| values.get(usize::try_from(selector).ok()?));
    values.map_or(std::ptr::null(), |values| values.as_ptr())
}

extern "C" fn shape(this: This<'_>, name: *const c_char) -> Dims {
    find(this, name).map_or(Dims::INVALID, |tensor| {
        let dims = Dims::of(&tensor.shape);
        Dims { count: tensor.rank.unwrap_or(dims.count), ..dims }
    })
}

extern "C" fn datatype(this: This<'_>, name: *const c_char) -> i32 {
    find(this, name).map_or(0, |tensor| tensor.datatype)
}

extern "C" fn location(this: This<'_>, name: *const c_char) -> i32 {
    find(this, name).map_or(0, |tensor| i32::from(tensor.is_host))
}

extern "C" fn is_shape_io(this: This<'_>, name: *const c_char) -> bool {
    find(this, name).is_some_and(|tensor| tensor.is_shape_io)
}

extern "C" fn mode(this: This<'_>, name: *const c_char) -> i32 {
    find(this, name).map_or(0, |tensor| tensor.mode.unwrap_or(if tensor.is_input { 1 } else { 2 }))
}

extern "C" fn bytes_per_component(this: This<'_>, name: *const c_char) -> i32 {
    find(this, name).map_or(-1, |tensor| tensor.bytes)
}

extern "C" fn components_per_element(this: This<'_>, name: *const c_char) -> i32 {
    find(this, name).map_or(-1, |tensor| tensor.components)
}

extern "C" fn format(this: This<'_>, name: *const c_char) -> i32 {
    find(this, name).map_or(0, |tensor| tensor.format)
}

extern "C" fn vectorized_dim(this: This<'_>, name: *const c_char) -> i32 {
    find(this, name).map_or(-1, |tensor| tensor.vectorized_dim)
}

extern "C" fn profile_shape(this: This<'_>, name: *const c_char, profile: i32, selector: i32) -> Dims {
    let Some(tensor) = find(this, name).filter(|tensor| tensor.is_input) else { return Dims::INVALID };
    let profile = usize::try_from(profile).ok().filter(|profile| *profile < this.state.plan.profiles);
    let (Some(profile), Ok(selector @ 0..3)) = (profile, usize::try_from(selector)) else {
        return Dims::INVALID;
    };
    match tensor.profiles.get(profile) {
        Some(shapes) => Dims::of(&shapes[selector]),
        None if !tensor.shape.contains(&-1) => Dims::of(&tensor.shape),
        None => Dims::INVALID,
    }
}

fn find<'a>(this: This<'a>, name: *const c_char) -> Option<&'a Tensor> {
    this.state.plan.tensor(text(name)).map(|(_, tensor)| tensor)
}
