//! The management library's stand-in, read as the real one is.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use nereid_fakes::library;

use super::cuda::CudaGpu;
use super::readings::Turns;
use super::{GpuValues, Readings, nvml};

const HOPPER: &str = "gpu uuid=GPU-1 name=NVIDIA_H100 pci=00000000:1A:00.0 mig=off utilization=37 total=1000 used=400 \
                      power=123456 limit=700000 energy=5000\n";
const OLD: &str =
    "gpu uuid=GPU-2 name=Tesla_K80 pci=00000000:1B:00.0 utilization=100 total=50 used=0 power=!999\n";
const PARTED: &str = "gpu uuid=GPU-3 name=NVIDIA_A100 pci=00000000:1C:00.0 mig=on utilization=!3 total=90 used=30 \
                      power=250000 limit=400000 energy=70000\n\
                      mig uuid=MIG-1 name=NVIDIA_A100_MIG_1g.5gb total=20 used=7\n\
                      mig uuid=MIG-2 name=NVIDIA_A100_MIG_2g.10gb total=40 used=9 utilization=12\n";
const BROKEN: &str = "gpu uuid=!15\n";

/// A machine whose driver says `conf`; every copy of the library is one of its own.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new(conf: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(library("fake_nvml"), folder.path().join("libnvidia-ml.so.1")).unwrap();
        let machine = Self { folder };
        machine.say(conf);
        machine
    }

    /// At once, however often it is read meanwhile.
    fn say(&self, conf: &str) {
        let path = |name: &str| self.folder.path().join(name);
        fs::write(path("new"), conf).unwrap();
        fs::rename(path("new"), path("fake_nvml.conf")).unwrap();
    }

    /// Readings for `cuda`: uuid and place of each.
    fn read(&self, cuda: Option<&[(&str, &str)]>) -> Readings {
        let gpu = |(uuid, pci): &(&str, &str)| CudaGpu { uuid: (*uuid).into(), pci_bus_id: (*pci).into() };
        let cuda = cuda.map(|cuda| Ok(cuda.iter().map(gpu).collect()));
        start(&self.folder.path().join("libnvidia-ml.so.1"), move || cuda)
    }
}

fn start(
    library: &Path,
    cuda: impl FnOnce() -> Option<Result<Vec<CudaGpu>, String>> + Send + 'static,
) -> Readings {
    let library = library.to_owned();
    let reader = move |turns: &Turns| nvml::run(Some(&library), cuda, turns);
    let mut readings = Readings::start(Duration::ZERO, reader).unwrap();
    readings.patience = Duration::from_secs(3600);
    readings
}

/// Without what is not told: `uuid utilization total used power limit energy`.
fn shown(readings: &Readings) -> Vec<String> {
    let line = |gpu: &GpuValues| {
        let number = |number: Option<f64>| number.map_or("-".to_owned(), |number| number.to_string());
        let bytes = |bytes: Option<u64>| bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
        [
            gpu.uuid.clone(),
            number(gpu.utilization),
            bytes(gpu.memory_total_bytes),
            bytes(gpu.memory_used_bytes),
            number(gpu.power_usage_watts),
            number(gpu.power_limit_watts),
            number(gpu.energy_joules),
        ]
        .join(" ")
    };
    readings.values().iter().map(line).collect()
}

#[test]
fn each_gpu_tells_what_it_can() {
    let machine = Machine::new(&[HOPPER, OLD, BROKEN, PARTED].concat());
    let readings = machine.read(Some(&[
        ("MIG-2", ""),
        ("GPU-2", ""),
        ("unknown", "0000:1a:00.0"),
        ("unknown", "0000:1d:00.0"),
        ("MIG-1", ""),
    ]));
    let expected = |power: &str| {
        vec![
            "GPU-3 - - - 250 400 0".to_owned(),
            "MIG-2 0.12 40 9 - - -".to_owned(),
            format!("GPU-2 1 50 0 {power} - -"),
            "GPU-1 0.37 1000 400 123.456 700 0".to_owned(),
            "MIG-1 - 20 7 - - -".to_owned(),
        ]
    };
    assert_eq!(shown(&readings), expected("-"));
    // An error may pass; what is not supported is not asked for again.
    let better = OLD.replace("!999", "1500 limit=9");
    machine.say(&[HOPPER, &better, BROKEN, PARTED].concat());
    assert_eq!(shown(&readings), expected("1.5"));
}

#[test]
fn energy_is_what_was_used_since_the_first_reading() {
    let machine = Machine::new(HOPPER);
    let readings = machine.read(Some(&[("GPU-1", "")]));
    let energy = |now: &str| {
        machine.say(&HOPPER.replace("5000", now));
        shown(&readings)[0].rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(energy("5000"), "0");
    assert_eq!(energy("6500"), "1.5");
    assert_eq!(energy("!999"), "-");
    assert_eq!(energy("7000"), "2");
    assert_eq!(energy("10"), "2", "the driver was loaded anew");
    assert_eq!(energy("1010"), "3");
}

#[test]
fn nothing_to_read() {
    let nowhere = Path::new("/nonexistent/libnvidia-ml.so.1");
    assert!(start(nowhere, || panic!("CUDA is asked only when there is a library")).values().is_empty());
    for conf in ["init=9", "", BROKEN] {
        assert!(Machine::new(conf).read(Some(&[("GPU-1", "")])).values().is_empty(), "{conf}");
    }
    let machine = Machine::new(HOPPER);
    assert!(machine.read(Some(&[])).values().is_empty());
    let library = machine.folder.path().join("libnvidia-ml.so.1");
    assert!(start(&library, || Some(Err("no driver".to_owned()))).values().is_empty());
    assert_eq!(shown(&machine.read(Some(&[("GPU-1", "")]))).len(), 1);
}
