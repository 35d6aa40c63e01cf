//! `nvonnxparser::IParser` and `IParserError`, whose methods get the object itself.

use std::ffi::{CString, c_char, c_void};
use std::sync::{Mutex, OnceLock};

use super::golden::{Class, Vtable};
use super::log::Log;
use super::network::{Network, Tensor, TensorState};
use super::object::Public;
use super::plan;

const MAGIC: &str = "FAKEONNX";

#[repr(C)]
pub struct Parser {
    vtable: *const usize,
    network: *mut Public<Network>,
    log: Log,
    #[expect(clippy::vec_box, reason = "their addresses are handed out")]
    errors: Mutex<Vec<Box<ParserError>>>,
}

#[repr(C)]
pub struct ParserError {
    vtable: *const usize,
    description: CString,
    node: i32,
    node_name: CString,
    node_operator: CString,
}

pub fn new(network: *mut Public<Network>, logger: *mut c_void) -> *mut Parser {
    static VTABLE: OnceLock<Vtable> = OnceLock::new();
    let vtable = *VTABLE.get_or_init(|| {
        Class::new("IParser")
            .method("parse(const void *, size_t, const char *)", parse as *const ())
            .method("getNbErrors()", errors as *const ())
            .method("getError(int)", error as *const ())
            .method("~IParser() [deleting]", delete as *const ())
            .finish()
    });
    Box::into_raw(Box::new(Parser {
        vtable: vtable.0,
        network,
        log: Log::new(logger),
        errors: Mutex::default(),
    }))
}

extern "C" fn parse(this: &Parser, content: *const c_void, size: usize, _path: *const c_char) -> bool {
    // SAFETY: the caller says that so many bytes are there.
    let content = unsafe { std::slice::from_raw_parts(content.cast::<u8>(), size) };
    let Some(text) = std::str::from_utf8(content).ok().filter(|text| text.starts_with(MAGIC)) else {
        this.fail("Failed to parse the ONNX model.", -1, "", "");
        return false;
    };
    // SAFETY: the network lives longer than its parser.
    let network = unsafe { &*this.network };
    // SAFETY: as above.
    let network = unsafe { &(*network.implementation).state };
    let mut contents = network.contents();
    for (number, line) in text.lines().skip(1).enumerate() {
        let mut fields = line.splitn(5, ' ');
        match (fields.next(), fields.next(), fields.next(), fields.next(), fields.next()) {
            (Some("unsupported"), Some(node), Some(operator), ..) => {
                let what = format!(
                    "Plugin not found, are the plugin name, version, and namespace correct? ({operator})"
                );
                this.fail(&what, number as i32, node, operator);
                return false;
            }
            (Some(key @ ("in" | "out")), Some(name), Some(datatype), Some(shape), attributes) => {
                let (Ok(datatype), Ok(shape)) = (datatype.parse(), plan::shape(shape)) else {
                    this.fail("a tensor is malformed", number as i32, name, "");
                    return false;
                };
                let name = CString::new(name).expect("lines have no zero");
                let attributes = attributes.unwrap_or_default().to_owned();
                let tensor = Tensor::new(TensorState { name, datatype, shape, attributes });
                if key == "in" { contents.inputs.push(tensor) } else { contents.outputs.push(tensor) }
            }
            _ => contents.lines.push(line.to_owned()),
        }
    }
    true
}

impl Parser {
    fn fail(&self, description: &str, node: i32, name: &str, operator: &str) {
        static VTABLE: OnceLock<Vtable> = OnceLock::new();
        let vtable = *VTABLE.get_or_init(|| {
            Class::new("IParserError")
                .method("code()", code as *const ())
                .method("desc()", describe as *const ())
                .method("node()", node_number as *const ())
                .method("nodeName()", node_name as *const ())
                .method("nodeOperator()", node_operator as *const ())
                .finish()
        });
        self.log.line(super::log::ERROR, description);
        let text = |text: &str| CString::new(text).expect("lines have no zero");
        self.errors.lock().expect("nothing panics with it").push(Box::new(ParserError {
            vtable: vtable.0,
            description: text(description),
            node,
            node_name: text(name),
            node_operator: text(operator),
        }));
    }
}

extern "C" fn errors(this: &Parser) -> i32 {
    this.errors.lock().expect("nothing panics with it").len() as i32
}

extern "C" fn error(this: &Parser, index: i32) -> *const ParserError {
    let errors = this.errors.lock().expect("nothing panics with it");
    let error = usize::try_from(index).ok().and_then(|index| errors.get(index));
    error.map_or(std::ptr::null(), |error| &raw const **error)
}

extern "C" fn delete(this: *mut Parser) {
    // SAFETY: made by `new`, and the caller's.
    drop(unsafe { Box::from_raw(this) });
}

/// `kUNSUPPORTED_NODE`
extern "C" fn code(_this: &ParserError) -> i32 {
    8
}

extern "C" fn describe(this: &ParserError) -> *const c_char {
    this.description.as_ptr()
}

extern "C" fn node_number(this: &ParserError) -> i32 {
    this.node
}

extern "C" fn node_name(this: &ParserError) -> *const c_char {
    this.node_name.as_ptr()
}

extern "C" fn node_operator(this: &ParserError) -> *const c_char {
    this.node_operator.as_ptr()
}
