//! Regions on a GPU and models that take tensors there: what stays, what is copied, and how long a region is in use.

use std::sync::atomic::{AtomicUsize, Ordering};

use nereid_core::testing::identity_config;
use nereid_core::{
    DataType, ErrorCode, InferRequest, InferResponse, InputTensor, ModelConfig, OutputTensor, Shape,
};

use super::*;
use crate::in_flight::Held;

/// What was done to the memory of a region.
#[derive(Debug, Default)]
struct Done {
    read: AtomicUsize,
    written: AtomicUsize,
    closed: AtomicUsize,
}

/// Memory of GPU 1.
#[derive(Debug)]
struct OnGpu(Arc<Done>);

const START: u64 = 0x10_0000;

impl Memory for OnGpu {
    fn read(&self, _: u64, byte_size: u64) -> Result<Bytes> {
        self.0.read.fetch_add(1, Ordering::Relaxed);
        Ok(vec![1; byte_size as usize].into())
    }

    fn write(&self, _: u64, _: &[u8]) -> Result<()> {
        self.0.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn device_slice(&self, at: u64, byte_size: u64) -> Option<DeviceSlice> {
        Some(DeviceSlice::new(1, START + at, byte_size as usize, self.0.clone()))
    }

    fn waits(&self) -> bool {
        true
    }

    fn close(&self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// A region `r` of 64 bytes.
fn region() -> (SharedMemory, Arc<Done>) {
    let (memory, done) = (SharedMemory::new(true), Arc::new(Done::default()));
    let on_gpu = OnGpu(done.clone());
    memory.register("r", 64, Place::Cuda { device_id: 1 }, |_| Ok(Box::new(on_gpu))).unwrap();
    (memory, done)
}

/// The input of [`request`] at byte 8 of the region, its output at byte 32.
fn windows(memory: &SharedMemory) -> Arc<Windows> {
    let mut windows = Windows::default();
    windows.add_input(memory, 0, Bounds { region: "r", offset: 8, byte_size: 8 }).unwrap();
    windows.add_output(memory, "OUTPUT0", Bounds { region: "r", offset: 32, byte_size: 8 }).unwrap();
    windows.into_option().unwrap()
}

fn request(datatype: DataType) -> InferRequest {
    let count = 8 / datatype.size_bytes().unwrap();
    let shape = Shape::from_slice(&[1, count as i64]);
    let input = InputTensor { name: "INPUT0".into(), datatype, shape, data: Bytes::new() };
    InferRequest { inputs: vec![input], ..Default::default() }
}

fn response(data: &'static [u8]) -> InferResponse {
    let (datatype, shape) = (DataType::Fp32, Shape::from_slice(&[1, 2]));
    let data = Bytes::from_static(data);
    let output = OutputTensor { name: "OUTPUT0".into(), datatype, shape, data };
    InferResponse { outputs: vec![output], ..Default::default() }
}

fn config() -> ModelConfig {
    let mut config = identity_config(8);
    config.inputs[0].dims = vec![-1];
    config
}

#[tokio::test]
async fn tensors_stay_where_the_model_takes_them() {
    let check = async |config: ModelConfig, device, input: bool, output: bool| {
        let (memory, done) = region();
        let datatype = config.inputs[0].datatype;
        let request =
            windows(&memory).read(request(datatype), &config, device, &mut Held::uncounted()).await.unwrap();
        assert_eq!(done.read.load(Ordering::Relaxed), usize::from(!input));
        assert_eq!(request.inputs[0].data.len(), if input { 0 } else { 8 });
        let placed = request.device.map(|device| *device).unwrap_or_default();
        let slices: Vec<_> =
            placed.inputs.iter().map(|(i, s)| (*i, s.device, s.address, s.byte_size)).collect();
        let expected: &[_] = if input { &[(0, 1, START + 8, 8)] } else { &[] };
        assert_eq!(slices, expected);
        let places: Vec<_> =
            placed.outputs.iter().map(|(n, s)| (&**n, s.device, s.address, s.byte_size)).collect();
        let expected: &[_] = if output { &[("OUTPUT0", 1, START + 32, 8)] } else { &[] };
        assert_eq!(places, expected);
    };
    check(config(), Some(1), true, true).await;
    check(config(), Some(0), false, false).await;
    check(config(), None, false, false).await;
    let mut booleans = config();
    booleans.inputs[0].datatype = DataType::Bool;
    check(booleans, Some(1), false, true).await;
    let mut strings = config();
    strings.outputs[0].datatype = DataType::Bytes;
    check(strings, Some(1), true, false).await;
    check(ModelConfig { response_cache: true, ..config() }, Some(1), false, false).await;
}

#[tokio::test]
async fn sizes_are_checked_all_the_same() {
    let (memory, done) = region();
    let mut config = config();
    config.inputs[0].dims = vec![1];
    let error = windows(&memory)
        .read(request(DataType::Fp32), &config, Some(1), &mut Held::uncounted())
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArg);
    assert!(error.message().contains("unexpected shape for input 'INPUT0'"), "{error}");
    assert_eq!(done.read.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn outputs_without_data_were_written_by_the_model() {
    let (memory, done) = region();
    let windows = windows(&memory);
    windows.write(response(&[])).await.unwrap();
    assert_eq!(done.written.load(Ordering::Relaxed), 0);
    let written = windows.write(response(&[1; 8])).await.unwrap();
    assert_eq!((written.outputs[0].data.len(), done.written.load(Ordering::Relaxed)), (0, 1));
    let error = windows.write(response(&[1; 9])).await.unwrap_err();
    assert_eq!(
        error.message(),
        "shared memory size specified with the request for output 'OUTPUT0' (8 bytes) should be at least 9 bytes to hold \
         the results"
    );
    assert_eq!(done.written.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_region_is_in_use_as_long_as_the_model_may_use_it() {
    let (memory, done) = region();
    let windows = windows(&memory);
    let request =
        windows.read(request(DataType::Fp32), &config(), Some(1), &mut Held::uncounted()).await.unwrap();
    drop(windows); // the client has gone, the batch still runs
    memory.unregister(Kind::Cuda, "r").unwrap();
    assert_eq!(done.closed.load(Ordering::Relaxed), 0);
    assert_eq!(memory.status(Kind::Cuda, "r").unwrap().len(), 1, "shown until it is unregistered");
    let mut device = *request.device.unwrap();
    device.inputs.clear();
    assert_eq!(memory.status(Kind::Cuda, "r").unwrap().len(), 1);
    device.outputs.clear();
    assert!(memory.status(Kind::Cuda, "r").is_err());
    assert_eq!(Arc::strong_count(&done), 1, "the memory is gone");
}
