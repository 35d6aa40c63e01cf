//! `xtask gpu-check`: packs what a GPU machine without network needs, or runs the checks here. What the items hold is
//! listed here; how they become parts is in `xtask/gpu_check/bundle.py`, what is checked in the files beside it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::cli::{GpuCheckArgs, GpuCheckJob, Item, ModelName, ModelsArgs, PackArgs};
use crate::onnxruntime::{self, Build};
use crate::progress::Steps;
use crate::wheels::Wheel;
use crate::workspace::{Profile, Workspace};
use crate::{models, python};

/// Where each file goes in the bundle.
type Files = BTreeMap<String, PathBuf>;

const LEAN: [Wheel; 2] = [
    pinned("xtask/python/tensorrt-lean-10.txt", "tensorrt_lean_libs"),
    pinned("xtask/python/tensorrt-lean-11.txt", "tensorrt_lean_libs"),
];
const RTX: Wheel = pinned("xtask/python/tensorrt-rtx.txt", "tensorrt_rtx_libs");
/// TensorRT 8: a wheel, what it has, and the files of it that building takes. Its plugins want libraries of CUDA 12; the lean
/// runtime is put into version-compatible plans.
const TENSORRT_8: [(Wheel, &str, &[&str]); 2] = [
    (
        old("xtask/python/tensorrt-8.txt", "tensorrt"),
        "full",
        &["libnvinfer.so.8", "libnvinfer_builder_resource.so.8.6.0"],
    ),
    (old("xtask/python/tensorrt-lean-8.txt", "tensorrt_lean"), "lean", &["libnvinfer_lean.so.8"]),
];

const fn pinned(requirements: &'static str, folder: &'static str) -> Wheel {
    Wheel { requirements, python: "311", abi: "cp311", platform: "manylinux_2_28", folder }
}

const fn old(requirements: &'static str, folder: &'static str) -> Wheel {
    Wheel { requirements, python: "310", abi: "none", platform: "manylinux_2_17", folder }
}

/// Packs, and with `run` checks this machine.
pub(crate) fn run(workspace: &Workspace, args: &GpuCheckArgs) -> anyhow::Result<ExitCode> {
    match &args.job {
        GpuCheckJob::Pack(args) => {
            pack(workspace, args)?;
            Ok(ExitCode::SUCCESS)
        }
        GpuCheckJob::Run { pack: args, check } => {
            let out = pack(workspace, args)?;
            let status = python::system().arg(out.join("gpu-check.pyz")).args(check).status()?;
            Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Makes the bundle; the folder it is in.
fn pack(workspace: &Workspace, args: &PackArgs) -> anyhow::Result<PathBuf> {
    let out = args.out.clone().unwrap_or_else(|| workspace.target("gpu-check"));
    let items = items(args, resnet50(workspace).is_file());
    let mut steps = Steps::new(items.len() + 1);
    let mut wanted = BTreeMap::new();
    for item in items {
        let step = steps.start(item.name());
        let files = files(workspace, item, args)?;
        step.done(&format!("{} file(s)", files.len()));
        wanted.insert(item.name(), files);
    }
    let step = steps.start("Parts");
    compress(&workspace.path("xtask/gpu_check/pack.py"), &wanted, &out, None)?;
    step.done(&out.display().to_string());
    Ok(out)
}

/// What is packed: what was named, or what is always wanted and ResNet-50 if it is there.
fn items(args: &PackArgs, has_resnet: bool) -> Vec<Item> {
    let mut items = args.only.clone();
    if items.is_empty() {
        items = vec![Item::Programs, Item::Onnxruntime, Item::TensorrtLean];
        items.extend(has_resnet.then_some(Item::Resnet50));
    }
    items.extend(&args.with);
    items.sort();
    items.dedup();
    items
}

fn files(workspace: &Workspace, item: Item, args: &PackArgs) -> anyhow::Result<Files> {
    match item {
        Item::Programs => programs(workspace, if args.debug { Profile::Dev } else { Profile::Release }),
        Item::Onnxruntime => {
            let library = onnxruntime::pinned(workspace, Build::Gpu)?;
            let folder = library.parent().context("a library lies in a folder")?;
            Ok(within("lib/onnxruntime", folder)?
                .into_iter()
                .filter(|(to, _)| !to.contains("tensorrt"))
                .collect())
        }
        Item::TensorrtLean => {
            let mut files = Files::new();
            for wheel in &LEAN {
                files.extend(within("lib/tensorrt-lean", &tensorrt(workspace, wheel, "lean")?)?);
            }
            Ok(files)
        }
        Item::TensorrtRtx => within("lib/tensorrt-rtx", &tensorrt(workspace, &RTX, "rtx")?),
        Item::Tensorrt8 => {
            let mut files = Files::new();
            for (wheel, flavor, names) in &TENSORRT_8 {
                let folder = tensorrt(workspace, wheel, flavor)?;
                files.extend(names.iter().map(|name| (format!("lib/tensorrt-8/{name}"), folder.join(name))));
            }
            Ok(files)
        }
        Item::Resnet50 => {
            if !resnet50(workspace).is_file() {
                let args = ModelsArgs { model: ModelName::Resnet50, torchvision: false, tensorrt: false };
                models::run(workspace, &args)?;
            }
            within("models/resnet50", &workspace.path("model_repository/resnet50"))
        }
    }
}

fn programs(workspace: &Workspace, profile: Profile) -> anyhow::Result<Files> {
    let server = workspace.build_server(profile)?;
    let bench = workspace.build_bench(profile)?;
    let mut files = Files::from([("bin/nereid".to_owned(), server), ("bin/bench".to_owned(), bench)]);
    files.extend(within("models/mnist_mlp", &workspace.path("model_repository/mnist_mlp"))?);
    let samples = within("samples/digits", &workspace.path("samples/digits"))?;
    files.extend(samples.into_iter().filter(|(to, _)| to.ends_with(".json")));
    Ok(files)
}

fn tensorrt(workspace: &Workspace, wheel: &Wheel, flavor: &str) -> anyhow::Result<PathBuf> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the libraries of TensorRT are pinned for x86_64 only: leave them out with --only");
    }
    Ok(wheel.libraries(workspace, &format!("tensorrt/{{version}}-{flavor}"))?.folder)
}

fn resnet50(workspace: &Workspace) -> PathBuf {
    workspace.path("model_repository/resnet50/1/model.onnx")
}

/// Every file below `folder`, to go below `to`.
fn within(to: &str, folder: &Path) -> anyhow::Result<Files> {
    let mut files = Files::new();
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let to = format!("{to}/{}", name.to_str().context("a file name is not UTF-8")?);
        if entry.file_type()?.is_dir() {
            files.extend(within(&to, &entry.path())?);
        } else {
            files.insert(to, entry.path());
        }
    }
    Ok(files)
}

fn compress(
    script: &Path,
    wanted: &BTreeMap<&str, Files>,
    out: &Path,
    part_bytes: Option<usize>,
) -> anyhow::Result<()> {
    let mut python = python::system();
    python.arg(script).arg(out).args(part_bytes.map(|bytes| bytes.to_string()));
    let mut child = python.stdin(Stdio::piped()).spawn().context("python3 is needed")?;
    let mut stdin = child.stdin.take().context("the child has no stdin")?;
    stdin.write_all(&serde_json::to_vec(wanted)?)?;
    drop(stdin);
    let status = child.wait()?;
    if !status.success() {
        bail!("packing ended with {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use super::*;

    fn args(only: &[Item], with: &[Item]) -> PackArgs {
        PackArgs { out: None, only: only.to_vec(), with: with.to_vec(), debug: false }
    }

    #[test]
    fn what_is_packed() {
        let usual = [Item::Programs, Item::Onnxruntime, Item::TensorrtLean];
        assert_eq!(items(&args(&[], &[]), false), usual);
        assert_eq!(items(&args(&[], &[]), true), [&usual[..], &[Item::Resnet50]].concat());
        let more = items(&args(&[], &[Item::Tensorrt8, Item::Programs]), false);
        assert_eq!(more, [&usual[..], &[Item::Tensorrt8]].concat());
        assert_eq!(items(&args(&[Item::Programs], &[]), true), [Item::Programs]);
    }

    /// Packs `wanted` into parts of 1000 bytes; when each part was written.
    fn packed(out: &Path, wanted: &BTreeMap<&str, Files>) -> BTreeMap<String, SystemTime> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("gpu_check/pack.py");
        compress(&script, wanted, out, Some(1000)).unwrap();
        let parts = within("", out).unwrap().into_iter().filter(|(name, _)| name.ends_with(".part"));
        parts.map(|(name, path)| (name, fs::metadata(path).unwrap().modified().unwrap())).collect()
    }

    /// Bytes that do not compress, so that there are several parts.
    fn noise(mut state: u32, bytes: usize) -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..bytes).map(|_| next()).collect()
    }

    #[test]
    fn a_part_that_is_right_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let mut wanted = BTreeMap::from([
            ("a", Files::from([("lib/one".to_owned(), file("one", &noise(1, 2500)))])),
            ("b", Files::from([("lib/two".to_owned(), file("two", &noise(2, 2500)))])),
        ]);
        let out = folder.path().join("out");
        let first = packed(&out, &wanted);
        assert!(first.len() >= 6, "{first:?}");
        assert_eq!(packed(&out, &wanted), first, "nothing has changed");

        fs::remove_file(out.join("b.02.part")).unwrap();
        let again = packed(&out, &wanted);
        let made: Vec<_> = first.keys().filter(|name| first[*name] != again[*name]).collect();
        assert_eq!(made, ["/b.02.part"], "only what was missing");

        file("one", &noise(3, 1200));
        wanted.remove("b");
        let changed = packed(&out, &wanted);
        assert!(changed.len() < again.len(), "parts of the larger file are gone: {changed:?}");
        let kept = |all: &BTreeMap<String, SystemTime>| {
            all.iter()
                .filter(|(name, _)| name.starts_with("/b."))
                .map(|(n, t)| (n.clone(), *t))
                .collect::<Vec<_>>()
        };
        assert_eq!(kept(&changed), kept(&again), "the other item stays");
    }
}
