//! What the bench knows of a model, the request it sends, and the check of an answer. Models have one
//! FP32 input and one FP32 output, both with a batch dimension in front.
//!
//! Requests are built once, as bytes; gRPC's are in `load/grpc.rs`, beside the code that sends them.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// A model as its ONNX file describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Name under which it is served.
    pub name: String,
    pub input: TensorFacts,
    pub output: TensorFacts,
}

/// One tensor of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorFacts {
    pub name: String,
    /// Shape of one row, without the batch dimension.
    pub row: Vec<i64>,
}

/// A request of some rows to a model, and what must come back.
#[derive(Debug, Clone)]
pub struct Sample {
    pub facts: ModelFacts,
    /// Rows of the request.
    pub batch: usize,
    /// Where the tensors are, if they are not in the messages; over HTTP only.
    pub regions: Option<Regions>,
    /// The output as the bare `Run` gave it; empty checks sizes only (an echo server has no model).
    pub expected: Vec<f32>,
}

/// Names of shared memory that a server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regions {
    pub input: String,
    pub output: String,
}

impl TensorFacts {
    /// Elements of one row.
    pub fn row_elements(&self) -> usize {
        self.row.iter().map(|dim| usize::try_from(*dim).unwrap_or(0)).product()
    }

    /// Bytes of one FP32 row.
    pub fn row_bytes(&self) -> usize {
        self.row_elements() * size_of::<f32>()
    }

    /// Full shape of `batch` rows.
    pub fn shape(&self, batch: usize) -> Vec<i64> {
        std::iter::once(batch as i64).chain(self.row.iter().copied()).collect()
    }
}

/// `elements` numbers from 0 to 1 without a visible pattern, the same in every process of the bench.
pub fn input_values(elements: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..elements).map(|_| next()).collect()
}

/// Little-endian bytes of FP32 `values`.
pub fn to_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

impl Sample {
    /// The dense input of all rows.
    pub fn input_bytes(&self) -> Vec<u8> {
        to_bytes(&input_values(self.facts.input.row_elements() * self.batch))
    }

    /// Bytes of the dense output of all rows.
    pub fn output_bytes(&self) -> usize {
        self.facts.output.row_bytes() * self.batch
    }

    /// One whole HTTP/1.1 request with the binary tensor extension, as `tritonclient` words it.
    pub fn http_request(&self, host: &str) -> Vec<u8> {
        let (input, output) = (&self.facts.input, &self.facts.output);
        let place = |name: &str, bytes: usize| serde_json::json!({"shared_memory_region": name, "shared_memory_byte_size": bytes});
        let mut data = self.input_bytes();
        let (source, target) = match &self.regions {
            Some(regions) => {
                let places = (place(&regions.input, data.len()), place(&regions.output, self.output_bytes()));
                data.clear();
                places
            }
            None => (
                serde_json::json!({"binary_data_size": data.len()}),
                serde_json::json!({"binary_data": true}),
            ),
        };
        let json = serde_json::json!({
            "inputs": [{
                "name": input.name,
                "shape": input.shape(self.batch),
                "datatype": "FP32",
                "parameters": source,
            }],
            "outputs": [{"name": output.name, "parameters": target}],
        })
        .to_string();
        let mut request = format!(
            "POST /v2/models/{}/infer HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n\
             Inference-Header-Content-Length: {}\r\nContent-Length: {}\r\n\r\n{json}",
            self.facts.name,
            json.len(),
            json.len() + data.len(),
        )
        .into_bytes();
        request.extend_from_slice(&data);
        request
    }

    /// JSON head of the answer to [`Sample::http_request`], as Triton writes it.
    pub fn http_answer_json(&self) -> String {
        let output = &self.facts.output;
        serde_json::json!({
            "model_name": self.facts.name,
            "model_version": "1",
            "outputs": [{
                "name": output.name,
                "datatype": "FP32",
                "shape": output.shape(self.batch),
                "parameters": {"binary_data_size": self.output_bytes()},
            }],
        })
        .to_string()
    }

    /// Checks the body of an HTTP answer whose JSON head has `json_length` bytes.
    ///
    /// # Errors
    /// It is not the answer of this model to this request.
    pub fn check_http(&self, body: &[u8], json_length: usize) -> Result<()> {
        let (json, data) =
            body.split_at_checked(json_length).context("the JSON head is longer than the body")?;
        let json: serde_json::Value =
            serde_json::from_slice(json).context("the answer's head is not JSON")?;
        let expected: serde_json::Value = serde_json::from_str(&self.http_answer_json())?;
        if self.regions.is_some() {
            let shapes = |answer: &serde_json::Value| {
                (
                    answer["model_name"].clone(),
                    answer["outputs"][0]["name"].clone(),
                    answer["outputs"][0]["shape"].clone(),
                )
            };
            ensure!(
                shapes(&json) == shapes(&expected) && data.is_empty(),
                "unexpected answer {json}, wanted the output in shared memory"
            );
            return Ok(());
        }
        ensure!(
            json["model_name"] == expected["model_name"] && json["outputs"] == expected["outputs"],
            "unexpected answer {json}, wanted {expected}"
        );
        self.check_output(data)
    }

    /// Checks the dense output.
    ///
    /// # Errors
    /// Its size is wrong or its numbers are not those of the bare `Run`.
    pub fn check_output(&self, data: &[u8]) -> Result<()> {
        let expected_bytes = self.output_bytes();
        ensure!(data.len() == expected_bytes, "output has {} bytes, expected {expected_bytes}", data.len());
        let values = data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        for (i, (got, wanted)) in values.zip(&self.expected).enumerate() {
            let tolerance = 1e-3 * wanted.abs().max(1.0);
            ensure!((got - wanted).abs() <= tolerance, "output element {i} is {got}, bare Run gave {wanted}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Sample {
        let input = TensorFacts { name: "in".into(), row: vec![1, 2] };
        let output = TensorFacts { name: "out".into(), row: vec![2] };
        let facts = ModelFacts { name: "m".into(), input, output };
        Sample { facts, batch: 2, regions: None, expected: vec![0.0, 1.0, 2.0, 3.0] }
    }

    #[test]
    fn requests_say_their_own_lengths() {
        let request = sample().http_request("h:1");
        let text = String::from_utf8_lossy(&request);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let json = body.split_once("}]}").map(|(json, _)| json.len() + 3).unwrap();
        assert!(head.starts_with("POST /v2/models/m/infer HTTP/1.1\r\nHost: h:1\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nInference-Header-Content-Length: {json}\r\n")), "{head}");
        let body = request.len() - head.len() - 4;
        assert!(head.ends_with(&format!("\r\nContent-Length: {body}")), "{head}");
        assert_eq!(body, json + 16);
    }

    #[test]
    fn tensors_in_shared_memory_are_named_and_not_sent() {
        let regions = Regions { input: "i".into(), output: "o".into() };
        let sample = Sample { regions: Some(regions), ..sample() };
        let request = sample.http_request("h:1");
        let text = String::from_utf8(request).unwrap();
        let (_, json) = text.split_once("\r\n\r\n").unwrap();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        let place =
            |name: &str| serde_json::json!({"shared_memory_region": name, "shared_memory_byte_size": 16});
        assert_eq!(json["inputs"][0]["parameters"], place("i"));
        assert_eq!(json["outputs"][0]["parameters"], place("o"));

        let answer = |shape: [i64; 2]| {
            let output = serde_json::json!({"name": "out", "datatype": "FP32", "shape": shape});
            serde_json::json!({"model_name": "m", "outputs": [output]}).to_string()
        };
        let (good, bad) = (answer([2, 2]), answer([1, 2]));
        assert!(sample.check_http(good.as_bytes(), good.len()).is_ok());
        assert!(sample.check_http(bad.as_bytes(), bad.len()).is_err());
        assert!(
            sample.check_http(format!("{good}data").as_bytes(), good.len()).is_err(),
            "it is in the answer"
        );
    }

    #[test]
    fn answers_are_checked() {
        let sample = sample();
        let json = sample.http_answer_json();
        let body = |json: &str, values: &[f32]| [json.as_bytes(), &to_bytes(values)].concat();
        let good = [0.0, 1.0, 2.0, 3.0];
        assert!(sample.check_http(&body(&json, &good), json.len()).is_ok());
        let wrong_value = sample.check_http(&body(&json, &[0.0, 1.0, 2.5, 3.0]), json.len()).unwrap_err();
        assert_eq!(wrong_value.to_string(), "output element 2 is 2.5, bare Run gave 2");
        let short = sample.check_http(&body(&json, &good[1..]), json.len()).unwrap_err();
        assert_eq!(short.to_string(), "output has 12 bytes, expected 16");
        let other = json.replace("\"m\"", "\"n\"");
        assert!(sample.check_http(&body(&other, &good), other.len()).is_err());
        assert!(sample.check_http(b"x", 2).is_err());
    }
}
