//! `xtask models`: makes the models of `model_repository/`. The work is done by Python, in an environment
//! of its own; see `xtask/python`. TensorRT plans of them are made in `plans.rs`.

use crate::cli::{ModelName, ModelsArgs};
use crate::progress::Steps;
use crate::python::Venv;
use crate::workspace::Workspace;
use crate::{command, plans};

const REQUIREMENTS: &str = "xtask/python/requirements-models.txt";
const TORCHVISION: &str = "xtask/python/requirements-torchvision.txt";

/// Trains or builds `args.model` into the model repository, or its plan.
pub(crate) fn run(workspace: &Workspace, args: &ModelsArgs) -> anyhow::Result<()> {
    let onnx = workspace.path("model_repository").join(args.model.name()).join("1/model.onnx");
    let make = !args.tensorrt || !onnx.is_file();
    let mut steps = Steps::new(2 * usize::from(make) + usize::from(args.tensorrt));
    if make {
        make_onnx(workspace, args, &mut steps)?;
    }
    if args.tensorrt {
        let step = steps.start(&format!("TensorRT plan of {}", args.model.name()));
        let folder = plans::build(workspace, args.model)?;
        step.done(&folder.display().to_string());
    }
    Ok(())
}

fn make_onnx(workspace: &Workspace, args: &ModelsArgs, steps: &mut Steps) -> anyhow::Result<()> {
    let step = steps.start("Python environment");
    let venv = if args.torchvision {
        Venv::ensure(workspace, "venv-models-torchvision", &[REQUIREMENTS, TORCHVISION])?
    } else {
        Venv::ensure(workspace, "venv-models", &[REQUIREMENTS])?
    };
    step.done("complete");

    let script = match args.model {
        ModelName::MnistMlp => "xtask/python/train_mnist.py",
        ModelName::Resnet50 => "xtask/python/resnet50.py",
    };
    let step = steps.start(args.model.name());
    let mut python = venv.python();
    python.arg(workspace.path(script)).arg("--repository").arg(workspace.path("model_repository"));
    python.arg("--cache").arg(workspace.target("models"));
    if args.model == ModelName::MnistMlp {
        python.arg("--samples").arg(workspace.path("samples/digits"));
    }
    command::run(&mut python)?;
    step.done("written");
    Ok(())
}
