//! `xtask models`: makes the models of `model_repository/`. The work is done by Python, in an environment
//! of its own; see `xtask/python`.

use crate::cli::{ModelName, ModelsArgs};
use crate::command;
use crate::progress::Steps;
use crate::python::Venv;
use crate::workspace::Workspace;

const REQUIREMENTS: &str = "xtask/python/requirements-models.txt";
const TORCHVISION: &str = "xtask/python/requirements-torchvision.txt";

/// Trains or builds `args.model` into the model repository.
pub(crate) fn run(workspace: &Workspace, args: &ModelsArgs) -> anyhow::Result<()> {
    let mut steps = Steps::new(2);
    let step = steps.start("Python environment");
    let venv = if args.torchvision {
        Venv::ensure(workspace, "venv-models-torchvision", &[REQUIREMENTS, TORCHVISION])?
    } else {
        Venv::ensure(workspace, "venv-models", &[REQUIREMENTS])?
    };
    step.done("complete");

    let (title, script) = match args.model {
        ModelName::MnistMlp => ("mnist_mlp", "xtask/python/train_mnist.py"),
        ModelName::Resnet50 => ("resnet50", "xtask/python/resnet50.py"),
    };
    let step = steps.start(title);
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
