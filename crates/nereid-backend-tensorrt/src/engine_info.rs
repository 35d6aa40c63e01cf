//! What an engine says about itself, as one value that the decisions before and during execution are made from. Plain
//! data: tests make engines of it that no TensorRT has built.

use nereid_tensorrt::{Profile, ProfileInput, TensorFormat, TensorInfo, TensorMode};

/// Tensors and optimization profiles of an engine, in the engine's order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EngineInfo<'a> {
    pub(crate) tensors: &'a [TensorInfo],
    pub(crate) profiles: &'a [Profile],
}

impl<'a> EngineInfo<'a> {
    pub(crate) fn inputs(self) -> impl Iterator<Item = &'a TensorInfo> {
        self.of_mode(TensorMode::Input)
    }

    pub(crate) fn outputs(self) -> impl Iterator<Item = &'a TensorInfo> {
        self.of_mode(TensorMode::Output)
    }

    /// The input or output called `name`.
    pub(crate) fn tensor(self, name: &str) -> Option<&'a TensorInfo> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The shapes of input `name` under profile `index`.
    pub(crate) fn profile_input(self, index: usize, name: &str) -> Option<&'a ProfileInput> {
        self.profiles.get(index)?.inputs.iter().find(|input| input.name == name)
    }

    fn of_mode(self, mode: TensorMode) -> impl Iterator<Item = &'a TensorInfo> {
        self.tensors.iter().filter(move |tensor| tensor.mode == mode)
    }
}

/// Whether the elements of `tensor` lie in row-major order.
pub(crate) fn is_linear(tensor: &TensorInfo) -> bool {
    tensor.format == TensorFormat::Linear
}
