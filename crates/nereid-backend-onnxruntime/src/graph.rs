//! What a loaded model says about itself: its inputs, overridable initializers and outputs.

use std::ffi::{CStr, CString, c_char};

use nereid_core::{DataType, Error, ErrorCode, Result};
use ort::sys::{OrtAllocator, OrtSession, OrtStatusPtr, OrtTypeInfo};

use crate::datatype;
use crate::error::check;
use crate::raw::{Session, TypeInfo};
use crate::runtime::Runtime;

/// The tensors of a graph, each list in the graph's own order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub(crate) inputs: Vec<TensorInfo>,
    /// Initializers that are graph inputs too: a request may give them or leave them out.
    pub(crate) initializers: Vec<TensorInfo>,
    pub(crate) outputs: Vec<TensorInfo>,
}

/// One tensor of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TensorInfo {
    pub(crate) name: CString,
    /// `None` for a type that the protocol does not have.
    pub(crate) datatype: Option<DataType>,
    /// Full shape, -1 where it varies; empty for a scalar; `None` when the graph does not say.
    pub(crate) shape: Option<Vec<i64>>,
}

impl TensorInfo {
    /// The name as text.
    pub(crate) fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// Whether the graph declares a rank of 0.
    pub(crate) fn is_scalar(&self) -> bool {
        self.shape.as_ref().is_some_and(Vec::is_empty)
    }

    /// The declared shape; empty when there is none.
    pub(crate) fn dims(&self) -> &[i64] {
        self.shape.as_deref().unwrap_or_default()
    }
}

impl Graph {
    /// Reads the tensors of `session`.
    ///
    /// # Errors
    /// `Unsupported` if one is no tensor but a sequence, a map or the like.
    pub(crate) fn read(runtime: &Runtime, session: &Session) -> Result<Self> {
        let api = runtime.api;
        let list = |accessors| Accessors::list(accessors, runtime, session);
        Ok(Self {
            inputs: list(&Accessors {
                count: api.SessionGetInputCount,
                name: api.SessionGetInputName,
                type_info: api.SessionGetInputTypeInfo,
            })?,
            initializers: list(&Accessors {
                count: api.SessionGetOverridableInitializerCount,
                name: api.SessionGetOverridableInitializerName,
                type_info: api.SessionGetOverridableInitializerTypeInfo,
            })?,
            outputs: list(&Accessors {
                count: api.SessionGetOutputCount,
                name: api.SessionGetOutputName,
                type_info: api.SessionGetOutputTypeInfo,
            })?,
        })
    }

    /// The input or overridable initializer named `name`.
    pub(crate) fn input(&self, name: &str) -> Option<&TensorInfo> {
        find(&self.inputs, name).or_else(|| find(&self.initializers, name))
    }

    /// The output named `name`.
    pub(crate) fn output(&self, name: &str) -> Option<&TensorInfo> {
        find(&self.outputs, name)
    }
}

fn find<'a>(tensors: &'a [TensorInfo], name: &str) -> Option<&'a TensorInfo> {
    tensors.iter().find(|tensor| tensor.name.as_bytes() == name.as_bytes())
}

type Count = unsafe extern "system" fn(*const OrtSession, *mut usize) -> OrtStatusPtr;
type Name =
    unsafe extern "system" fn(*const OrtSession, usize, *mut OrtAllocator, *mut *mut c_char) -> OrtStatusPtr;
type Type = unsafe extern "system" fn(*const OrtSession, usize, *mut *mut OrtTypeInfo) -> OrtStatusPtr;

/// The three functions of the C API about one kind of tensor.
struct Accessors {
    count: Count,
    name: Name,
    type_info: Type,
}

impl Accessors {
    fn list(&self, runtime: &Runtime, session: &Session) -> Result<Vec<TensorInfo>> {
        let mut count = 0;
        // SAFETY: the session lives and `count` is a place for the number.
        check(runtime.api, unsafe { (self.count)(session.as_ptr(), &mut count) })?;
        (0..count).map(|index| self.tensor(runtime, session, index)).collect()
    }

    fn tensor(&self, runtime: &Runtime, session: &Session, index: usize) -> Result<TensorInfo> {
        let name = self.tensor_name(runtime, session, index)?;
        let info = TypeInfo::create(|out| {
            // SAFETY: the session lives, `index` is below the count, `out` is a place for the pointer.
            unsafe { (self.type_info)(session.as_ptr(), index, out) }
        })?;
        let (datatype, shape) = tensor_type(runtime, &name, &info)?;
        Ok(TensorInfo { name, datatype, shape })
    }

    fn tensor_name(&self, runtime: &Runtime, session: &Session, index: usize) -> Result<CString> {
        let allocator = runtime.allocator.as_ptr();
        let mut name = std::ptr::null_mut();
        // SAFETY: the session lives, `index` is below the count, `name` is a place for the pointer.
        check(runtime.api, unsafe { (self.name)(session.as_ptr(), index, allocator, &mut name) })?;
        // SAFETY: on success it is a C string.
        let copy = unsafe { CStr::from_ptr(name) }.to_owned();
        // SAFETY: it came from this allocator and is not used any more.
        check(runtime.api, unsafe { (runtime.api.AllocatorFree)(allocator, name.cast()) })?;
        Ok(copy)
    }
}

fn tensor_type(
    runtime: &Runtime,
    name: &CStr,
    info: &TypeInfo,
) -> Result<(Option<DataType>, Option<Vec<i64>>)> {
    let api = runtime.api;
    // Enums of the C API are read into plain numbers: a newer library may have more of them.
    let mut kind = 0_i32;
    // SAFETY: the type info lives, and the C enum is an `i32`.
    check(api, unsafe { (api.GetOnnxTypeFromTypeInfo)(info.as_ptr(), (&raw mut kind).cast()) })?;
    if kind != 1 {
        return Err(unsupported(name, kind));
    }
    let mut tensor = std::ptr::null();
    // SAFETY: the type info lives and is about a tensor; what it gives lives as long.
    check(api, unsafe { (api.CastTypeInfoToTensorInfo)(info.as_ptr(), &mut tensor) })?;
    let mut element = 0_i32;
    // SAFETY: `tensor` lives, and the C enum is an `i32`.
    check(api, unsafe { (api.GetTensorElementType)(tensor, (&raw mut element).cast()) })?;
    // SAFETY: `tensor` lives.
    if !unsafe { (api.TensorTypeAndShape_HasShape)(tensor) } {
        return Ok((datatype::from_number(element), None));
    }
    let mut rank = 0;
    // SAFETY: `tensor` lives and `rank` is a place for the number.
    check(api, unsafe { (api.GetDimensionsCount)(tensor, &mut rank) })?;
    let mut dims = vec![0; rank];
    // SAFETY: `tensor` lives and `dims` has room for `rank` numbers.
    check(api, unsafe { (api.GetDimensions)(tensor, dims.as_mut_ptr(), rank) })?;
    Ok((datatype::from_number(element), Some(dims)))
}

fn unsupported(name: &CStr, kind: i32) -> Error {
    let kind = match kind {
        2 => "ONNX_TYPE_SEQUENCE",
        3 => "ONNX_TYPE_MAP",
        4 => "ONNX_TYPE_OPAQUE",
        5 => "ONNX_TYPE_SPARSETENSOR",
        _ => "ONNX_TYPE_UNKNOWN",
    };
    Error::new(
        ErrorCode::Unsupported,
        format!(
            "Unsupported ONNX Type '{kind}' for I/O '{}', expected 'ONNX_TYPE_TENSOR'.",
            name.to_string_lossy()
        ),
    )
}
