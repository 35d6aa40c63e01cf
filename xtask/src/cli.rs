//! The command line of `cargo xtask`. Only declarations: the help text here is the documentation.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Every chore of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) chore: Chore,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Chore {
    /// Fetch ONNX Runtime, build the server and serve model_repository/ until Ctrl-C
    Serve(ServeArgs),
    /// Run every test: Rust, then Python end to end with the real tritonclient
    Test(TestArgs),
    /// Train or build the models of model_repository/
    Models(ModelsArgs),
    /// Measure the server beside its floors
    Bench(BenchArgs),
    /// Check the server on GPUs: pack what a machine without network needs, or check this one
    GpuCheck(GpuCheckArgs),
    /// Replay recorded answers of a real Triton and list what deviates
    Conformance(ConformanceArgs),
    /// Generate the Rust code of proto/
    Codegen {
        /// Write nothing; fail if the committed code differs
        #[arg(long)]
        check: bool,
    },
    /// Fuzz what reads foreign bytes, one target after the other (needs a nightly toolchain and cargo-fuzz)
    Fuzz(FuzzArgs),
    /// Check the manifests, the chart, the images, rules and dashboards without a cluster
    Kube(KubeArgs),
    /// Run image, manifests and chart in a real Kubernetes of this machine, scene by scene (needs root and the lab)
    KubeLab(KubeLabArgs),
    /// What CI runs: fmt, clippy, deny, codegen --check, kube, test
    Ci,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Take the GPU build of ONNX Runtime (x86-64; needs CUDA 13 and cuDNN 9 on the loader's path)
    #[arg(long)]
    pub(crate) gpu: bool,
    /// Build without optimisation
    #[arg(long)]
    pub(crate) debug: bool,
    /// Further flags for the server, after `--`, such as --log-verbose=1
    #[arg(last = true)]
    pub(crate) flags: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Rust tests only
    #[arg(long)]
    pub(crate) fast: bool,
    /// Further arguments for pytest, after `--`, such as -k grpc
    #[arg(last = true)]
    pub(crate) pytest: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ModelsArgs {
    #[arg(value_enum, default_value_t = ModelName::MnistMlp)]
    pub(crate) model: ModelName,
    /// Install torchvision (large) and take its data set and weights
    #[arg(long)]
    pub(crate) torchvision: bool,
    /// Build its TensorRT plan with this machine's GPU, as a model of its own; make the ONNX model only if it is not there
    #[arg(long)]
    pub(crate) tensorrt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelName {
    #[value(name = "mnist_mlp")]
    MnistMlp,
    #[value(name = "resnet50")]
    Resnet50,
}

impl ModelName {
    /// Its folder in the model repository.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MnistMlp => "mnist_mlp",
            Self::Resnet50 => "resnet50",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Arguments for the harness, such as --help
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GpuCheckArgs {
    #[command(subcommand)]
    pub(crate) job: GpuCheckJob,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GpuCheckJob {
    /// Pack a bundle, in parts of at most 60 MiB, beside gpu-check.pyz that unpacks it there and checks
    Pack(PackArgs),
    /// Pack, then check this machine
    Run {
        #[command(flatten)]
        pack: PackArgs,
        /// Further arguments for the check, after `--`, such as --only "cuda answers"
        #[arg(last = true)]
        check: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PackArgs {
    /// Where the parts go; those that are there and right are not made again [default: target/gpu-check]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Pack these items [default: programs, onnxruntime, tensorrt-lean, and resnet50 if it was made]
    #[arg(long, value_enum, value_name = "ITEM,…", value_delimiter = ',')]
    pub(crate) only: Vec<Item>,
    /// Pack these as well; resnet50 is made if it is not there, tensorrt-8 is a download of 819 MB
    #[arg(long, value_enum, value_name = "ITEM,…", value_delimiter = ',')]
    pub(crate) with: Vec<Item>,
    /// Programs built without optimisation, to try the script itself
    #[arg(long)]
    pub(crate) debug: bool,
}

/// What travels together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Item {
    /// nereid, the bench program, mnist_mlp and sample requests
    Programs,
    /// ONNX Runtime with its CUDA provider
    Onnxruntime,
    /// The lean runtimes of TensorRT 10 and 11
    TensorrtLean,
    Resnet50,
    /// TensorRT RTX
    TensorrtRtx,
    /// The builder of TensorRT 8
    #[value(name = "tensorrt-8")]
    Tensorrt8,
}

impl Item {
    /// As on the command line and in the names of its parts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Programs => "programs",
            Self::Onnxruntime => "onnxruntime",
            Self::TensorrtLean => "tensorrt-lean",
            Self::Resnet50 => "resnet50",
            Self::TensorrtRtx => "tensorrt-rtx",
            Self::Tensorrt8 => "tensorrt-8",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ConformanceArgs {
    /// Folder with models.py, run.py and the recorded cases
    #[arg(long, value_name = "DIR")]
    pub(crate) cases: Option<PathBuf>,
    /// Further arguments for run.py, after `--`, such as --suite http/infer --show 50
    #[arg(last = true)]
    pub(crate) args: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// How long each target runs
    #[arg(long, default_value_t = 1)]
    pub(crate) minutes: u32,
    /// Targets of fuzz/fuzz_targets/, such as json_body; all of them if none is named
    pub(crate) targets: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KubeArgs {
    /// Write what is made from other files: the PrometheusRule
    #[arg(long)]
    pub(crate) write: bool,
    /// Leave out what needs a running server: command lines, queries of the dashboard and the alerts
    #[arg(long)]
    pub(crate) without_server: bool,
    /// Build the CPU image with a release build of the server and run it (needs root, buildah, runc, debootstrap)
    #[arg(long)]
    pub(crate) image: bool,
    /// List every check
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KubeLabArgs {
    /// Folder with the lab's build.sh, up.sh, down.sh and load-image.sh
    #[arg(long, value_name = "DIR")]
    pub(crate) scripts: Option<PathBuf>,
    /// Build Kubernetes first, where that was not done yet (about 15 minutes)
    #[arg(long)]
    pub(crate) build: bool,
    /// Take this server instead of a release build of this checkout
    #[arg(long, value_name = "PATH")]
    pub(crate) server: Option<PathBuf>,
    /// Run these scenes, such as apply,rollout; a wrong name lists them
    #[arg(long, value_name = "SCENE,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Leave the cluster up
    #[arg(long)]
    pub(crate) keep: bool,
    /// Write the table into k8s/README.md
    #[arg(long)]
    pub(crate) write: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declarations_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_after_two_dashes_belong_to_the_server() {
        let cli = Cli::parse_from(["cargo xtask", "serve", "--debug", "--", "--log-verbose=1", "--gpu"]);
        let Chore::Serve(args) = cli.chore else { panic!("not serve: {cli:?}") };
        assert!(args.debug && !args.gpu);
        assert_eq!(args.flags, ["--log-verbose=1", "--gpu"]);
    }
}
