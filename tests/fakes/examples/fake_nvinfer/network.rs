//! `INetworkDefinition` and `ITensor`, as the parser fills them.

use std::ffi::{CString, c_char};
use std::sync::{Mutex, MutexGuard, OnceLock};

use super::dims::Dims;
use super::golden::{Class, Vtable};
use super::object::{Child, Implementation, Public, create, delete_now, die};

/// What the parser read.
pub struct Network {
    contents: Mutex<Contents>,
    _builder: Child,
}

#[derive(Default)]
pub struct Contents {
    /// The lines of the plan that say what it computes.
    pub lines: Vec<String>,
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<Tensor>,
}

/// Deleted with the network.
pub struct Tensor(pub *mut Public<TensorState>);

pub struct TensorState {
    pub name: CString,
    pub datatype: i32,
    pub shape: Vec<i64>,
    /// What follows in the line.
    pub attributes: String,
}

// SAFETY: a tensor is written once.
unsafe impl Send for Tensor {}

type This<'a> = &'a Implementation<Network>;
type TensorThis<'a> = &'a Implementation<TensorState>;

pub fn new(builder: Child) -> *mut Public<Network> {
    static VTABLE: OnceLock<Vtable> = OnceLock::new();
    let vtable = *VTABLE.get_or_init(|| {
        Class::new("VNetworkDefinition")
            .method("getNbInputs()", inputs as *const ())
            .method("getInput(int32_t)", input as *const ())
            .method("getNbOutputs()", outputs as *const ())
            .method("getOutput(int32_t)", output as *const ())
            .finish()
    });
    create(vtable, Network { contents: Mutex::default(), _builder: builder })
}

impl Tensor {
    pub fn new(state: TensorState) -> Self {
        static VTABLE: OnceLock<Vtable> = OnceLock::new();
        let vtable = *VTABLE.get_or_init(|| {
            Class::new("VTensor")
                .method("getName()", name as *const ())
                .method("getDimensions()", dimensions as *const ())
                .method("getType()", datatype as *const ())
                .method("isShapeTensor()", is_shape_tensor as *const ())
                .finish()
        });
        Self(create(vtable, state))
    }

    pub fn state(&self) -> &TensorState {
        // SAFETY: it is there until it is dropped.
        let object = unsafe { &*self.0 };
        // SAFETY: as above.
        unsafe { &(*object.implementation).state }
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        delete_now(self.0);
    }
}

impl Network {
    pub fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(|_| die("the fake panicked before"))
    }
}

fn at(tensors: &[Tensor], index: i32) -> *mut Public<TensorState> {
    let tensor = usize::try_from(index).ok().and_then(|index| tensors.get(index));
    tensor.map_or(std::ptr::null_mut(), |tensor| tensor.0)
}

extern "C" fn inputs(this: This<'_>) -> i32 {
    this.state.contents().inputs.len() as i32
}

extern "C" fn input(this: This<'_>, index: i32) -> *mut Public<TensorState> {
    at(&this.state.contents().inputs, index)
}

extern "C" fn outputs(this: This<'_>) -> i32 {
    this.state.contents().outputs.len() as i32
}

extern "C" fn output(this: This<'_>, index: i32) -> *mut Public<TensorState> {
    at(&this.state.contents().outputs, index)
}

extern "C" fn name(this: TensorThis<'_>) -> *const c_char {
    this.state.name.as_ptr()
}

extern "C" fn dimensions(this: TensorThis<'_>) -> Dims {
    Dims::of(&this.state.shape)
}

extern "C" fn datatype(this: TensorThis<'_>) -> i32 {
    this.state.datatype
}

extern "C" fn is_shape_tensor(this: TensorThis<'_>) -> bool {
    this.state.attributes.contains("shape_io")
}
