//! A backend that goes by the name of `onnxruntime` and reads its "model" from lines of text:
//! `input INPUT0 FP32 -1 16` and `output OUTPUT0 FP32 -1 16`, with the batch dimension. It completes configs
//! by the rules of Triton's ONNX Runtime backend. A line `panic` makes loading panic, `fragile` the third instance; `slow` makes every
//! instance wait for the test's permission, `held` loading itself; `flaky N` fails the first N loads. Executions are
//! noted where it says `watched`, fail where it says `failing`, and go on until they are stopped where it says `endless`.
//! `on 0 1 -` puts the first instances on these GPUs, or on none.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use nereid_core::backend::{
    AutoComplete, AutoCompleteRequest, Backend, Instance, LoadRequest, Model, TensorSpec, Terminate,
};
use nereid_core::batch::Batch;
use nereid_core::config::InstanceSpec;
use nereid_core::testing::TestInstance;
use nereid_core::{DataType, Error, Result};
use parking_lot::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(crate) struct FakeOnnx {
    pub(crate) loads: AtomicUsize,
    pub(crate) instances: Mutex<Vec<InstanceSpec>>,
    /// The model file of every load.
    pub(crate) files: Mutex<Vec<PathBuf>>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) watch: Arc<Watch>,
}

/// What `watched` models have been given.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Vec<Seen>>);

/// A batch: of each request its shapes and data.
pub(crate) type Seen = Vec<Vec<(Vec<i64>, Bytes)>>;

/// Ends the executions of `endless` models.
#[derive(Debug, Default)]
struct Brake {
    pulled: Mutex<bool>,
    changed: Condvar,
}

/// Holds the instances of `slow` models until it is opened.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

struct Loaded {
    text: String,
    gate: Arc<Gate>,
    watch: Arc<Watch>,
    instances: AtomicUsize,
}

struct Signature {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

struct Tensor {
    name: String,
    datatype: DataType,
    shape: Vec<i64>,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.open.lock() = true;
        self.changed.notify_all();
    }

    fn pass(&self) {
        self.changed.wait_while(&mut self.open.lock(), |open| !*open);
    }
}

impl Backend for FakeOnnx {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn auto_complete(&self, request: &AutoCompleteRequest<'_>) -> Result<AutoComplete> {
        if request.has_inputs() && request.has_outputs() {
            return Ok(AutoComplete::default());
        }
        let signature = Signature::read(request.model_file)?;
        let batches = signature.tensors().all(|tensor| tensor.shape.first() == Some(&-1));
        if !batches && request.max_batch_size > 0 {
            return Err(Error::invalid_arg(format!(
                "autofill failed for model '{}': model does not support batching while non-zero max_batch_size is specified",
                request.model
            )));
        }
        let max = match request.max_batch_size {
            0 if batches => request.default_max_batch_size,
            given => given,
        };
        let specs = |tensors: &[Tensor]| tensors.iter().map(|tensor| tensor.spec(batches)).collect();
        Ok(AutoComplete {
            max_batch_size: Some(max),
            inputs: (!request.has_inputs()).then(|| specs(&signature.inputs)),
            outputs: (!request.has_outputs()).then(|| specs(&signature.outputs)),
            dynamic_batching: max > 1 && !request.has_scheduler,
        })
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Model>> {
        self.files.lock().push(request.model_file.to_owned());
        let load = self.loads.fetch_add(1, Ordering::SeqCst);
        let text = read(request.model_file)?;
        assert!(!text.contains("panic"), "asked to panic");
        if text.contains("held") {
            self.gate.pass();
        }
        if let Some(failures) = text.lines().find_map(|line| line.strip_prefix("flaky "))
            && load < failures.parse().unwrap()
        {
            return Err(Error::unavailable(format!("attempt {load} failed")));
        }
        let signature = Signature::parse(&text, request.model_file)?;
        let (expected, provided) = (request.config.inputs.len(), signature.inputs.len());
        if expected != provided && !text.contains("lenient") {
            return Err(Error::invalid_arg(format!(
                "unable to load model '{}', configuration expects {expected} inputs, model provides {provided}",
                request.config.name
            )));
        }
        self.instances.lock().extend(request.config.instances.iter().cloned());
        let (gate, watch) = (self.gate.clone(), self.watch.clone());
        Ok(Box::new(Loaded { text, gate, watch, instances: AtomicUsize::new(0) }))
    }
}

impl Model for Loaded {
    fn create_instance(&self, _: &InstanceSpec) -> Result<Box<dyn Instance>> {
        let number = self.instances.fetch_add(1, Ordering::SeqCst);
        assert!(!self.text.contains("fragile") || number < 2, "asked to panic");
        let (text, gate, watch) = (self.text.clone(), self.gate.clone(), self.watch.clone());
        let says = move |word: &str| text.contains(word);
        let brake = says("endless").then(Arc::<Brake>::default);
        let mine = brake.clone();
        let instance = TestInstance::with_hook(move |batch| {
            if says("watched") {
                watch.note(batch);
            }
            if says("slow") {
                gate.pass();
            }
            if let Some(brake) = &mine {
                brake.changed.wait_while(&mut brake.pulled.lock(), |pulled| !*pulled);
                return Err(Error::internal("stopped"));
            }
            if says("failing") { Err(Error::internal("An Error Occurred")) } else { Ok(()) }
        });
        let mut devices = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix("on "))
            .into_iter()
            .flat_map(str::split_whitespace);
        let instance = match devices.nth(number).map(str::parse) {
            Some(Ok(device)) => instance.on_device(device),
            _ => instance,
        };
        Ok(match brake {
            Some(brake) => Box::new(instance.terminated_by(brake)),
            None => Box::new(instance),
        })
    }
}

impl Watch {
    fn note(&self, batch: &Batch<'_>) {
        let requests = batch.requests().iter();
        let seen = requests
            .map(|request| request.inputs().iter().map(|i| (i.shape.to_vec(), i.data.clone())).collect());
        self.0.lock().push(seen.collect());
    }

    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Terminate for Brake {
    fn terminate(&self) {
        *self.pulled.lock() = true;
        self.changed.notify_all();
    }

    fn reset(&self) {
        *self.pulled.lock() = false;
    }
}

impl Signature {
    fn read(file: &Path) -> Result<Self> {
        Self::parse(&read(file)?, file)
    }

    fn parse(text: &str, file: &Path) -> Result<Self> {
        if text.contains("garbage") {
            return Err(Error::internal(format!(
                "onnx runtime error 7: Load model from {} failed:Protobuf parsing failed.",
                file.display()
            )));
        }
        let side = |word: &str| {
            let lines =
                text.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ').map(Tensor::parse));
            lines.collect::<Vec<_>>()
        };
        Ok(Self { inputs: side("input"), outputs: side("output") })
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.inputs.iter().chain(&self.outputs)
    }
}

impl Tensor {
    fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap().to_owned();
        let datatype = DataType::from_protocol_name(words.next().unwrap()).unwrap();
        Self { name, datatype, shape: words.map(|dim| dim.parse().unwrap()).collect() }
    }

    fn spec(&self, batches: bool) -> TensorSpec {
        let dims = self.shape[usize::from(batches)..].to_vec();
        let (dims, reshape) = if dims.is_empty() { (vec![1], Some(dims)) } else { (dims, None) };
        TensorSpec {
            name: self.name.clone(),
            datatype: self.datatype,
            dims,
            reshape,
            form: Default::default(),
        }
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file)
        .map_err(|_| Error::internal(format!("failed to stat file {}", file.display())))
}
