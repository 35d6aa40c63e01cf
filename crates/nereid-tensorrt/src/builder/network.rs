//! `INetworkDefinition`: a model as TensorRT's parser understood it.

use std::ffi::{CString, c_char};
use std::ptr::NonNull;

use crate::abi::callbacks::text;
use crate::abi::object::{Object, Owned, implementation};
use crate::abi::slot::{Slot, This};
use crate::abi::slots::{NetworkSlots, RTX_IS_SHAPE_TENSOR, TensorSlots};
use crate::datatype::TensorDataType;
use crate::error::TensorRtError;
use crate::library::Library;
use crate::version::Flavor;

use super::parser::Parser;

/// More inputs and outputs than any model has.
const MAX_TENSORS: i32 = 4096;

/// A network of a [`super::Builder`].
#[derive(Debug)]
pub struct Network<'a> {
    /// Holds the weights.
    #[expect(dead_code, reason = "held, not read")]
    pub(super) parser: Parser,
    pub(super) object: Owned,
    pub(super) inputs: Vec<NetworkTensor>,
    pub(super) outputs: Vec<NetworkTensor>,
    /// The builder, which has to live longer.
    pub(super) builder: std::marker::PhantomData<&'a ()>,
}

/// An input or output of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkTensor {
    pub name: String,
    pub datatype: TensorDataType,
    /// -1: to be chosen at execution.
    pub shape: Vec<i64>,
    /// Its values decide shapes; profiles are about them.
    pub is_shape_tensor: bool,
}

impl Network<'_> {
    pub fn inputs(&self) -> &[NetworkTensor] {
        &self.inputs
    }

    pub fn outputs(&self) -> &[NetworkTensor] {
        &self.outputs
    }
}

/// Calls the method at a slot of a network or a tensor.
macro_rules! ask {
    ($this:expr, $slot:expr $(, $argument:expr)*) => {{
        // SAFETY: a slot of this class, and the object is alive.
        let method = unsafe { $slot.of($this) };
        // SAFETY: as above.
        unsafe { method($this $(, $argument)*) }
    }};
}

type Count = Slot<unsafe extern "C" fn(This) -> i32>;
type Get = Slot<unsafe extern "C" fn(This, i32) -> *mut Object>;

/// The inputs, and the outputs, of `network`.
pub(super) fn tensors(
    network: &Owned,
    library: &Library,
) -> Result<(Vec<NetworkTensor>, Vec<NetworkTensor>), TensorRtError> {
    let slots = NetworkSlots::of(library.family());
    let all = |call, count: Count, get: Get| {
        let count = ask!(network.this(), count);
        if !(0..=MAX_TENSORS).contains(&count) {
            return Err(TensorRtError::refused(call, format!("the network has {count} of them")));
        }
        let tensors = (0..count).map(|index| {
            let tensor = NonNull::new(ask!(network.this(), get, index));
            let tensor =
                tensor.ok_or_else(|| TensorRtError::refused(call, format!("there is no number {index}")))?;
            read(tensor, library)
        });
        tensors.collect::<Result<Vec<_>, _>>()
    };
    Ok((all("getInput", slots.inputs, slots.input)?, all("getOutput", slots.outputs, slots.output)?))
}

fn read(tensor: NonNull<Object>, library: &Library) -> Result<NetworkTensor, TensorRtError> {
    let slots = TensorSlots::of(library.family());
    // SAFETY: the network's tensors live as long as it does.
    let this = unsafe { implementation(tensor) };
    let name: *const c_char = ask!(this, slots.name);
    // SAFETY: TensorRT gives a C string.
    let name = unsafe { text(name) };
    let number = ask!(this, slots.datatype);
    let datatype = TensorDataType::from_number(number).ok_or_else(|| {
        let reason = format!("tensor '{name}' has datatype number {number}, which this server does not know");
        TensorRtError::refused("getType", reason)
    })?;
    let dims = ask!(this, slots.dimensions);
    let shape = dims.shape().ok_or_else(|| {
        let reason = format!("tensor '{name}' has {} dimensions; up to 8 are possible", dims.count());
        TensorRtError::refused("getDimensions", reason)
    })?;
    let is_shape_tensor = match library.flavor() {
        Flavor::Rtx => RTX_IS_SHAPE_TENSOR,
        Flavor::Full | Flavor::Lean => slots.is_shape_tensor,
    };
    let is_shape_tensor = ask!(this, is_shape_tensor) != 0;
    Ok(NetworkTensor { shape: shape.to_vec(), name, datatype, is_shape_tensor })
}

/// `name` as TensorRT takes it.
pub(super) fn c_name(call: &'static str, name: &str) -> Result<CString, TensorRtError> {
    CString::new(name).map_err(|_| TensorRtError::refused(call, format!("the name {name:?} has a zero byte")))
}
