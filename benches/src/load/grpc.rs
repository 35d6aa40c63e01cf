//! gRPC over the `h2` crate on one single-threaded runtime: a stream per request, a prebuilt message.
//!
//! Not a general client: no compression, one message each way, and `grpc-status` must be 0.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Uri, Version};
use nereid_core::Timestamp;
use nereid_protocol::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use nereid_protocol::inference::{ModelInferRequest, ModelInferResponse};
use prost::Message;
use tokio::runtime::Runtime;

use super::{Load, PATIENCE, element};
use crate::latencies::Latencies;
use crate::model::Sample;

const WINDOW_BYTES: u32 = 8 << 20;
/// A compression flag and a length before every gRPC message.
const PREFIX_BYTES: usize = 5;

/// HTTP/2 connections over which the streams are spread.
#[derive(Debug)]
pub(super) struct Connections {
    runtime: Runtime,
    senders: Vec<SendRequest<Bytes>>,
    in_flight: usize,
    call: Arc<Call>,
}

/// What every request is.
#[derive(Debug)]
struct Call {
    uri: Uri,
    headers: HeaderMap,
    message: Bytes,
    /// Where in the message its input starts, if each is to be distinct.
    distinct: Option<usize>,
    sent: AtomicU32,
}

impl Connections {
    /// Connects, and sends one request to check its answer.
    pub(super) fn open(address: SocketAddr, load: Load, sample: &Sample) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let count = load.grpc_connections.clamp(1, load.in_flight.max(1));
        let senders = runtime.block_on(async {
            let mut senders = Vec::new();
            for _ in 0..count {
                senders.push(connect(address).await?);
            }
            anyhow::Ok(senders)
        });
        let mut headers = HeaderMap::new();
        headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
        headers.insert("te", http::HeaderValue::from_static("trailers"));
        let message = framed(&request(sample));
        let call = Arc::new(Call {
            uri: format!("http://{address}/inference.GRPCInferenceService/ModelInfer").parse()?,
            headers,
            distinct: load.distinct.then(|| message.len() - sample.input_bytes().len()),
            message,
            sent: AtomicU32::new(0),
        });
        let senders = senders.with_context(|| format!("cannot connect to {address}"))?;
        let this = Self { runtime, senders, in_flight: load.in_flight, call };
        let mut first = this.senders[0].clone();
        let answer = this.runtime.block_on(patiently(PATIENCE, this.call.answer(&mut first)))?;
        check(&answer, sample)?;
        Ok(this)
    }

    /// Keeps `in_flight` streams busy for `duration`, then drains. Gives latencies and the time it took.
    pub(super) fn run(&mut self, duration: Duration) -> Result<(Latencies, Duration)> {
        let start = Timestamp::now();
        let deadline = start.plus_us(duration.as_micros() as u64);
        let latencies = self.runtime.block_on(patiently(duration + PATIENCE, async {
            let streams = self.senders.iter().cycle().take(self.in_flight);
            let mut streams: tokio::task::JoinSet<_> =
                streams.map(|sender| keep_busy(sender.clone(), self.call.clone(), deadline)).collect();
            let mut all = Latencies::default();
            while let Some(one) = streams.join_next().await {
                all.merge(&one??);
            }
            Ok(all)
        }))?;
        Ok((latencies, Timestamp::now().since(start)))
    }
}

async fn keep_busy(
    mut sender: SendRequest<Bytes>,
    call: Arc<Call>,
    deadline: Timestamp,
) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let mut sent_at = Timestamp::now();
    loop {
        call.answer(&mut sender).await?;
        let now = Timestamp::now();
        latencies.record(now.ns_since(sent_at));
        if now >= deadline {
            return Ok(latencies);
        }
        sent_at = now;
    }
}

impl Call {
    /// Sends the request and reads the answer's message, prefix included.
    async fn answer(&self, sender: &mut SendRequest<Bytes>) -> Result<BytesMut> {
        std::future::poll_fn(|cx| sender.poll_ready(cx)).await?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let (response, mut stream) = sender.send_request(request, false)?;
        // Beyond the peer's window h2 keeps the rest of the message, which is only a reference to ours.
        stream.send_data(self.message(), true)?;
        let response = response.await?;
        ensure!(response.status() == 200, "the server answered {}", response.status());
        let (head, mut body) = response.into_parts();
        let mut answer = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            answer.extend_from_slice(&chunk);
        }
        let trailers = body.trailers().await?;
        // An error without a message puts its status into the head.
        let end = trailers.as_ref().unwrap_or(&head.headers);
        if end.get("grpc-status").is_none_or(|status| status != "0") {
            let text =
                |name| end.get(name).map_or("missing".into(), |v| String::from_utf8_lossy(v.as_bytes()));
            bail!("the server answered grpc-status {}: {}", text("grpc-status"), text("grpc-message"));
        }
        Ok(answer)
    }
}

impl Call {
    /// The next message; raw contents are its last field.
    fn message(&self) -> Bytes {
        let Some(start) = self.distinct else { return self.message.clone() };
        let mut message = BytesMut::from(&*self.message);
        message[start..start + 4].copy_from_slice(&element(self.sent.fetch_add(1, Ordering::Relaxed)));
        message.freeze()
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .handshake(stream)
        .await?;
    // An error of the connection also fails its streams, and they tell it.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn patiently<T>(limit: Duration, future: impl Future<Output = Result<T>>) -> Result<T> {
    let timed = tokio::time::timeout(limit, future).await;
    timed.unwrap_or_else(|_| bail!("no answer within {} s", PATIENCE.as_secs()))
}

/// The message as `tritonclient` fills it.
fn request(sample: &Sample) -> ModelInferRequest {
    let (input, output) = (&sample.facts.input, &sample.facts.output);
    ModelInferRequest {
        model_name: sample.facts.name.clone(),
        inputs: vec![InferInputTensor {
            name: input.name.clone(),
            datatype: "FP32".into(),
            shape: input.shape(sample.batch),
            ..Default::default()
        }],
        outputs: vec![InferRequestedOutputTensor { name: output.name.clone(), ..Default::default() }],
        raw_input_contents: vec![sample.input_bytes().into()],
        ..Default::default()
    }
}

fn framed(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.encoded_len());
    frame.put_u8(0);
    frame.put_u32(message.encoded_len() as u32);
    message.encode_raw(&mut frame);
    frame.freeze()
}

fn check(answer: &[u8], sample: &Sample) -> Result<()> {
    let message = answer.get(PREFIX_BYTES..).context("the answer has no message")?;
    let answer = ModelInferResponse::decode(message).context("the answer is not a ModelInferResponse")?;
    let output = &sample.facts.output;
    ensure!(answer.model_name == sample.facts.name, "answer of model '{}'", answer.model_name);
    let [tensor] = &answer.outputs[..] else { bail!("{} outputs in the answer", answer.outputs.len()) };
    let expected = (&*output.name, "FP32", &output.shape(sample.batch));
    let got = (&*tensor.name, &*tensor.datatype, &tensor.shape);
    ensure!(got == expected, "unexpected output {got:?}, wanted {expected:?}");
    let [data] = &answer.raw_output_contents[..] else { bail!("the answer is not raw") };
    sample.check_output(data)
}
