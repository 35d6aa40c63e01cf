//! Inputs of a batch into memory of a GPU, outputs from there to requests: what arrives where, and by how many copies.

use std::sync::Arc;

use nereid_core::backend::Outputs;
use nereid_core::batch::{Batch, split};
use nereid_core::config::{InputConfig, OutputConfig, TensorForm};
use nereid_core::{
    DataType, DeviceSlice, DeviceTensors, ErrorCode, InferRequest, InputTensor, ModelConfig, OutputTensor,
    Result, Shape, ValidRequest,
};
use nereid_cuda::host::{Copies, HostDevice, Live};
use nereid_cuda::staging::{self, Area, Gathered, OnDevice, Produced};
use nereid_cuda::{Device, DeviceBuffer, PinnedPool, Stream, StreamPriority};

/// UINT8 `IN` of any length per row, optional; outputs `A` and `B`.
fn config(ragged: bool) -> ModelConfig {
    let (dims, form, datatype) = (vec![-1], TensorForm::Linear, DataType::Uint8);
    let input = InputConfig {
        name: "IN".into(),
        datatype,
        dims: dims.clone(),
        reshape: None,
        optional: true,
        allow_ragged_batch: ragged,
        form,
    };
    let output =
        |name: &str| OutputConfig { name: name.into(), datatype, dims: dims.clone(), reshape: None, form };
    ModelConfig {
        max_batch_size: 8,
        inputs: vec![input],
        outputs: vec![output("A"), output("B")],
        ..Default::default()
    }
}

/// A GPU, a stream on it, and memory that stands for a client's.
struct Fixture {
    host: Arc<HostDevice>,
    device: Arc<dyn Device>,
    stream: Stream,
    pool: Option<Arc<PinnedPool>>,
}

impl Fixture {
    fn new() -> Self {
        let host = HostDevice::new(1);
        let device = host.device();
        let stream = Stream::new(&device, StreamPriority::Default).unwrap();
        Self { host, device, stream, pool: Some(PinnedPool::new(1 << 20)) }
    }

    fn area(&self) -> Area {
        Area::new(&self.device, self.pool.clone())
    }

    /// Memory on the GPU with `content`, from byte `at` of an allocation.
    fn slice(&self, at: usize, content: &[u8]) -> DeviceSlice {
        let mut buffer = DeviceBuffer::new(&self.device, at + content.len()).unwrap();
        buffer.write(at, content).unwrap();
        let address = buffer.address() + at as u64;
        DeviceSlice::new(1, address, content.len(), Arc::new(buffer))
    }

    fn content(&self, address: u64, byte_size: usize) -> Vec<u8> {
        let mut data = vec![0; byte_size];
        if byte_size > 0 {
            // SAFETY: the tests read what they have.
            #[expect(unsafe_code, reason = "memory is by address")]
            unsafe { self.device.read(&mut data, address) }.unwrap();
        }
        data
    }

    fn gather(
        &self,
        area: &mut Area,
        config: &ModelConfig,
        requests: &[ValidRequest],
        as_it_lies: bool,
    ) -> Result<Option<Gathered>> {
        let requests: Vec<_> = requests.iter().collect();
        let batch = Batch::new(config, &requests);
        self.host.take_copies();
        // SAFETY: everything outlives the call, and copies on this device run at once.
        #[expect(unsafe_code, reason = "copies are by address")]
        unsafe {
            staging::gather(area, &batch, 0, as_it_lies, &self.stream)
        }
    }

    fn scatter(&self, areas: &mut [Area], batch: &Batch<'_>, outputs: Vec<Produced>) -> Result<Outputs> {
        self.host.take_copies();
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "copies are by address")]
        unsafe {
            staging::scatter(batch, outputs, areas, &self.stream)
        }
    }
}

/// One row with `content`.
fn on_host(config: &ModelConfig, content: &[u8]) -> ValidRequest {
    let shape = Shape::from_slice(&[1, content.len() as i64]);
    request(config, shape, content, DeviceTensors::default(), &[])
}

fn on_device(config: &ModelConfig, slice: DeviceSlice) -> ValidRequest {
    let shape = Shape::from_slice(&[1, slice.byte_size as i64]);
    let device = DeviceTensors { inputs: vec![(0, slice)], outputs: Vec::new() };
    request(config, shape, &[], device, &[])
}

fn request(
    config: &ModelConfig,
    shape: Shape,
    content: &[u8],
    device: DeviceTensors,
    outputs: &[&str],
) -> ValidRequest {
    let (datatype, data) = (DataType::Uint8, content.to_vec().into());
    let input = InputTensor { name: "IN".into(), datatype, shape, data };
    let outputs = outputs.iter().map(|name| name.to_string()).collect();
    let request =
        InferRequest { inputs: vec![input], outputs, device: Some(Box::new(device)), ..Default::default() };
    ValidRequest::new(request, config).unwrap()
}

#[track_caller]
fn gathers(
    fixture: &Fixture,
    config: &ModelConfig,
    requests: &[ValidRequest],
    shape: &[i64],
    copies: Copies,
) {
    let mut area = fixture.area();
    let gathered = fixture.gather(&mut area, config, requests, true).unwrap().unwrap();
    assert_eq!(fixture.host.take_copies(), copies);
    assert_eq!(gathered.shape[..], *shape);
    let expected: Vec<u8> = (1..).take(gathered.byte_size).collect();
    assert_eq!(fixture.content(gathered.address, gathered.byte_size), expected);
}

#[test]
fn inputs_arrive_in_as_few_copies_as_there_are_pieces() {
    let mut fixture = Fixture::new();
    let config = config(false);
    let host = |content: &[u8]| on_host(&config, content);
    let copies = |to_device, on_device| Copies { to_device, on_device, to_host: 0 };
    let (one, three) = (vec![host(&[1, 2])], vec![host(&[1, 2]), host(&[3, 4]), host(&[5, 6])]);
    gathers(&fixture, &config, &one, &[1, 2], copies(1, 0));
    gathers(&fixture, &config, &three, &[3, 2], copies(1, 0));
    let there = |content: &[u8]| on_device(&config, fixture.slice(0, content));
    let mixed = [host(&[1, 2]), host(&[3, 4]), there(&[5, 6]), host(&[7, 8])];
    gathers(&fixture, &config, &mixed, &[4, 2], copies(2, 1));
    gathers(&fixture, &config, &[there(&[1, 2]), there(&[3, 4])], &[2, 2], copies(0, 2));
    gathers(&fixture, &config, &[there(&[1, 2])], &[1, 2], copies(0, 0));
    let crooked = on_device(&config, fixture.slice(4, &[1, 2]));
    gathers(&fixture, &config, &[crooked], &[1, 2], copies(0, 1));
    fixture.pool = None;
    gathers(&fixture, &config, &three, &[3, 2], copies(3, 0));
    fixture.pool = Some(PinnedPool::new(0)); // memory for copies that is not page-locked
    gathers(&fixture, &config, &three, &[3, 2], copies(1, 0));
    drop((one, three, mixed));
    let left = Live { streams: 1, ..Live::default() };
    assert_eq!(fixture.host.live(), left);
}

#[test]
fn a_long_input_goes_in_pieces_and_nothing_is_lost() {
    let (fixture, config) = (Fixture::new(), config(false));
    let content: Vec<u8> = (0..3_u32 << 19).map(|byte| (byte % 251) as u8).collect();
    let requests = [on_host(&config, &content), on_host(&config, &content)];
    let mut area = fixture.area();
    let gathered = fixture.gather(&mut area, &config, &requests, true).unwrap().unwrap();
    assert_eq!(fixture.host.take_copies(), Copies { to_device: 3, ..Copies::default() });
    assert_eq!(gathered.byte_size, 2 * content.len());
    assert!(fixture.content(gathered.address, gathered.byte_size) == [&content[..], &content].concat());
}

#[test]
fn ragged_empty_and_absent_inputs() {
    let (fixture, ragged) = (Fixture::new(), config(true));
    let requests = [on_host(&ragged, &[1]), on_host(&ragged, &[2, 3, 4])];
    gathers(&fixture, &ragged, &requests, &[4], Copies { to_device: 1, ..Copies::default() });
    let config = config(false);
    gathers(&fixture, &config, &[on_host(&config, &[])], &[1, 0], Copies::default());
    let absent = ValidRequest::new(InferRequest::default(), &config).unwrap();
    let mut area = fixture.area();
    assert_eq!(fixture.gather(&mut area, &config, &[absent], true), Ok(None));
    let error =
        fixture.gather(&mut area, &config, &[on_host(&config, &[1]), on_host(&config, &[1, 2])], true);
    assert_eq!(error.unwrap_err().message(), "input 'IN' differs in shape or presence within one batch");
}

#[test]
fn what_is_to_be_in_one_place_is_copied_there() {
    let (fixture, config) = (Fixture::new(), config(false));
    let slice = fixture.slice(0, &[1, 2]);
    let mut area = fixture.area();
    let gathered = fixture.gather(&mut area, &config, &[on_device(&config, slice.clone())], false);
    assert_eq!(gathered.unwrap().unwrap().address, area.on_device(2).unwrap());
    let gathered = fixture.gather(&mut area, &config, &[on_device(&config, slice.clone())], true);
    assert_eq!(gathered.unwrap().unwrap().address, slice.address);
    // SAFETY: as in `gather`.
    #[expect(unsafe_code, reason = "copies are by address")]
    let address = unsafe { staging::put(&mut area, &[7, 8, 9], &fixture.stream) }.unwrap();
    assert_eq!(fixture.content(address, 3), [7, 8, 9]);
}

#[test]
fn inputs_that_cannot_be_gathered() {
    let (fixture, config) = (Fixture::new(), config(false));
    let elsewhere = DeviceSlice::new(0, 0x1000, 2, Arc::new(()));
    let mut area = fixture.area();
    let error = fixture.gather(&mut area, &config, &[on_device(&config, elsewhere)], true).unwrap_err();
    assert_eq!(error.message(), "input 'IN' is on GPU 0, and the model on GPU 1");
    fixture.host.limit_memory(4);
    let error = fixture.gather(&mut area, &config, &[on_host(&config, &[1; 5])], true).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(error.message().contains("CUDA_ERROR_OUT_OF_MEMORY"), "{error}");
    let gathered = fixture.gather(&mut area, &config, &[on_host(&config, &[1; 3])], true).unwrap();
    assert_eq!(gathered.unwrap().byte_size, 3);
    // Growing takes more than is needed, if there is more.
    assert!(fixture.gather(&mut area, &config, &[on_host(&config, &[1; 4])], true).is_ok());
}

/// A request of `rows` rows that wants `outputs`, with places for some.
fn wants(config: &ModelConfig, rows: i64, outputs: &[&str], places: &[(&str, &DeviceSlice)]) -> ValidRequest {
    let places = places.iter().map(|(name, slice)| (name.to_string(), (*slice).clone())).collect();
    let device = DeviceTensors { inputs: Vec::new(), outputs: places };
    request(config, Shape::from_slice(&[rows, 1]), &vec![0; rows as usize], device, outputs)
}

fn tensor(name: &str, rows: i64, data: &[u8]) -> OutputTensor {
    let shape = Shape::from_slice(&[rows, 2]);
    OutputTensor { name: name.into(), datatype: DataType::Uint8, shape, data: data.to_vec().into() }
}

/// `A` of three rows on the GPU and `B` of three on the host.
fn produced(fixture: &Fixture) -> (Vec<Produced>, DeviceSlice) {
    let slice = fixture.slice(0, &[1, 2, 3, 4, 5, 6]);
    let tensor_a = tensor("A", 3, &[]);
    let (index, address, byte_size, area) = (0, slice.address, 6, 0);
    let a = OnDevice { tensor: tensor_a, index, address, byte_size, area };
    let b = Produced::OnHost(tensor("B", 3, &[11, 12, 13, 14, 15, 16]));
    (vec![Produced::OnDevice(a), b], slice)
}

/// Name, rows and data of every output of every request.
fn shown(batch: &Batch<'_>, outputs: Outputs) -> Vec<Vec<(String, i64, Vec<u8>)>> {
    let of = |o: OutputTensor| (o.name.to_string(), o.shape[0], o.data.to_vec());
    let responses = split(batch, outputs).unwrap();
    responses.into_iter().map(|response| response.outputs.into_iter().map(of).collect()).collect()
}

#[test]
fn without_places_outputs_go_to_the_host_as_a_whole() {
    let (mut fixture, config) = (Fixture::new(), config(false));
    let requests = [wants(&config, 1, &[], &[]), wants(&config, 2, &["A"], &[])];
    let requests: Vec<_> = requests.iter().collect();
    let batch = Batch::new(&config, &requests);
    for pool in [fixture.pool.clone(), None] {
        fixture.pool = pool;
        let (outputs, _kept) = produced(&fixture);
        let outputs = fixture.scatter(&mut [fixture.area()], &batch, outputs).unwrap();
        assert_eq!(fixture.host.take_copies(), Copies { to_host: 1, ..Copies::default() });
        assert!(matches!(outputs, Outputs::Batch(_)));
        let first = vec![("A".into(), 1, vec![1, 2]), ("B".into(), 1, vec![11, 12])];
        assert_eq!(shown(&batch, outputs), [first, vec![("A".into(), 2, vec![3, 4, 5, 6])]]);
    }
}

#[test]
fn parts_go_to_their_places() {
    let (mut fixture, config) = (Fixture::new(), config(false));
    let place = fixture.slice(2, &[0; 3]);
    let small = fixture.slice(0, &[0; 1]);
    let other = DeviceSlice::new(0, 0x1000, 100, Arc::new(()));
    let last = |place| wants(&config, 1, &["B", "A"], &[("A", place)]);
    for (pool, last) in [(fixture.pool.clone(), last(&small)), (None, last(&other))] {
        fixture.pool = pool;
        let requests = [wants(&config, 1, &[], &[("A", &place)]), wants(&config, 1, &["B"], &[]), last];
        let requests: Vec<_> = requests.iter().collect();
        let batch = Batch::new(&config, &requests);
        assert!(staging::is_asked_for(&batch, 0, &*fixture.device));
        assert!(!staging::is_asked_for(&batch, 1, &*fixture.device));
        let (outputs, _kept) = produced(&fixture);
        let outputs = fixture.scatter(&mut [fixture.area()], &batch, outputs).unwrap();
        assert_eq!(fixture.host.take_copies(), Copies { to_host: 1, on_device: 1, to_device: 0 });
        assert_eq!(
            shown(&batch, outputs),
            [
                vec![("A".into(), 1, vec![]), ("B".into(), 1, vec![11, 12])],
                vec![("B".into(), 1, vec![13, 14])],
                vec![("A".into(), 1, vec![5, 6]), ("B".into(), 1, vec![15, 16])],
            ]
        );
        assert_eq!(fixture.content(place.address, 3), [1, 2, 0]);
    }
}

#[test]
fn parts_between_places_go_to_the_host() {
    let (mut fixture, config) = (Fixture::new(), config(false));
    for pool in [fixture.pool.clone(), None] {
        fixture.pool = pool;
        let place = fixture.slice(0, &[0; 2]);
        let in_place = wants(&config, 1, &["A"], &[("A", &place)]);
        let requests = [wants(&config, 1, &["A"], &[]), in_place, wants(&config, 1, &["A"], &[])];
        let requests: Vec<_> = requests.iter().collect();
        let batch = Batch::new(&config, &requests);
        let (outputs, _kept) = produced(&fixture);
        let outputs = fixture.scatter(&mut [fixture.area()], &batch, outputs).unwrap();
        assert_eq!(fixture.host.take_copies(), Copies { to_host: 2, on_device: 1, to_device: 0 });
        let a = |data: &[u8]| vec![("A".to_owned(), 1, data.to_vec())];
        assert_eq!(shown(&batch, outputs), [a(&[1, 2]), a(&[]), a(&[5, 6])]);
        assert_eq!(fixture.content(place.address, 2), [3, 4]);
    }
}

#[test]
fn rows_that_nobody_asked_for_stay_and_missing_ones_are_an_error() {
    let (fixture, config) = (Fixture::new(), config(false));
    for (rows, expected) in
        [(2, Some(vec![("A".into(), 2, vec![]), ("B".into(), 2, vec![11, 12, 13, 14])])), (4, None)]
    {
        let place = fixture.slice(0, &[0; 8]);
        let request = wants(&config, rows, &[], &[("A", &place)]);
        let requests = [&request];
        let batch = Batch::new(&config, &requests);
        let (outputs, _kept) = produced(&fixture);
        let outputs = fixture.scatter(&mut [fixture.area()], &batch, outputs).unwrap();
        match expected {
            Some(expected) => {
                assert_eq!(shown(&batch, outputs), [expected]);
                assert_eq!(fixture.content(place.address, 8), [1, 2, 3, 4, 0, 0, 0, 0]);
            }
            None => assert!(split(&batch, outputs).unwrap_err().message().contains("got 3")),
        }
    }
}

#[test]
fn where_a_run_may_write_itself() {
    let (fixture, config) = (Fixture::new(), config(false));
    let buffer = fixture.slice(0, &[0; 1024]);
    let at = |offset: u64, byte_size| DeviceSlice::new(1, buffer.address + offset, byte_size, Arc::new(()));
    let check = |place: &DeviceSlice, input: Option<DeviceSlice>, expected: bool| {
        let shape = Shape::from_slice(&[1, input.as_ref().map_or(1, |slice| slice.byte_size as i64)]);
        let device = DeviceTensors {
            inputs: input.clone().map(|slice| (0, slice)).into_iter().collect(),
            outputs: vec![("A".to_owned(), place.clone())],
        };
        let content: &[u8] = if input.is_some() { &[] } else { &[0] };
        let request = request(&config, shape, content, device, &[]);
        let (one, two) = ([&request], [&request, &request]);
        let place = |requests: &[&ValidRequest], index| {
            staging::place(&Batch::new(&config, requests), index, 8, &*fixture.device).is_some()
        };
        assert_eq!(place(&one, 0), expected);
        assert!(!place(&two, 0) && !place(&one, 1));
    };
    check(&at(0, 8), None, true);
    check(&at(256, 100), None, true);
    check(&at(0, 7), None, false); // too small
    check(&at(8, 8), None, false); // kernels expect better
    check(&DeviceSlice::new(0, buffer.address, 8, Arc::new(())), None, false);
    check(&at(0, 8), Some(at(8, 8)), true);
    check(&at(256, 8), Some(at(0, 257)), false);
    check(&at(256, 8), Some(at(0, 256)), true);
    check(&at(0, 300), Some(at(0, 8)), false);

    let request = wants(&config, 1, &[], &[("A", &buffer)]);
    let requests = [&request];
    let batch = Batch::new(&config, &requests);
    let outputs = vec![Produced::OnHost(tensor("A", 1, &[1, 2])), Produced::InPlace(tensor("B", 1, &[]))];
    let outputs = fixture.scatter(&mut [], &batch, outputs).unwrap();
    assert_eq!(shown(&batch, outputs), [[("A".into(), 1, vec![1, 2]), ("B".into(), 1, vec![])]]);
}
