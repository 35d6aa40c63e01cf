//! The methods that are called, each with its C++ signature, its type and its position in TensorRT 10 and 11.
//!
//! This is data: a unit test looks every line up in the table that was made from NVIDIA's headers. The signature is the
//! beginning of what stands there after the class. `std::size_t` and `char const *` are what they are in C; enumerations are
//! `i32`, so that a number which this code does not know is an error and not undefined; booleans come back as bytes.

use std::ffi::{c_char, c_void};

use super::layout::Dims;
use super::object::Object;
use super::slot::{Slot, This};
use crate::version::Family;

macro_rules! slots {
    ($($(#[$doc:meta])* $table:ident of $class:literal {
        $($field:ident: fn($($argument:ty),*) $(-> $returned:ty)?, $signature:literal, $v10:expr, $v11:expr;)*
    })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub(crate) struct $table {
                $(pub(crate) $field: Slot<unsafe extern "C" fn(This $(, $argument)*) $(-> $returned)?>,)*
            }

            impl $table {
                const V10: Self = Self { $($field: $v10,)* };
                const V11: Self = Self { $($field: $v11,)* };

                /// The positions in `family`.
                pub(crate) const fn of(family: Family) -> &'static Self {
                    match family {
                        Family::V10 => &Self::V10,
                        Family::V11 => &Self::V11,
                    }
                }
            }
        )*

        /// Class, signature and position of every method of every table, for the test against the golden table.
        #[cfg(test)]
        pub(crate) fn all(family: Family) -> Vec<(&'static str, &'static str, Option<(usize, i32)>)> {
            vec![$($(($class, $signature, $table::of(family).$field.place()),)*)*]
        }
    };
}

slots! {
    /// `IRuntime`.
    RuntimeSlots of "VRuntime" {
        deserialize: fn(*const c_void, usize) -> *mut Object,
            "deserializeCudaEngine(const void *, std::size_t)", Slot::at(3), Slot::at(3);
        set_dla_core: fn(i32), "setDLACore(int32_t)", Slot::at(5), Slot::at(4);
        dla_cores: fn() -> i32, "getNbDLACores() const", Slot::at(7), Slot::at(6);
        set_error_recorder: fn(*mut c_void), "setErrorRecorder(IErrorRecorder *)", Slot::at(9), Slot::at(8);
        set_max_threads: fn(i32) -> u8, "setMaxThreads(int32_t)", Slot::at(12), Slot::at(11);
        max_threads: fn() -> i32, "getMaxThreads() const", Slot::at(13), Slot::at(12);
        set_host_code_allowed: fn(bool), "setEngineHostCodeAllowed(bool)", Slot::at(21), Slot::at(20);
        host_code_allowed: fn() -> u8, "getEngineHostCodeAllowed() const", Slot::at(22), Slot::at(21);
    }

    /// `ICudaEngine`.
    EngineSlots of "VCudaEngine" {
        create_context: fn(i32) -> *mut Object,
            "createExecutionContext(ExecutionContextAllocationStrategy)", Slot::at(5), Slot::at(5);
        device_memory_size: fn() -> usize, "getDeviceMemorySize() const", Slot::at(7), Slot::ABSENT;
        device_memory_size_v2: fn() -> i64, "getDeviceMemorySizeV2() const", Slot::since(1, 52), Slot::at(44);
        name: fn() -> *const c_char, "getName() const", Slot::at(9), Slot::at(7);
        profiles: fn() -> i32, "getNbOptimizationProfiles() const", Slot::at(10), Slot::at(8);
        profile_values: fn(*const c_char, i32, i32) -> *const i32,
            "getProfileTensorValues(const char *, int32_t, OptProfileSelector) const", Slot::at(11), Slot::ABSENT;
        profile_values_v2: fn(*const c_char, i32, i32) -> *const i64,
            "getProfileTensorValuesV2(const char *, int32_t, OptProfileSelector) const", Slot::since(11, 54), Slot::at(46);
        tensor_shape: fn(*const c_char) -> Dims, "getTensorShape(const char *) const", Slot::at(19), Slot::at(15);
        tensor_datatype: fn(*const c_char) -> i32, "getTensorDataType(const char *) const", Slot::at(20), Slot::at(16);
        tensor_location: fn(*const c_char) -> i32, "getTensorLocation(const char *) const", Slot::at(21), Slot::at(17);
        is_shape_io: fn(*const c_char) -> u8, "isShapeInferenceIO(const char *) const", Slot::at(22), Slot::at(18);
        tensor_mode: fn(*const c_char) -> i32, "getTensorIOMode(const char *) const", Slot::at(23), Slot::at(19);
        bytes_per_component: fn(*const c_char) -> i32,
            "getTensorBytesPerComponent(const char *) const", Slot::at(24), Slot::at(20);
        components_per_element: fn(*const c_char) -> i32,
            "getTensorComponentsPerElement(const char *) const", Slot::at(25), Slot::at(21);
        tensor_format: fn(*const c_char) -> i32, "getTensorFormat(const char *) const", Slot::at(26), Slot::at(22);
        vectorized_dim: fn(*const c_char) -> i32, "getTensorVectorizedDim(const char *) const", Slot::at(28), Slot::at(24);
        profile_shape: fn(*const c_char, i32, i32) -> Dims,
            "getProfileShape(const char *, int32_t, OptProfileSelector) const", Slot::at(29), Slot::at(25);
        tensors: fn() -> i32, "getNbIOTensors() const", Slot::at(30), Slot::at(26);
        tensor_name: fn(i32) -> *const c_char, "getIOTensorName(int32_t) const", Slot::at(31), Slot::at(27);
    }

    /// `IExecutionContext`.
    ContextSlots of "VExecutionContext" {
        set_device_memory: fn(*mut c_void), "setDeviceMemory(void *)", Slot::at(10), Slot::at(10);
        set_device_memory_v2: fn(*mut c_void, i64), "setDeviceMemoryV2(void *, int64_t)", Slot::since(1, 49), Slot::at(48);
        set_profile: fn(i32, *mut c_void) -> u8,
            "setOptimizationProfileAsync(int32_t, cudaStream_t)", Slot::at(17), Slot::at(16);
        set_input_shape: fn(*const c_char, *const Dims) -> u8,
            "setInputShape(const char *, const Dims &)", Slot::at(21), Slot::at(20);
        tensor_shape: fn(*const c_char) -> Dims, "getTensorShape(const char *) const", Slot::at(22), Slot::at(21);
        set_tensor_address: fn(*const c_char, *mut c_void) -> u8,
            "setTensorAddress(const char *, void *)", Slot::at(24), Slot::at(23);
        infer_shapes: fn(i32, *mut *const c_char) -> i32,
            "inferShapes(int32_t, const char **)", Slot::at(28), Slot::at(27);
        set_input_consumed_event: fn(*mut c_void) -> u8,
            "setInputConsumedEvent(cudaEvent_t)", Slot::at(29), Slot::at(28);
        set_output_allocator: fn(*const c_char, *mut c_void) -> u8,
            "setOutputAllocator(const char *, IOutputAllocator *)", Slot::at(32), Slot::at(31);
        max_output_size: fn(*const c_char) -> i64, "getMaxOutputSize(const char *) const", Slot::at(34), Slot::at(33);
        enqueue: fn(*mut c_void) -> u8, "enqueueV3(cudaStream_t)", Slot::at(37), Slot::at(36);
    }

    /// `IHostMemory`.
    HostMemorySlots of "VHostMemory" {
        data: fn() -> *mut c_void, "data() const", Slot::at(2), Slot::at(2);
        size: fn() -> usize, "size() const", Slot::at(3), Slot::at(3);
    }

    /// `IBuilder`.
    BuilderSlots of "VBuilder" {
        create_config: fn() -> *mut Object, "createBuilderConfig()", Slot::at(7), Slot::at(5);
        create_network: fn(u32) -> *mut Object,
            "createNetworkV2(NetworkDefinitionCreationFlags)", Slot::at(8), Slot::at(6);
        create_profile: fn() -> *mut Object, "createOptimizationProfile()", Slot::at(9), Slot::at(7);
        set_error_recorder: fn(*mut c_void), "setErrorRecorder(IErrorRecorder *)", Slot::at(10), Slot::at(8);
        build: fn(*mut Object, *mut Object) -> *mut Object,
            "buildSerializedNetwork(INetworkDefinition &, IBuilderConfig &)", Slot::at(14), Slot::at(11);
    }

    /// `IBuilderConfig`.
    BuilderConfigSlots of "VBuilderConfig" {
        set_flag: fn(i32), "setFlag(BuilderFlag)", Slot::at(11), Slot::at(9);
        add_profile: fn(*mut Object) -> i32,
            "addOptimizationProfile(const IOptimizationProfile *)", Slot::at(25), Slot::at(23);
        set_pool_limit: fn(i32, usize), "setMemoryPoolLimit(MemoryPoolType, std::size_t)", Slot::at(43), Slot::at(32);
        set_optimization_level: fn(i32), "setBuilderOptimizationLevel(int32_t)", Slot::at(47), Slot::at(36);
    }

    /// `IOptimizationProfile`.
    ProfileSlots of "VOptimizationProfile" {
        set_dimensions: fn(*const c_char, i32, *const Dims) -> u8,
            "setDimensions(const char *, OptProfileSelector, const Dims &)", Slot::at(2), Slot::at(2);
        set_values: fn(*const c_char, i32, *const i32, i32) -> u8,
            "setShapeValues(const char *, OptProfileSelector, const int32_t *, int32_t)", Slot::at(4), Slot::ABSENT;
        is_valid: fn() -> u8, "isValid() const", Slot::at(9), Slot::at(7);
        set_values_v2: fn(*const c_char, i32, *const i64, i32) -> u8,
            "setShapeValuesV2(const char *, OptProfileSelector, const int64_t *, int32_t)", Slot::since(11, 10), Slot::at(8);
    }

    /// `INetworkDefinition`.
    NetworkSlots of "VNetworkDefinition" {
        inputs: fn() -> i32, "getNbInputs() const", Slot::at(14), Slot::at(14);
        input: fn(i32) -> *mut Object, "getInput(int32_t) const", Slot::at(15), Slot::at(15);
        outputs: fn() -> i32, "getNbOutputs() const", Slot::at(16), Slot::at(16);
        output: fn(i32) -> *mut Object, "getOutput(int32_t) const", Slot::at(17), Slot::at(17);
    }

    /// `ITensor`.
    TensorSlots of "VTensor" {
        name: fn() -> *const c_char, "getName() const", Slot::at(3), Slot::at(3);
        dimensions: fn() -> Dims, "getDimensions() const", Slot::at(5), Slot::at(5);
        datatype: fn() -> i32, "getType() const", Slot::at(7), Slot::at(6);
        is_shape_tensor: fn() -> u8, "isShapeTensor() const", Slot::at(21), Slot::at(15);
    }

    /// `nvonnxparser::IParser`, whose methods get the object itself.
    ParserSlots of "IParser" {
        parse: fn(*const c_void, usize, *const c_char) -> u8,
            "parse(const void *, size_t, const char *)", Slot::at(0), Slot::at(0);
        errors: fn() -> i32, "getNbErrors() const", Slot::at(5), Slot::at(3);
        error: fn(i32) -> *mut c_void, "getError(int) const", Slot::at(6), Slot::at(4);
        delete: fn(), "~IParser() [deleting]", Slot::at(9), Slot::at(7);
    }

    /// `nvonnxparser::IParserError`, whose methods get the object itself.
    ParserErrorSlots of "IParserError" {
        code: fn() -> i32, "code() const", Slot::at(0), Slot::at(0);
        description: fn() -> *const c_char, "desc() const", Slot::at(1), Slot::at(1);
        node: fn() -> i32, "node() const", Slot::at(5), Slot::at(5);
        node_name: fn() -> *const c_char, "nodeName() const", Slot::at(6), Slot::at(6);
        node_operator: fn() -> *const c_char, "nodeOperator() const", Slot::at(7), Slot::at(7);
    }
}

/// `ITensor::isShapeTensor` of TensorRT-RTX, the only method that is called there and lies elsewhere than in TensorRT 11.
pub(crate) const RTX_IS_SHAPE_TENSOR: Slot<unsafe extern "C" fn(This) -> u8> = Slot::at(11);
