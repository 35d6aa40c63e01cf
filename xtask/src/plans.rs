//! `xtask models … --tensorrt`: builds the TensorRT plan of a model of `model_repository/` on this machine's GPU, and writes a
//! model of its own for it. The plan is built by `nereid trt-build`; plans are never committed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::cli::ModelName;
use crate::command;
use crate::workspace::{Profile, Workspace};

/// What to do when there is nothing to build with.
const ADVICE: &str = "building a plan needs an NVIDIA GPU with its driver, and TensorRT 10 or 11 with its ONNX parser \
                      (libnvinfer.so and libnvonnxparser.so): install them, or name the folder that has them with TENSORRT_LIB";

/// What the plan is optimised for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shapes {
    /// Dimensions of a row.
    row: &'static str,
    /// Rows at least, usually and at most.
    rows: [u32; 3],
}

impl Shapes {
    fn of(model: ModelName) -> Self {
        match model {
            ModelName::MnistMlp => Self { row: "1x28x28", rows: [1, 4, 8] },
            ModelName::Resnet50 => Self { row: "3x224x224", rows: [1, 8, 16] },
        }
    }

    fn flags(self) -> [String; 3] {
        let flag = |name: &str, rows: u32| format!("--{name}Shapes=input:{rows}x{}", self.row);
        [flag("min", self.rows[0]), flag("opt", self.rows[1]), flag("max", self.rows[2])]
    }
}

/// Builds the plan of `model`, whose ONNX file is there; the folder of the new model.
///
/// # Errors
/// There is no GPU or no TensorRT, or TensorRT refuses the model. Nothing is left behind then.
pub(crate) fn build(workspace: &Workspace, model: ModelName) -> anyhow::Result<PathBuf> {
    let source = workspace.path("model_repository").join(model.name());
    let target = workspace.path("model_repository").join(format!("{}_trt", model.name()));
    let server = workspace.build_server(Profile::Dev)?;
    // Outside the repository, and renamed when it is complete: a server that polls it sees all of the model or nothing.
    let work = tempfile::Builder::new().prefix(".plan-").tempdir_in(workspace.path(""))?;
    let made = work.path().join("model");
    fs::create_dir_all(made.join("1"))?;
    let mut trt_build = Command::new(server);
    trt_build.arg("trt-build").arg(format!("--onnx={}", source.join("1/model.onnx").display()));
    trt_build
        .arg(format!("--saveEngine={}", made.join("1/model.plan").display()))
        .args(Shapes::of(model).flags());
    command::run(&mut trt_build).context(ADVICE)?;
    describe(&source, &made, model.name())?;
    if target.exists() {
        fs::remove_dir_all(&target).with_context(|| format!("removing {}", target.display()))?;
    }
    fs::rename(&made, &target).with_context(|| format!("renaming to {}", target.display()))?;
    Ok(target)
}

/// Writes the config of the plan beside it, and copies labels.
fn describe(source: &Path, made: &Path, name: &str) -> anyhow::Result<()> {
    let from = source.join("config.pbtxt");
    let text = fs::read_to_string(&from).with_context(|| format!("reading {}", from.display()))?;
    let config = config(&text, name).with_context(|| format!("{} is not as expected", from.display()))?;
    fs::write(made.join("config.pbtxt"), config)?;
    let labels = source.join("labels.txt");
    if labels.is_file() {
        fs::copy(labels, made.join("labels.txt"))?;
    }
    Ok(())
}

/// The config of the plan: that of the ONNX model under another name and platform, on GPUs.
fn config(onnx: &str, name: &str) -> anyhow::Result<String> {
    let mut text = onnx.to_owned();
    for (from, to) in [
        (format!("name: \"{name}\"\n"), format!("name: \"{name}_trt\"\n")),
        ("platform: \"onnxruntime_onnx\"\n".to_owned(), "platform: \"tensorrt_plan\"\n".to_owned()),
    ] {
        if !text.contains(&from) {
            bail!("it has no line {}", from.trim_end());
        }
        text = text.replacen(&from, &to, 1);
    }
    Ok(text + "instance_group [ { kind: KIND_GPU } ]\n")
}

/// Whether `repository` has a plan, which loads only where there is a GPU.
pub(crate) fn any(repository: &Path) -> bool {
    let Ok(entries) = fs::read_dir(repository) else { return false };
    entries.filter_map(Result::ok).any(|entry| entry.path().join("1/model.plan").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_has_the_config_of_its_model() {
        let onnx = fs::read_to_string(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../model_repository/mnist_mlp/config.pbtxt"),
        )
        .unwrap();
        let plan = config(&onnx, "mnist_mlp").unwrap();
        let changed: Vec<_> = plan.lines().filter(|line| !onnx.lines().any(|l| l == *line)).collect();
        let expected = [
            "name: \"mnist_mlp_trt\"",
            "platform: \"tensorrt_plan\"",
            "instance_group [ { kind: KIND_GPU } ]",
        ];
        assert_eq!(changed, expected);
        assert!(config(&plan, "mnist_mlp").is_err(), "it is a plan already");
    }

    #[test]
    fn shapes_are_spelled_as_for_trtexec() {
        let flags = Shapes::of(ModelName::Resnet50).flags();
        assert_eq!(flags[1], "--optShapes=input:8x3x224x224");
    }

    #[test]
    fn plans_of_a_repository() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("m/1")).unwrap();
        assert!(!any(folder.path()));
        fs::write(folder.path().join("m/1/model.plan"), "").unwrap();
        assert!(any(folder.path()));
        assert!(!any(&folder.path().join("none")));
    }
}
