//! Execution providers of a session: CUDA and TensorRT on a GPU, OpenVINO on the CPU. A provider that
//! was asked for and is not there is an error, never skipped.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_void};

use nereid_core::config::Accelerator;
use nereid_core::{Error, ModelConfig, Result};
use nereid_cuda::RawStream;

use crate::error::check;
use crate::missing;
use crate::raw::{CudaOptions, KeyValues, SessionOptions, TensorRtOptions};
use crate::runtime::Runtime;
use crate::settings::{boolean, integer};
use crate::tensorrt;

/// The option by which a provider is given a stream.
const USER_STREAM: &CStr = c"user_compute_stream";

/// Where a session runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Cpu,
    /// Of this ordinal; its work goes into the stream, if there is one, else into one of ONNX Runtime's own.
    Gpu(i32, Option<RawStream>),
}

/// Adds the providers that `config` wants on `device` to `options`. Returns whether there are any; then
/// sessions must be made one at a time.
///
/// # Errors
/// `Internal` if there is no CUDA provider for a GPU; `InvalidArg` for an accelerator or a parameter
/// that is unknown or that this build of ONNX Runtime lacks.
pub(crate) fn append(
    runtime: &Runtime,
    options: &SessionOptions,
    config: &ModelConfig,
    device: Device,
) -> Result<bool> {
    let providers = Providers { runtime, options, config };
    if let Device::Gpu(device, stream) = device {
        providers.gpu(device, stream)?;
    }
    providers.cpu()?;
    Ok(matches!(device, Device::Gpu(..)) || !config.optimization.cpu_accelerators.is_empty())
}

struct Providers<'a> {
    runtime: &'a Runtime,
    options: &'a SessionOptions,
    config: &'a ModelConfig,
}

impl Providers<'_> {
    fn gpu(&self, device: i32, stream: Option<RawStream>) -> Result<()> {
        if !self.runtime.has_provider("CUDAExecutionProvider") {
            // Triton's text of a build without GPU support (`backend_model_instance.cc`).
            return Err(Error::internal("GPU instances not supported"));
        }
        let mut cuda = default_cuda_options(&self.config.parameters)?;
        for accelerator in &self.config.optimization.gpu_accelerators {
            match accelerator.name.as_str() {
                "tensorrt" if self.runtime.has_provider("TensorrtExecutionProvider") => {
                    let appended = self.tensorrt(accelerator, device, stream);
                    appended.map_err(|error| missing::explain("TensorRT", error))?;
                }
                "cuda" => cuda.extend(cuda_parameters(accelerator)?),
                name => return Err(unknown(name)),
            }
        }
        cuda.insert("device_id".to_owned(), device.to_string());
        let options = self.cuda(&cuda, stream).map_err(|error| missing::explain("CUDA", error))?;
        let model = &self.config.name;
        tracing::debug!(
            "CUDA Execution Accelerator is set for '{model}' on device {device} with options: {options}"
        );
        Ok(())
    }

    fn cpu(&self) -> Result<()> {
        for Accelerator { name, .. } in &self.config.optimization.cpu_accelerators {
            if name != "openvino" || !self.runtime.has_provider("OpenVINOExecutionProvider") {
                return Err(unknown(name));
            }
            let pairs = KeyValues::new([("device_type", "CPU")])?;
            let (options, provider) = (self.options.as_ptr(), c"OpenVINO".as_ptr());
            let (keys, values, count) = (pairs.keys.as_ptr(), pairs.values.as_ptr(), pairs.keys.len());
            let append = self.runtime.api.SessionOptionsAppendExecutionProvider;
            // SAFETY: all pointers live during the call, and both arrays have `count` entries.
            check(self.runtime.api, unsafe { append(options, provider, keys, values, count) })?;
            tracing::debug!("OpenVINO Execution Accelerator is set for '{}' on CPU", self.config.name);
        }
        Ok(())
    }

    fn tensorrt(&self, accelerator: &Accelerator, device: i32, stream: Option<RawStream>) -> Result<()> {
        let api = self.runtime.api;
        // SAFETY: `out` is a place for the pointer.
        let options = TensorRtOptions::create(|out| unsafe { (api.CreateTensorRTProviderOptions)(out) })?;
        let pairs = tensorrt::options(&accelerator.parameters, device)?;
        let pairs = KeyValues::new(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())))?;
        let (keys, values, count) = (pairs.keys.as_ptr(), pairs.values.as_ptr(), pairs.keys.len());
        // SAFETY: all pointers live during the call, and both arrays have `count` entries.
        check(api, unsafe { (api.UpdateTensorRTProviderOptions)(options.as_ptr(), keys, values, count) })?;
        if let Some(RawStream(stream)) = stream {
            let (set, stream) = (api.UpdateTensorRTProviderOptionsWithValue, stream as *mut c_void);
            // SAFETY: the options live, and so does the stream as long as the session.
            check(api, unsafe { set(options.as_ptr(), USER_STREAM.as_ptr(), stream) })?;
        }
        let append = api.SessionOptionsAppendExecutionProvider_TensorRT_V2;
        // SAFETY: both options live; the session options copy what they keep.
        check(api, unsafe { append(self.options.as_ptr(), options.as_ptr()) })?;
        tracing::debug!(
            "TensorRT Execution Accelerator is set for '{}' on device {device}",
            self.config.name
        );
        Ok(())
    }

    /// Gives back all options, those that were not given too, as ONNX Runtime writes them.
    fn cuda(&self, pairs: &BTreeMap<String, String>, stream: Option<RawStream>) -> Result<String> {
        let api = self.runtime.api;
        // SAFETY: `out` is a place for the pointer.
        let options = CudaOptions::create(|out| unsafe { (api.CreateCUDAProviderOptions)(out) })?;
        let pairs = KeyValues::new(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())))?;
        let (keys, values, count) = (pairs.keys.as_ptr(), pairs.values.as_ptr(), pairs.keys.len());
        // SAFETY: all pointers live during the call, and both arrays have `count` entries.
        check(api, unsafe { (api.UpdateCUDAProviderOptions)(options.as_ptr(), keys, values, count) })?;
        if let Some(RawStream(stream)) = stream {
            let (set, stream) = (api.UpdateCUDAProviderOptionsWithValue, stream as *mut c_void);
            // SAFETY: the options live, and so does the stream as long as the session.
            check(api, unsafe { set(options.as_ptr(), USER_STREAM.as_ptr(), stream) })?;
        }
        let append = api.SessionOptionsAppendExecutionProvider_CUDA_V2;
        // SAFETY: both options live; the session options copy what they keep.
        check(api, unsafe { append(self.options.as_ptr(), options.as_ptr()) })?;
        self.runtime.text(|allocator, out| {
            // SAFETY: options and allocator live, and `out` is a place for the text.
            unsafe { (api.GetCUDAProviderOptionsAsString)(options.as_ptr(), allocator, out) }
        })
    }
}

/// The older way to set CUDA options: parameters of the model, with Triton's defaults. Options of a
/// `cuda` accelerator override them; in Triton these defaults override the accelerator.
fn default_cuda_options(parameters: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let number =
        |key: &str| -> Result<_> { Ok(parameters.get(key).map(|v| integer(v)).transpose()?.unwrap_or(0)) };
    let unsupported =
        |key, value| Error::invalid_arg(format!("unsupported {key} value '{value}' is requested"));
    let search = match number("cudnn_conv_algo_search")? {
        0 => "EXHAUSTIVE",
        1 => "HEURISTIC",
        2 => "DEFAULT",
        other => return Err(unsupported("cudnn_conv_algo_search", other)),
    };
    let extend = match number("arena_extend_strategy")? {
        0 => "kNextPowerOfTwo",
        1 => "kSameAsRequested",
        other => return Err(unsupported("arena_extend_strategy", other)),
    };
    let given = |key: &str, default: String| parameters.get(key).cloned().unwrap_or(default);
    let options = [
        ("cudnn_conv_algo_search", search.to_owned()),
        ("arena_extend_strategy", extend.to_owned()),
        ("gpu_mem_limit", given("gpu_mem_limit", usize::MAX.to_string())),
        ("do_copy_in_default_stream", given("do_copy_in_default_stream", "1".to_owned())),
    ];
    Ok(options.map(|(key, value)| (key.to_owned(), value)).into())
}

/// Parameters of a `cuda` accelerator go to the provider as they are, apart from two checked booleans and
/// those by which a program hands over its own stream and allocator. Their values are addresses in this
/// process, which a config cannot know; the provider would use whatever it is given.
fn cuda_parameters(accelerator: &Accelerator) -> Result<BTreeMap<String, String>> {
    let address = |key: &str| key.ends_with("user_compute_stream") || key.starts_with("gpu_external_");
    if let Some(key) = accelerator.parameters.keys().find(|key| address(key)) {
        return Err(Error::invalid_arg(format!(
            "parameter '{key}' is not supported for CUDA Execution Accelerator, it is about addresses in the process"
        )));
    }
    for key in ["do_copy_in_default_stream", "use_ep_level_unified_stream"] {
        accelerator.parameters.get(key).map(|value| boolean(value)).transpose()?;
    }
    let given = accelerator.parameters.iter().filter(|(_, value)| !value.is_empty());
    Ok(given.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn unknown(name: &str) -> Error {
    Error::invalid_arg(format!("unknown Execution Accelerator '{name}' is requested"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parameters: &[(&str, &str)], key: &str, expected: Result<&str, &str>) {
        let parameters = parameters.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let got = default_cuda_options(&parameters).map(|options| options[key].clone());
        assert_eq!(got.map_err(|e| e.to_string()), expected.map(str::to_owned).map_err(str::to_owned));
    }

    #[test]
    fn cuda_options_from_parameters() {
        check(&[], "cudnn_conv_algo_search", Ok("EXHAUSTIVE"));
        check(&[], "gpu_mem_limit", Ok("18446744073709551615"));
        check(&[("gpu_mem_limit", "1000")], "gpu_mem_limit", Ok("1000"));
        check(&[("cudnn_conv_algo_search", "2")], "cudnn_conv_algo_search", Ok("DEFAULT"));
        check(&[("arena_extend_strategy", "1")], "arena_extend_strategy", Ok("kSameAsRequested"));
        check(
            &[("arena_extend_strategy", "2")],
            "",
            Err("unsupported arena_extend_strategy value '2' is requested"),
        );
        check(&[("cudnn_conv_algo_search", "x")], "", Err("failed to convert 'x' to integral number"));
    }

    #[test]
    fn cuda_accelerator_parameters() {
        let accelerator = |key: &str, value: &str| Accelerator {
            name: "cuda".into(),
            parameters: [(key.to_owned(), value.to_owned())].into(),
        };
        let given = cuda_parameters(&accelerator("cudnn_conv1d_pad_to_nc1d", "1")).unwrap();
        assert_eq!(given["cudnn_conv1d_pad_to_nc1d"], "1");
        assert!(cuda_parameters(&accelerator("anything", "")).unwrap().is_empty());
        let error = cuda_parameters(&accelerator("use_ep_level_unified_stream", "perhaps")).unwrap_err();
        assert_eq!(error.message(), "failed to convert 'perhaps' to boolean");
        for key in [
            "user_compute_stream",
            "has_user_compute_stream",
            "gpu_external_alloc",
            "gpu_external_free",
            "gpu_external_empty_cache",
        ] {
            let error = cuda_parameters(&accelerator(key, "1")).unwrap_err().with_code();
            assert!(
                error.starts_with(&format!("Invalid argument: parameter '{key}' is not supported")),
                "{error}"
            );
        }
    }
}
