//! The command on stand-ins for TensorRT, its parser and a GPU.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use nereid_cuda::Device;
use nereid_cuda::host::HostDevice;
use nereid_tensorrt::{Library, LoadOptions, LogSink, Runtime};
use tempfile::TempDir;

use super::arguments::Arguments;
use super::run;

const MODEL: &str = "FAKEONNX
name net
op add_sub
in INPUT0 0 -1x4
in INPUT1 0 -1x4
out OUTPUT0 0 -1x4
out OUTPUT1 0 -1x4";
const SHAPES: [&str; 3] = [
    "--minShapes=INPUT0:1x4,INPUT1:1x4",
    "--optShapes=INPUT0:8x4,INPUT1:8x4",
    "--maxShapes=INPUT0:16x4,INPUT1:16x4",
];

/// A folder with a library of TensorRT, its parser and a model.
struct Folder(TempDir);

impl Folder {
    fn new(major: i32, model: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let library = nereid_fakes::library(&format!("fake_nvinfer_{major}"));
        for name in [format!("libnvinfer.so.{major}"), format!("libnvonnxparser.so.{major}")] {
            fs::copy(&library, folder.path(&name)).unwrap();
        }
        fs::write(folder.path("model.onnx"), model).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn library(&self) -> Arc<Library> {
        let path = Some(self.0.path().to_owned());
        let log = LogSink::new(|_, _| ());
        Library::load(&LoadOptions { path, log, ..LoadOptions::default() }).unwrap()
    }

    fn run(&self, flags: &[&str]) -> Result<String, String> {
        let [onnx, plan] = [("--onnx", "model.onnx"), ("--saveEngine", "model.plan")]
            .map(|(flag, name)| format!("{flag}={}", self.path(name).display()));
        let arguments = ["trt-build", &onnx, &plan].into_iter().chain(flags.iter().copied());
        let arguments = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
        run::plan(&arguments, &self.library(), Some(&device())).map_err(|error| format!("{error:#}"))
    }

    fn plan(&self) -> String {
        fs::read_to_string(self.path("model.plan")).unwrap()
    }
}

fn device() -> Arc<dyn Device> {
    HostDevice::new(0).device()
}

fn flags<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SHAPES.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn a_plan_is_built_and_can_be_read() {
    for major in [10, 11] {
        let folder = Folder::new(major, MODEL);
        let text = folder.run(&flags(&[])).unwrap();
        let bytes = folder.plan().len();
        assert!(text.contains(&format!("model.plan: {bytes} bytes, built by TensorRT {major}.")), "{text}");
        let table = [
            "        name     datatype  shape  min  opt  max",
            "input   INPUT0   FLOAT     -1x4   1x4  8x4  16x4",
            "input   INPUT1   FLOAT     -1x4   1x4  8x4  16x4",
            "output  OUTPUT0  FLOAT     -1x4",
            "output  OUTPUT1  FLOAT     -1x4",
        ];
        assert!(text.ends_with(&(table.join("\n") + "\n")), "{text}");
        let runtime = Runtime::new(&folder.library(), &device()).unwrap();
        let engine = runtime.deserialize(folder.plan().as_bytes()).unwrap();
        let input = &engine.profiles()[0].inputs[1];
        assert_eq!(
            (&input.min[..], &input.opt[..], &input.max[..]),
            (&[1, 4][..], &[8, 4][..], &[16, 4][..])
        );
    }
}

#[test]
fn what_the_builder_is_told() {
    const WORDS: [&str; 5] = [
        "--memPoolSize=workspace:64,tacticSharedMem:48K",
        "--builderOptimizationLevel",
        "5",
        "--versionCompatible",
        "--excludeLeanRuntime",
    ];
    for (major, more, expected) in [
        (
            10,
            &["--fp16", "--bf16", "--int8"][..],
            &["built_flag 0", "built_flag 17", "built_flag 1", "built_flag 13", "built_flag 14"][..],
        ),
        (11, &[], &["built_flag 12", "built_flag 13"]),
    ] {
        let folder = Folder::new(major, MODEL);
        folder.run(&flags(&[&WORDS[..], more].concat())).unwrap();
        let plan = folder.plan();
        let told: Vec<&str> = plan.lines().filter(|line| line.starts_with("built_")).collect();
        let pools = ["built_pool 0 67108864", "built_pool 5 49152", "built_level 5"];
        assert_eq!(told, [&["built_network 0"][..], expected, &pools[..]].concat());
    }
}

#[test]
fn tensorrt_11_takes_the_precision_from_the_model() {
    for flag in ["--fp16", "--bf16", "--int8"] {
        let error = Folder::new(11, MODEL).run(&flags(&[flag])).unwrap_err();
        assert!(
            error.contains("TensorRT 11 takes the precision of every layer from the ONNX model"),
            "{error}"
        );
    }
}

#[test]
fn shapes_that_are_missing_or_do_not_fit() {
    for (more, expected) in [
        (&[][..], "input 'INPUT0' has shape -1x4, and the plan has to know which sizes it may have"),
        (
            &[],
            "--minShapes=INPUT0:1x4,INPUT1:1x4 --optShapes=INPUT0:8x4,INPUT1:8x4 --maxShapes=INPUT0:16x4,INPUT1:16x4",
        ),
        (&["--optShapes=INPUT0:2x4"], "input 'INPUT1' has shape -1x4"),
        (&["--optShapes=X:2x4"], "--optShapes: there is no input 'X': the model has 'INPUT0', 'INPUT1'"),
        (
            &["--optShapes=INPUT0:2x5,INPUT1:2x4"],
            "--optShapes: input 'INPUT0' has shape -1x4, which 2x5 does not fit",
        ),
        (&["--optShapes=INPUT0:2,INPUT1:2x4"], "which 2 does not fit"),
        (
            &["--minShapes=INPUT0:3x4", "--optShapes=INPUT0:2x4,INPUT1:2x4"],
            "input 'INPUT0': its smallest shape 3x4, its best 2x4 and its largest 2x4 are not in this order",
        ),
    ] {
        let folder = Folder::new(10, MODEL);
        let error = folder.run(more).unwrap_err();
        assert!(error.contains(expected), "{more:?}: {error}");
        assert!(!folder.path("model.plan").exists());
    }
}

#[test]
fn one_shape_is_enough() {
    for flag in ["--minShapes", "--optShapes", "--maxShapes"] {
        let folder = Folder::new(10, MODEL);
        folder.run(&[&format!("{flag}=INPUT0:2x4,INPUT1:3x4")]).unwrap();
        assert!(folder.plan().contains("in INPUT1 0 -1x4 3x4 3x4 3x4"), "{}", folder.plan());
    }
    let folder = Folder::new(10, "FAKEONNX\nop identity\nin X 0 2x2\nout Y 0 2x2");
    folder.run(&[]).unwrap();
}

#[test]
fn shape_tensors_have_values() {
    const RESHAPE: &str =
        "FAKEONNX\nop reshape\nin DATA 0 8\nin SHAPE 8 2 location=host shape_io\nout OUT 0 -1x-1";
    for (major, version) in [(10, ""), (10, "version 10.3.0.1"), (11, "")] {
        let folder = Folder::new(major, RESHAPE);
        fs::write(folder.path(&format!("libnvinfer.so.{major}.behaviour")), version).unwrap();
        let error = folder.run(&[]).unwrap_err();
        assert!(
            error.contains("input 'SHAPE' is a shape tensor") && error.contains("--optShapes=SHAPE:8x8"),
            "{error}"
        );
        let error = folder.run(&["--optShapes=SHAPE:2"]).unwrap_err();
        assert!(error.contains("shape tensor 'SHAPE' has 2 values, and 1 are given"), "{error}");
        folder.run(&["--minShapes=SHAPE:1x1", "--optShapes=SHAPE:2x4", "--maxShapes=SHAPE:8x8"]).unwrap();
        assert!(folder.plan().contains("values=1,1:2,4:8,8"), "{}", folder.plan());
    }
}

#[test]
fn models_that_tensorrt_cannot_take() {
    for major in [10, 11] {
        let folder = Folder::new(major, "FAKEONNX\nin X 0 1\nunsupported conv_7 MagicConv\nout Y 0 1");
        let error = folder.run(&[]).unwrap_err();
        assert!(error.contains("TensorRT cannot take the ONNX model"), "{error}");
        assert!(error.contains("node 1 'conv_7' (MagicConv): Plugin not found"), "{error}");
        let error = Folder::new(major, "nonsense").run(&[]).unwrap_err();
        assert!(error.contains("Failed to parse the ONNX model"), "{error}");
    }
}

#[test]
fn what_cannot_be_read_or_written() {
    let folder = Folder::new(10, MODEL);
    let error = folder.run(&flags(&["--saveEngine=/nowhere/model.plan"])).unwrap_err();
    assert!(error.contains("--saveEngine"), "given twice: {error}");
    fs::create_dir(folder.path("model.plan")).unwrap();
    let error = folder.run(&flags(&[])).unwrap_err();
    assert!(error.contains("writing '") && error.contains("model.plan'"), "{error}");
    let left: Vec<_> =
        fs::read_dir(folder.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "nothing is left behind: {left:?}");
    fs::remove_file(folder.path("model.onnx")).unwrap();
    let error = folder.run(&flags(&[])).unwrap_err();
    assert!(error.contains("reading '") && error.contains("model.onnx'"), "{error}");
}

#[test]
fn an_old_plan_is_replaced() {
    let folder = Folder::new(10, MODEL);
    fs::write(folder.path("model.plan"), "old").unwrap();
    folder.run(&flags(&[])).unwrap();
    assert!(folder.plan().starts_with("FAKEPLAN"));
}

#[test]
fn no_parser() {
    let folder = Folder::new(11, MODEL);
    fs::remove_file(folder.path("libnvonnxparser.so.11")).unwrap();
    let error = folder.run(&flags(&[])).unwrap_err();
    assert!(error.contains("unable to load TensorRT's ONNX parser"), "{error}");
    assert_eq!(error.matches("libnvonnxparser.so.11' (").count(), 2, "{error}");
}

/// TensorRT-RTX builds without a GPU; the whole TensorRT does not.
#[test]
fn without_a_gpu() {
    let folder = Folder::new(11, MODEL);
    let built = |library: &Path| {
        let arguments = ["trt-build", "--onnx", "x", "--saveEngine", "y"].map(str::to_owned);
        let mut arguments = Arguments::try_parse_from(arguments).unwrap();
        arguments.onnx = folder.path("model.onnx");
        arguments.save_engine = folder.path("model.plan");
        arguments.opt_shapes = super::shapes::parse("INPUT0:2x4,INPUT1:2x4").ok();
        let path = Some(library.to_owned());
        let log = LogSink::new(|_, _| ());
        let library = Library::load(&LoadOptions { path, log, ..LoadOptions::default() }).unwrap();
        run::plan(&arguments, &library, None).map_err(|error| format!("{error:#}"))
    };
    let error = built(&folder.path("libnvinfer.so.11")).unwrap_err();
    assert!(
        error.contains("TensorRT builds plans on the GPU that they are for, and there is none"),
        "{error}"
    );
    // Copies: the system takes a file that was renamed for the one that it has loaded.
    fs::copy(folder.path("libnvinfer.so.11"), folder.path("libtensorrt_rtx.so.1")).unwrap();
    for name in ["libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1"] {
        fs::write(folder.path(&format!("{name}.behaviour")), "version 1.7.0.1").unwrap();
    }
    fs::copy(folder.path("libnvonnxparser.so.11"), folder.path("libtensorrt_onnxparser_rtx.so.1")).unwrap();
    let text = built(&folder.path("libtensorrt_rtx.so.1")).unwrap();
    assert!(text.contains("built by TensorRT-RTX 1.7.0.1"), "{text}");
}

#[test]
fn the_command_line() {
    let check = |arguments: &[&str], expected: &str| {
        let all = ["trt-build"].iter().chain(arguments);
        let error = Arguments::try_parse_from(all).unwrap_err().to_string();
        assert!(error.contains(expected), "{arguments:?}: {error}");
    };
    check(&[], "--onnx <FILE>");
    check(&["--onnx=m", "--saveEngine=p", "--best"], "unexpected argument '--best'");
    check(&["--onnx=m", "--saveEngine=p", "--minShapes=x"], "'x' is not NAME:SHAPE");
    check(&["--onnx=m", "--saveEngine=p", "--memPoolSize=space:1"], "there is no pool 'space'");
    check(&["--onnx=m", "--saveEngine=p", "--builderOptimizationLevel=6"], "6 is not in 0..=5");
    check(&["--onnx=m", "--saveEngine=p", "--excludeLeanRuntime"], "--versionCompatible");
    check(&["--help"], "Flags are spelled as those of trtexec");
}
