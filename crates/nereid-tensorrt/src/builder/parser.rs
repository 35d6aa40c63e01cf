//! TensorRT's ONNX parser, a library of its own, and what it says is wrong with a model.

use std::ffi::{c_char, c_void};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::abi::callbacks::text;
use crate::abi::object::Object;
use crate::abi::slot::This;
use crate::abi::slots::{ParserErrorSlots, ParserSlots};
use crate::library::{Library, LoadError, SharedObject};
use crate::version::{Family, Flavor};

/// More errors than anybody reads.
const MAX_FAULTS: i32 = 100;

/// `createNvOnnxParser_INTERNAL`: network, logger, version.
pub(super) type CreateFunction = unsafe extern "C" fn(*mut Object, *mut c_void, i32) -> *mut c_void;
type VersionFunction = unsafe extern "C" fn() -> i32;

/// The parser's library.
#[derive(Debug)]
pub struct OnnxParser {
    create: CreateFunction,
    version: i32,
    path: PathBuf,
}

impl OnnxParser {
    /// The parser that belongs to `library`: in the same folder, or where the system keeps libraries.
    ///
    /// # Errors
    /// Every path that was tried, and why it was refused.
    pub fn load(library: &Library) -> Result<Self, LoadError> {
        let name = match library.flavor() {
            Flavor::Rtx => "libtensorrt_onnxparser_rtx.so.1".to_owned(),
            Flavor::Full | Flavor::Lean => format!("libnvonnxparser.so.{}", library.version().major),
        };
        let beside = library.path().parent().filter(|folder| !folder.as_os_str().is_empty());
        let beside = beside.map(|folder| folder.join(&name));
        let mut tried = Vec::new();
        for path in beside.into_iter().chain([PathBuf::from(name)]) {
            match Self::open(path.clone()) {
                Ok(parser) => return Ok(parser),
                Err(reason) => tried.push((path, reason)),
            }
        }
        let wanted = "TensorRT's ONNX parser".to_owned();
        Err(LoadError { wanted, tried, advice: "install the parser of the same version as TensorRT" })
    }

    /// The path that it was loaded from.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    fn open(path: PathBuf) -> Result<Self, String> {
        let object = SharedObject::open(&path)?;
        // SAFETY: the type of that function in every parser of TensorRT 10 and 11.
        let create = unsafe { object.function(c"createNvOnnxParser_INTERNAL") };
        let create = create.ok_or("it does not export createNvOnnxParser_INTERNAL")?;
        // SAFETY: as above.
        let version: Option<VersionFunction> = unsafe { object.function(c"getNvOnnxParserVersion") };
        let version = version.ok_or("it does not export getNvOnnxParserVersion")?;
        // SAFETY: it takes nothing and returns a number.
        let version = unsafe { version() };
        Ok(Self { create, version, path })
    }

    /// A parser that fills `network`.
    pub(super) fn create(&self, network: *mut Object, library: &Arc<Library>) -> Option<Parser> {
        // SAFETY: the network is alive, the logger is never freed, and the version is the parser's own.
        let this: This = unsafe { (self.create)(network, library.logger(), self.version) };
        (!this.is_null()).then(|| Parser { this, family: library.family() })
    }
}

/// A parser at work. It holds the weights, so that it has to stay until the plan is built.
#[derive(Debug)]
pub(super) struct Parser {
    this: This,
    family: Family,
}

// SAFETY: a parser is not bound to a thread, and is used by one at a time.
unsafe impl Send for Parser {}

impl Parser {
    /// False: there are faults.
    pub(super) fn parse(&self, model: &[u8], path: *const c_char) -> bool {
        let slot = ParserSlots::of(self.family).parse;
        // SAFETY: a slot of this class.
        let parse = unsafe { slot.of(self.this) };
        // SAFETY: the model is there during the call, its size is right, and the path ends with a zero byte or is null.
        unsafe { parse(self.this, model.as_ptr().cast(), model.len(), path) != 0 }
    }

    /// What is wrong.
    pub(super) fn faults(&self) -> Vec<ParserFault> {
        let slots = ParserSlots::of(self.family);
        // SAFETY: a slot of this class.
        let count = unsafe { slots.errors.of(self.this) };
        // SAFETY: the parser is alive.
        let count = unsafe { count(self.this) };
        let faults = (0..count.clamp(0, MAX_FAULTS)).filter_map(|index| {
            // SAFETY: a slot of this class.
            let error = unsafe { slots.error.of(self.this) };
            // SAFETY: the parser is alive, and there are more errors than `index`.
            let error = unsafe { error(self.this, index) };
            (!error.is_null()).then(|| self.fault(error))
        });
        faults.collect()
    }

    fn fault(&self, error: This) -> ParserFault {
        let slots = ParserErrorSlots::of(self.family);
        let words = |slot: crate::abi::slot::Slot<unsafe extern "C" fn(This) -> *const c_char>| {
            // SAFETY: a slot of this class.
            let get = unsafe { slot.of(error) };
            // SAFETY: the error lives as long as its parser.
            let words = unsafe { get(error) };
            // SAFETY: the parser gives C strings, or null.
            unsafe { text(words) }
        };
        let number = |slot: crate::abi::slot::Slot<unsafe extern "C" fn(This) -> i32>| {
            // SAFETY: a slot of this class.
            let get = unsafe { slot.of(error) };
            // SAFETY: the error lives as long as its parser.
            unsafe { get(error) }
        };
        ParserFault {
            code: number(slots.code),
            description: words(slots.description),
            node: number(slots.node),
            node_name: words(slots.node_name),
            node_operator: words(slots.node_operator),
        }
    }
}

impl Drop for Parser {
    fn drop(&mut self) {
        let slot = ParserSlots::of(self.family).delete;
        // SAFETY: a slot of this class.
        let delete = unsafe { slot.of(self.this) };
        // SAFETY: nobody else owns the parser.
        unsafe { delete(self.this) };
    }
}

/// One thing that is wrong with a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParserFault {
    /// `nvonnxparser::ErrorCode`.
    pub code: i32,
    pub description: String,
    /// Position of the node in the model; -1: it is not about a node.
    pub node: i32,
    pub node_name: String,
    pub node_operator: String,
}

/// A model that TensorRT cannot take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    pub faults: Vec<ParserFault>,
}

impl std::error::Error for ParseError {}

impl fmt::Display for ParserFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, description, node, node_name, node_operator } = self;
        if *node >= 0 || !node_name.is_empty() {
            write!(f, "node {node} '{node_name}' ({node_operator}): ")?;
        }
        write!(f, "{} (error {code})", description.trim_end())
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorRT cannot take the ONNX model")?;
        for fault in &self.faults {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}
