//! `xtask bench`: the bench harness with a release build of the server. What it measures is in `benches/`.

use crate::cli::{BenchArgs, ModelName, ModelsArgs};
use crate::command;
use crate::models;
use crate::onnxruntime::{self, Build};
use crate::workspace::{Profile, Workspace};

/// Runs the harness with `args`. ResNet-50 is made first where it is wanted and absent.
pub(crate) fn run(workspace: &Workspace, args: &BenchArgs) -> anyhow::Result<()> {
    let wants_resnet = !args.args.iter().any(|a| a == "--no-resnet" || a == "--schedulers-only");
    if wants_resnet && !workspace.path("model_repository/resnet50/1/model.onnx").is_file() {
        models::run(
            workspace,
            &ModelsArgs { model: ModelName::Resnet50, torchvision: false, tensorrt: false },
        )?;
    }
    let library = onnxruntime::library(workspace, Build::Cpu)?;
    let binary = workspace.build_server(Profile::Release)?;
    let mut harness = workspace.cargo();
    harness
        .args(["run", "--release", "--package", "nereid-benches", "--"])
        .args(&args.args)
        .env(onnxruntime::VARIABLE, library)
        .env("NEREID_BIN", binary);
    command::run(&mut harness)
}
