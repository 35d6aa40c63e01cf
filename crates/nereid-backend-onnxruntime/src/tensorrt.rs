//! Parameters of the `tensorrt` execution accelerator: Triton's names and checks, ONNX Runtime's keys.

use std::collections::BTreeMap;

use nereid_core::{Error, Result};

use crate::settings::{boolean, integer, unsigned};

/// How the value of a parameter is checked before ONNX Runtime sees it.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Bool,
    Int,
    Size,
    Text,
}

/// Parameters and kinds. Those whose name ONNX Runtime spells otherwise are in [`provider_key`].
const PARAMETERS: [(&str, Kind); 31] = [
    ("max_workspace_size_bytes", Kind::Size),
    ("trt_max_partition_iterations", Kind::Int),
    ("trt_min_subgraph_size", Kind::Int),
    ("int8_calibration_table_name", Kind::Text),
    ("int8_use_native_calibration_table", Kind::Bool),
    ("trt_dla_enable", Kind::Bool),
    ("trt_dla_core", Kind::Int),
    ("trt_engine_cache_enable", Kind::Bool),
    ("trt_engine_cache_path", Kind::Text),
    ("trt_engine_cache_prefix", Kind::Text),
    ("trt_dump_subgraphs", Kind::Bool),
    ("trt_force_sequential_engine_build", Kind::Bool),
    ("trt_context_memory_sharing_enable", Kind::Bool),
    ("trt_layer_norm_fp32_fallback", Kind::Bool),
    ("trt_timing_cache_enable", Kind::Bool),
    ("trt_timing_cache_path", Kind::Text),
    ("trt_force_timing_cache", Kind::Bool),
    ("trt_detailed_build_log", Kind::Bool),
    ("trt_build_heuristics_enable", Kind::Bool),
    ("trt_sparsity_enable", Kind::Bool),
    ("trt_builder_optimization_level", Kind::Int),
    ("trt_auxiliary_streams", Kind::Int),
    ("trt_tactic_sources", Kind::Text),
    ("trt_extra_plugin_lib_paths", Kind::Text),
    ("trt_profile_min_shapes", Kind::Text),
    ("trt_profile_max_shapes", Kind::Text),
    ("trt_profile_opt_shapes", Kind::Text),
    ("trt_cuda_graph_enable", Kind::Bool),
    ("trt_dump_ep_context_model", Kind::Bool),
    ("trt_ep_context_file_path", Kind::Text),
    ("trt_ep_context_embed_mode", Kind::Int),
];

/// Options of the TensorRT provider for `parameters` on GPU `device`.
///
/// # Errors
/// `InvalidArg` with Triton's text for an unknown parameter or precision mode, or a value of the wrong
/// kind.
pub(crate) fn options(
    parameters: &BTreeMap<String, String>,
    device: i32,
) -> Result<BTreeMap<String, String>> {
    let mut options = BTreeMap::from([("device_id".to_owned(), device.to_string())]);
    for (name, value) in parameters {
        if name == "precision_mode" {
            if let Some(key) = precision_key(value)? {
                options.insert(key.to_owned(), "1".to_owned());
            }
            continue;
        }
        let known = PARAMETERS.iter().find(|(known, _)| known == name);
        let (_, kind) = known.ok_or_else(|| {
            Error::invalid_arg(format!(
                "unknown parameter '{name}' is provided for TensorRT Execution Accelerator"
            ))
        })?;
        kind.check(value)?;
        if !value.is_empty() {
            options.insert(provider_key(name).to_owned(), value.clone());
        }
    }
    Ok(options)
}

impl Kind {
    fn check(self, value: &str) -> Result<()> {
        match self {
            Self::Bool => boolean(value).map(drop),
            Self::Int => integer(value).map(drop),
            Self::Size => unsigned(value).map(drop),
            Self::Text => Ok(()),
        }
    }
}

fn precision_key(mode: &str) -> Result<Option<&'static str>> {
    match mode {
        "FP32" => Ok(None),
        "FP16" => Ok(Some("trt_fp16_enable")),
        "BF16" => Ok(Some("trt_bf16_enable")),
        "INT8" => Ok(Some("trt_int8_enable")),
        _ => Err(Error::invalid_arg(format!("unsupported precision mode '{mode}' is requested"))),
    }
}

fn provider_key(name: &str) -> &str {
    match name {
        "max_workspace_size_bytes" => "trt_max_workspace_size",
        "int8_calibration_table_name" => "trt_int8_calibration_table_name",
        "int8_use_native_calibration_table" => "trt_int8_use_native_calibration_table",
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(parameters: &[(&str, &str)], expected: Result<&[(&str, &str)], &str>) {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
        };
        let got = options(&map(parameters), 3).map_err(|e| e.to_string());
        assert_eq!(got, expected.map(map).map_err(str::to_owned));
    }

    #[test]
    fn parameters() {
        check(&[], Ok(&[("device_id", "3")]));
        check(
            &[
                ("precision_mode", "FP16"),
                ("max_workspace_size_bytes", "1073741824"),
                ("trt_dla_enable", "true"),
            ],
            Ok(&[
                ("device_id", "3"),
                ("trt_fp16_enable", "1"),
                ("trt_max_workspace_size", "1073741824"),
                ("trt_dla_enable", "true"),
            ]),
        );
        check(&[("precision_mode", "FP32"), ("trt_tactic_sources", "")], Ok(&[("device_id", "3")]));
        check(&[("precision_mode", "FP8")], Err("unsupported precision mode 'FP8' is requested"));
        check(
            &[("colour", "red")],
            Err("unknown parameter 'colour' is provided for TensorRT Execution Accelerator"),
        );
        check(&[("trt_dla_core", "x")], Err("failed to convert 'x' to integral number"));
        check(&[("trt_dump_ep_context_model", "x")], Err("failed to convert 'x' to boolean"));
        check(
            &[("max_workspace_size_bytes", "x")],
            Err("failed to convert 'x' to unsigned long long integral number"),
        );
    }
}
