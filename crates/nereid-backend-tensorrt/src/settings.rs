//! `--backend-config=tensorrt,<key>=<value>`, and the parameters of a model that this backend reads. Triton's keys and
//! texts; unknown keys are ignored, as there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nereid_core::{Error, Result};

/// What the command line says about all models of this backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `libnvinfer` to load, where the command line names it.
    pub(crate) library: Option<PathBuf>,
    /// Libraries with plugins of engines, to be loaded before the first engine.
    pub(crate) plugins: Vec<PathBuf>,
    /// Plans may bring code for the host, as those do that a newer TensorRT is to run.
    pub(crate) version_compatible: bool,
    pub(crate) policy: ExecutionPolicy,
    /// Gather the inputs of a batch into one piece of host memory before they go to the GPU.
    pub(crate) coalesce_request_input: bool,
}

/// Who waits for a GPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ExecutionPolicy {
    /// Instances of one GPU take turns.
    #[default]
    DeviceBlocking,
    /// Each instance goes on as it can.
    Blocking,
}

/// How device memory of execution contexts is allocated (`execution_context_allocation_strategy`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ContextMemory {
    /// Once, for the largest profile.
    #[default]
    Static,
    /// Anew whenever the profile changes, as much as that one takes.
    OnProfileChange,
}

impl Settings {
    /// Reads `settings`.
    ///
    /// # Errors
    /// `InvalidArg` for a value that is no boolean or policy.
    pub(crate) fn parse(settings: &BTreeMap<String, String>) -> Result<Self> {
        let flag = |key: &str| settings.get(key).map_or(Ok(false), |value| boolean(value));
        Ok(Self {
            library: settings.get("lib").filter(|path| !path.is_empty()).map(PathBuf::from),
            plugins: settings.get("plugins").map(|value| plugins(value)).unwrap_or_default(),
            version_compatible: flag("version-compatible")?,
            policy: settings
                .get("execution-policy")
                .map_or(Ok(ExecutionPolicy::default()), |value| policy(value))?,
            coalesce_request_input: flag("coalesce-request-input")?,
        })
    }
}

/// What the parameters of `model` say about the memory of its contexts.
///
/// # Errors
/// `InvalidArg` for an unknown strategy, and `Unsupported` for engines that are spread over GPUs.
pub(crate) fn context_memory(parameters: &BTreeMap<String, String>, model: &str) -> Result<ContextMemory> {
    let several = parameters.get("enable_multi_device").map(|value| value.to_ascii_lowercase());
    if matches!(several.as_deref(), Some("true" | "1")) {
        return Err(Error::unsupported(format!(
            "unable to load model '{model}', parameter 'enable_multi_device' asks for an engine that is spread over \
             several GPUs, which is not supported: leave it out, and list GPUs in instance_group"
        )));
    }
    match parameters.get("execution_context_allocation_strategy").map(String::as_str) {
        None | Some("STATIC") => Ok(ContextMemory::Static),
        Some("ON_PROFILE_CHANGE") => Ok(ContextMemory::OnProfileChange),
        Some(value) => Err(Error::invalid_arg(format!(
            "Invalid value for 'execution_context_allocation_strategy': '{value}' for model instance '{model}'. \
             Supported values are 'STATIC' and 'ON_PROFILE_CHANGE'."
        ))),
    }
}

/// `true`, `on`, `1` and their opposites, in any case.
fn boolean(value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        _ => Err(Error::invalid_arg(format!("failed to convert '{value}' to boolean"))),
    }
}

/// Triton takes anything but `BLOCKING` for the default.
fn policy(value: &str) -> Result<ExecutionPolicy> {
    match value {
        "DEVICE_BLOCKING" => Ok(ExecutionPolicy::DeviceBlocking),
        "BLOCKING" => Ok(ExecutionPolicy::Blocking),
        _ => Err(Error::invalid_arg(format!(
            "unknown execution-policy '{value}' for backend 'tensorrt'. Supported values are 'DEVICE_BLOCKING' and \
             'BLOCKING'."
        ))),
    }
}

fn plugins(value: &str) -> Vec<PathBuf> {
    value.split(';').map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[track_caller]
    fn check(pairs: &[(&str, &str)], expected: Result<Settings, &str>) {
        let got = Settings::parse(&map(pairs)).map_err(|e| e.with_code());
        assert_eq!(got, expected.map_err(|text| format!("Invalid argument: {text}")));
    }

    #[test]
    fn settings() {
        let none = Settings::default();
        check(&[], Ok(none.clone()));
        check(&[("default-max-batch-size", "x"), ("unknown", "y"), ("lib", "")], Ok(none.clone()));
        check(&[("version-compatible", "ON")], Ok(Settings { version_compatible: true, ..none.clone() }));
        check(&[("version-compatible", "yes")], Err("failed to convert 'yes' to boolean"));
        check(
            &[("coalesce-request-input", "1"), ("execution-policy", "BLOCKING")],
            Ok(Settings { coalesce_request_input: true, policy: ExecutionPolicy::Blocking, ..none.clone() }),
        );
        check(&[("coalesce-request-input", "")], Err("failed to convert '' to boolean"));
        check(&[("execution-policy", "DEVICE_BLOCKING")], Ok(none.clone()));
        check(
            &[("execution-policy", "blocking")],
            Err("unknown execution-policy 'blocking' for backend 'tensorrt'. Supported values are \
                 'DEVICE_BLOCKING' and 'BLOCKING'."),
        );
        check(
            &[("plugins", "/a.so;; b.so ;"), ("lib", "/opt/libnvinfer.so.10")],
            Ok(Settings {
                plugins: vec!["/a.so".into(), "b.so".into()],
                library: Some("/opt/libnvinfer.so.10".into()),
                ..none
            }),
        );
    }

    #[test]
    fn parameters_of_a_model() {
        let strategy = |value| context_memory(&map(&[("execution_context_allocation_strategy", value)]), "m");
        assert_eq!(context_memory(&map(&[]), "m"), Ok(ContextMemory::Static));
        assert_eq!(strategy("STATIC"), Ok(ContextMemory::Static));
        assert_eq!(strategy("ON_PROFILE_CHANGE"), Ok(ContextMemory::OnProfileChange));
        assert_eq!(
            strategy("static").unwrap_err().with_code(),
            "Invalid argument: Invalid value for 'execution_context_allocation_strategy': 'static' for model \
             instance 'm'. Supported values are 'STATIC' and 'ON_PROFILE_CHANGE'."
        );
        for (value, refused) in [("true", true), ("True", true), ("1", true), ("false", false), ("2", false)]
        {
            let got = context_memory(&map(&[("enable_multi_device", value)]), "m");
            assert_eq!(got.is_err(), refused, "{value}");
            if let Err(e) = got {
                assert!(e.message().contains("'enable_multi_device'"), "{e}");
            }
        }
    }
}
