//! What is in a plan. The format is described in `mod.rs`.

use std::ffi::CString;

use super::behaviour::Behaviour;

pub const MAGIC: &str = "FAKEPLAN";

#[derive(Debug, Default)]
pub struct Plan {
    pub name: CString,
    pub operation: String,
    /// What follows the operation.
    pub argument: usize,
    pub memory: usize,
    pub tensors: Vec<Tensor>,
    /// What the engine says of their number, if that is a lie.
    pub tensor_count: Option<i32>,
    pub profile_count: Option<i32>,
    pub profiles: usize,
}

#[derive(Debug, Default)]
pub struct Tensor {
    pub name: CString,
    pub is_input: bool,
    pub datatype: i32,
    pub shape: Vec<i64>,
    /// By profile: smallest, best, largest.
    pub profiles: Vec<[Vec<i64>; 3]>,
    /// The same for the values of a shape tensor.
    pub values: Vec<[Vec<i64>; 3]>,
    /// The same as TensorRT 10 gives them before 10.11.
    pub narrow_values: Vec<[Vec<i32>; 3]>,
    pub is_host: bool,
    pub is_shape_io: bool,
    pub format: i32,
    pub vectorized_dim: i32,
    pub components: i32,
    pub bytes: i32,
    pub mode: Option<i32>,
    pub rank: Option<i32>,
}

impl Plan {
    /// The plan, or what is wrong with it in TensorRT's words: the part in parentheses.
    pub fn parse(content: &[u8]) -> Result<Self, String> {
        let magic = "Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match";
        let text = std::str::from_utf8(content).map_err(|_| magic)?;
        let mut lines = text.lines();
        if lines.next() != Some(MAGIC) {
            return Err(magic.to_owned());
        }
        if text.lines().last() != Some("end") {
            return Err("Serialization assertion mSize == archiveSize failed.Size specified in header does not match \
                        archive size"
                .to_owned());
        }
        let mut plan = Self::default();
        for line in lines {
            let mut fields = line.split_whitespace();
            let key = fields.next().unwrap_or_default();
            let mut number = || fields.next().and_then(|field| field.parse().ok());
            match key {
                "tensors" => plan.tensor_count = number(),
                "profiles" => plan.profile_count = number(),
                "memory" => plan.memory = number().and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
                "version" => check_version(fields.next().unwrap_or_default())?,
                "name" => plan.name = c_string(fields.next().unwrap_or_default()),
                "op" => {
                    plan.operation = fields.next().unwrap_or_default().to_owned();
                    plan.argument = fields.next().and_then(|field| field.parse().ok()).unwrap_or(0);
                }
                "in" | "out" => plan.tensors.push(Tensor::parse(key == "in", &mut fields)?),
                _ => {} // `end`, and what the builder wrote down
            }
        }
        plan.profiles =
            plan.tensors.iter().map(|t| t.profiles.len().max(t.values.len())).max().unwrap_or(0).max(1);
        Ok(plan)
    }

    pub fn tensor(&self, name: &str) -> Option<(usize, &Tensor)> {
        self.tensors.iter().enumerate().find(|(_, tensor)| tensor.name.to_bytes() == name.as_bytes())
    }

    /// Positions of the inputs, or of the outputs.
    pub fn positions(&self, inputs: bool) -> Vec<usize> {
        (0..self.tensors.len()).filter(|index| self.tensors[*index].is_input == inputs).collect()
    }
}

impl Tensor {
    fn parse<'a>(is_input: bool, fields: &mut impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut field = || fields.next().ok_or("a tensor has too few fields");
        let mut tensor = Self {
            name: c_string(field()?),
            is_input,
            datatype: field()?.parse().map_err(|_| "a datatype is a number")?,
            shape: shape(field()?)?,
            vectorized_dim: -1,
            components: -1,
            bytes: -1,
            ..Self::default()
        };
        let mut shapes = Vec::new();
        for field in fields {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            let number = || value.parse().map_err(|_| format!("{field}: not a number"));
            match key {
                "location" => tensor.is_host = value == "host",
                "shape_io" => tensor.is_shape_io = true,
                "values" => tensor.set_values(value)?,
                "format" => tensor.format = number()?,
                "vectorized_dim" => tensor.vectorized_dim = number()?,
                "components" => tensor.components = number()?,
                "bytes" => tensor.bytes = number()?,
                "mode" => tensor.mode = Some(number()?),
                "rank" => tensor.rank = Some(number()?),
                _ => shapes.push(shape(field)?),
            }
        }
        let mut triples = shapes.into_iter();
        while let (Some(min), Some(opt), Some(max)) = (triples.next(), triples.next(), triples.next()) {
            tensor.profiles.push([min, opt, max]);
        }
        Ok(tensor)
    }

    fn set_values(&mut self, text: &str) -> Result<(), String> {
        for profile in text.split(';') {
            let mut wide = [const { Vec::new() }; 3];
            for (selector, list) in profile.split(':').enumerate().take(3) {
                let numbers: Result<Vec<i64>, _> = list.split(',').map(str::parse).collect();
                wide[selector] = numbers.map_err(|_| format!("{list}: not numbers"))?;
            }
            self.narrow_values
                .push(wide.clone().map(|list| list.into_iter().map(|value| value as i32).collect()));
            self.values.push(wide);
        }
        Ok(())
    }

    /// Bits of an element.
    pub fn bits(&self) -> usize {
        match self.datatype {
            8 => 64,
            0 | 3 => 32,
            1 | 7 => 16,
            9 | 10 => 4,
            _ => 8,
        }
    }

    /// Bytes of the tensor in this shape, which is known.
    pub fn byte_size(&self, shape: &[i64]) -> usize {
        let mut padded = shape.to_vec();
        if let (Ok(dim), true) = (usize::try_from(self.vectorized_dim), self.components > 1)
            && let Some(size) = padded.get_mut(dim)
        {
            *size = (*size as u64).next_multiple_of(self.components as u64) as i64;
        }
        let elements = super::dims::volume(&padded).expect("the shape is known");
        (elements * self.bits()).div_ceil(8)
    }
}

fn check_version(version: &str) -> Result<(), String> {
    let own = Behaviour::get().version;
    let parts: Vec<i32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    if own.starts_with(&parts) {
        return Ok(());
    }
    if parts.first() == own.first() {
        return Err(format!(
            "The engine plan file is not compatible with this version of TensorRT, expecting library version {} got \
             {version}, please rebuild.",
            own.map(|part| part.to_string()).join(".")
        ));
    }
    let of = |parts: &[i32]| parts.iter().take(3).fold(0, |number, part| number * 100 + part);
    Err(format!(
        "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match. Note: Current \
         Version: {}, Serialized Engine Version: {}",
        of(&own),
        of(&parts)
    ))
}

/// `-1x3x224`, or `scalar`.
pub fn shape(text: &str) -> Result<Vec<i64>, String> {
    if text == "scalar" {
        return Ok(Vec::new());
    }
    let sizes: Result<Vec<i64>, _> = text.split('x').map(str::parse).collect();
    sizes.map_err(|_| format!("'{text}' is not a shape"))
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("lines have no zero")
}
