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
    /// What CI runs: fmt, clippy, deny, codegen --check, test
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ModelName {
    #[value(name = "mnist_mlp")]
    MnistMlp,
    #[value(name = "resnet50")]
    Resnet50,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Arguments for the harness, such as --help
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
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
