//! Writes small ONNX models: the few protobuf fields that a graph needs, encoded by hand.

use nereid_core::DataType;

/// A graph under construction. Its methods follow ONNX's own words.
#[derive(Default)]
pub(crate) struct Graph {
    bytes: Vec<u8>,
}

/// An attribute of a node.
pub(crate) enum Attribute<'a> {
    Int(&'a str, i64),
    Float(&'a str, f32),
    /// A subgraph.
    Graph(&'a str, Graph),
}

impl Attribute<'_> {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Attribute::Int(name, value) => {
                text(&mut bytes, 1, name);
                number(&mut bytes, 3, *value as u64);
                number(&mut bytes, 20, 2); // the type of the attribute: INT
            }
            Attribute::Float(name, value) => {
                text(&mut bytes, 1, name);
                varint(&mut bytes, 2 << 3 | 5);
                bytes.extend_from_slice(&value.to_le_bytes());
                number(&mut bytes, 20, 1); // FLOAT
            }
            Attribute::Graph(name, graph) => {
                text(&mut bytes, 1, name);
                message(&mut bytes, 6, &graph.bytes);
                number(&mut bytes, 20, 5); // GRAPH
            }
        }
        bytes
    }
}

impl Graph {
    pub(crate) fn new() -> Self {
        let mut graph = Self::default();
        text(&mut graph.bytes, 2, "graph");
        graph
    }

    /// An input; -1 leaves a size open.
    pub(crate) fn input(self, name: &str, datatype: DataType, shape: &[i64]) -> Self {
        self.value(11, name, &tensor_type(element_number(datatype), Some(shape)))
    }

    /// An output; -1 leaves a size open.
    pub(crate) fn output(self, name: &str, datatype: DataType, shape: &[i64]) -> Self {
        self.value(12, name, &tensor_type(element_number(datatype), Some(shape)))
    }

    /// An output of which not even the rank is said.
    pub(crate) fn shapeless_output(self, name: &str, datatype: DataType) -> Self {
        self.value(12, name, &tensor_type(element_number(datatype), None))
    }

    /// An input of an element type that the protocol does not have, given by ONNX's number.
    pub(crate) fn odd_input(self, name: &str, element: u64, shape: &[i64]) -> Self {
        self.value(11, name, &tensor_type(element, Some(shape)))
    }

    /// An input that is a sequence of tensors.
    pub(crate) fn sequence_input(self, name: &str, datatype: DataType) -> Self {
        let mut sequence = Vec::new();
        message(&mut sequence, 1, &tensor_type(element_number(datatype), None));
        let mut kind = Vec::new();
        message(&mut kind, 4, &sequence);
        self.value(11, name, &kind)
    }

    /// A constant. Named like an input, it is that input's default.
    pub(crate) fn initializer(mut self, name: &str, datatype: DataType, dims: &[i64], data: &[u8]) -> Self {
        let mut tensor = Vec::new();
        dims.iter().for_each(|dim| number(&mut tensor, 1, *dim as u64));
        number(&mut tensor, 2, element_number(datatype));
        text(&mut tensor, 8, name);
        message(&mut tensor, 9, data);
        message(&mut self.bytes, 5, &tensor);
        self
    }

    pub(crate) fn node(self, operator: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        self.node_with(operator, inputs, outputs, &[])
    }

    pub(crate) fn node_with(
        mut self,
        operator: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[Attribute<'_>],
    ) -> Self {
        let mut node = Vec::new();
        inputs.iter().for_each(|name| text(&mut node, 1, name));
        outputs.iter().for_each(|name| text(&mut node, 2, name));
        text(&mut node, 4, operator);
        for attribute in attributes {
            message(&mut node, 5, &attribute.encode());
        }
        message(&mut self.bytes, 1, &node);
        self
    }

    /// The model file.
    pub(crate) fn build(self) -> Vec<u8> {
        let mut opset = Vec::new();
        text(&mut opset, 1, "");
        number(&mut opset, 2, 19);
        let mut model = Vec::new();
        number(&mut model, 1, 9); // IR version
        message(&mut model, 7, &self.bytes);
        message(&mut model, 8, &opset);
        model
    }

    fn value(mut self, field: u64, name: &str, kind: &[u8]) -> Self {
        let mut value = Vec::new();
        text(&mut value, 1, name);
        message(&mut value, 2, kind);
        message(&mut self.bytes, field, &value);
        self
    }
}

/// `x` to `y` by `operator`, both of `datatype` and `shape`.
pub(crate) fn unary(operator: &str, datatype: DataType, shape: &[i64]) -> Vec<u8> {
    Graph::new()
        .input("x", datatype, shape)
        .output("y", datatype, shape)
        .node(operator, &["x"], &["y"])
        .build()
}

/// Little-endian bytes of numbers.
pub(crate) fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Little-endian bytes of numbers.
pub(crate) fn longs(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn tensor_type(element: u64, shape: Option<&[i64]>) -> Vec<u8> {
    let mut tensor = Vec::new();
    number(&mut tensor, 1, element);
    if let Some(shape) = shape {
        let mut dims = Vec::new();
        for dim in shape {
            let mut size = Vec::new();
            if *dim >= 0 {
                number(&mut size, 1, *dim as u64);
            }
            message(&mut dims, 1, &size);
        }
        message(&mut tensor, 2, &dims);
    }
    let mut kind = Vec::new();
    message(&mut kind, 1, &tensor);
    kind
}

/// `TensorProto.DataType`.
fn element_number(datatype: DataType) -> u64 {
    match datatype {
        DataType::Fp32 => 1,
        DataType::Uint8 => 2,
        DataType::Int8 => 3,
        DataType::Uint16 => 4,
        DataType::Int16 => 5,
        DataType::Int32 => 6,
        DataType::Int64 => 7,
        DataType::Bytes => 8,
        DataType::Bool => 9,
        DataType::Fp16 => 10,
        DataType::Fp64 => 11,
        DataType::Uint32 => 12,
        DataType::Uint64 => 13,
        DataType::Bf16 => 16,
    }
}

fn number(buffer: &mut Vec<u8>, field: u64, value: u64) {
    varint(buffer, field << 3);
    varint(buffer, value);
}

fn text(buffer: &mut Vec<u8>, field: u64, value: &str) {
    message(buffer, field, value.as_bytes());
}

fn message(buffer: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(buffer, field << 3 | 2);
    varint(buffer, value.len() as u64);
    buffer.extend_from_slice(value);
}

fn varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}
