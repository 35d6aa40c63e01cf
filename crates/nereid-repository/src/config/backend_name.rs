//! Guesses name, backend, platform and model file of a config that leaves them out, from each other and
//! from the files of one version (`AutoCompleteBackendFields` in Triton's model_config_utils.cc).

use std::collections::BTreeSet;

use nereid_core::{Error, Result};
use nereid_protocol::inference::ModelConfig;

use super::{ONNXRUNTIME, TENSORRT};

/// One kind of model that Triton knows. The guess tries them in this order, and so do we, so that a
/// repository means the same here even where the backend is absent.
struct Known {
    backend: &'static str,
    /// Platform to write; empty where Triton writes none.
    platform: &'static str,
    /// Further spellings of the platform.
    aliases: &'static [&'static str],
    file: &'static str,
    /// The guess from `file` needs a plain file, not a folder.
    plain_file: bool,
    /// The file name is written into the config also where the config gives a platform.
    writes_file: bool,
}

const KNOWN: [Known; 6] = [
    known(TENSORRT.1, TENSORRT.0, "model.plan", true),
    known(ONNXRUNTIME.1, ONNXRUNTIME.0, "model.onnx", false),
    known("openvino", "", "model.xml", false),
    Known {
        aliases: &["libtorch"],
        writes_file: false,
        ..known("pytorch", "pytorch_libtorch", "model.pt", true)
    },
    Known { writes_file: false, ..known("pytorch", "torch_aoti", "model.pt2", true) },
    known("python", "", "model.py", false),
];

/// What is in the version folder that is looked at.
#[derive(Debug, Default)]
pub(crate) struct VersionFiles {
    pub(crate) names: BTreeSet<String>,
    /// Those of `names` that are folders.
    pub(crate) folders: BTreeSet<String>,
}

/// Completes `config` of the model in folder `name`. `files` is `None` without any version folder.
///
/// # Errors
/// Nothing tells the backend.
pub(crate) fn guess(config: &mut ModelConfig, name: &str, files: Option<&VersionFiles>) -> Result<()> {
    if config.name.is_empty() {
        name.clone_into(&mut config.name);
    }
    for known in &KNOWN {
        if config.backend.is_empty() && known.is_meant(config, files) {
            known.backend.clone_into(&mut config.backend);
            if config.platform.is_empty() {
                known.platform.clone_into(&mut config.platform);
            }
        }
        if config.backend == known.backend {
            known.fill(config);
            return Ok(());
        }
    }
    if config.backend.is_empty() && config.platform.is_empty() && config.default_model_filename.is_empty() {
        return from_model_name(config, name);
    }
    Ok(())
}

/// What the name of a model's only file tells, whatever it is called: its extension is that of a kind.
pub(crate) fn from_file(config: &mut ModelConfig, file: &str) {
    if !config.default_model_filename.is_empty() && config.default_model_filename != file {
        return;
    }
    let extension = |file: &str| file.rsplit_once('.').map(|(_, extension)| extension.to_owned());
    let known = KNOWN.iter().find(|known| extension(known.file) == extension(file));
    if let Some(known) = known {
        if config.backend.is_empty() && config.platform.is_empty() {
            known.backend.clone_into(&mut config.backend);
        }
        file.clone_into(&mut config.default_model_filename);
    }
}

/// The last resort: `model.<backend>` as the name of the model.
fn from_model_name(config: &mut ModelConfig, name: &str) -> Result<()> {
    let Some((_, backend)) = name.split_once('.') else {
        return Err(Error::invalid_arg(format!(
            "Invalid model name: Could not determine backend for model '{name}' with no backend in model \
             configuration. Expected model name of the form 'model.<backend_name>'."
        )));
    };
    backend.clone_into(&mut config.backend);
    config.default_model_filename = format!("model.{backend}");
    Ok(())
}

impl Known {
    fn is_meant(&self, config: &ModelConfig, files: Option<&VersionFiles>) -> bool {
        let platform = config.platform.as_str();
        if !platform.is_empty() && (platform == self.platform || self.aliases.contains(&platform)) {
            return true;
        }
        if config.default_model_filename == self.file {
            return true;
        }
        platform.is_empty()
            && config.default_model_filename.is_empty()
            && files.is_some_and(|files| {
                files.names.contains(self.file) && !(self.plain_file && files.folders.contains(self.file))
            })
    }

    fn fill(&self, config: &mut ModelConfig) {
        let had_platform = !config.platform.is_empty();
        if !had_platform {
            self.platform.clone_into(&mut config.platform);
        }
        if config.default_model_filename.is_empty() && (self.writes_file || !had_platform) {
            self.file.clone_into(&mut config.default_model_filename);
        }
    }
}

const fn known(backend: &'static str, platform: &'static str, file: &'static str, plain_file: bool) -> Known {
    Known { backend, platform, aliases: &[], file, plain_file, writes_file: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `given` and the result are (platform, backend, file).
    #[track_caller]
    fn check(given: (&str, &str, &str), files: &[&str], expected: (&str, &str, &str)) {
        let (platform, backend, file) = given;
        let mut config = ModelConfig {
            platform: platform.into(),
            backend: backend.into(),
            default_model_filename: file.into(),
            ..Default::default()
        };
        let names = files.iter().map(|name| name.trim_end_matches('/').to_owned()).collect();
        let folders = files.iter().filter_map(|name| name.strip_suffix('/')).map(Into::into).collect();
        guess(&mut config, "m", Some(&VersionFiles { names, folders })).unwrap();
        assert_eq!(config.name, "m");
        let result = (&*config.platform, &*config.backend, &*config.default_model_filename);
        assert_eq!(result, expected);
    }

    #[test]
    fn guesses() {
        let onnx = ("onnxruntime_onnx", "onnxruntime", "model.onnx");
        let plan = ("tensorrt_plan", "tensorrt", "model.plan");
        check(("", "", ""), &["model.onnx"], onnx);
        check(("", "", ""), &["model.onnx/"], onnx);
        check(("onnxruntime_onnx", "", ""), &[], onnx);
        check(("", "onnxruntime", ""), &[], onnx);
        check(("", "", "model.onnx"), &[], onnx);
        check(("", "onnxruntime", "other.onnx"), &[], ("onnxruntime_onnx", "onnxruntime", "other.onnx"));
        check(("onnxruntime_onnx", "tensorrt", ""), &[], ("onnxruntime_onnx", "tensorrt", "model.plan"));
        check(("", "", ""), &["model.plan", "model.onnx"], plan);
        check(("", "", ""), &["model.plan/", "model.onnx"], onnx);
        check(("tensorrt_plan", "", ""), &["model.onnx"], plan);
        check(("ensemble", "", ""), &["model.onnx"], ("ensemble", "", ""));
        check(("", "mine", ""), &["model.onnx"], ("", "mine", ""));
        check(("", "", ""), &["model.xml"], ("", "openvino", "model.xml"));
        check(("", "", ""), &["model.pt"], ("pytorch_libtorch", "pytorch", ""));
        check(("", "", ""), &["model.py"], ("", "python", "model.py"));
        check(("nosuch", "", ""), &["model.onnx"], ("nosuch", "", ""));
    }

    #[test]
    fn the_name_is_the_last_resort() {
        let mut config = ModelConfig::default();
        guess(&mut config, "model.mine", None).unwrap();
        assert_eq!((&*config.backend, &*config.default_model_filename), ("mine", "model.mine"));
        let error = guess(&mut ModelConfig::default(), "empty_dir", None).unwrap_err();
        assert_eq!(
            error.message(),
            "Invalid model name: Could not determine backend for model 'empty_dir' with no backend in model \
             configuration. Expected model name of the form 'model.<backend_name>'."
        );
    }
}
