//! A real gRPC server in the test's own process that does what a test says.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use semserve::v1::embedding_service_server::{EmbeddingService, EmbeddingServiceServer};
use semserve::v1::stream_embed_response::Outcome as StreamOutcome;
use semserve::v1::{
    EmbedRequest, EmbedResponse, EmbedResult, Embedding, StreamEmbedRequest, StreamEmbedResponse,
    embed_result::Outcome,
};
use semserve::{Answer, Client, Embeddings, Request as Batch, VectorEncoding};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::codegen::BoxStream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::ServingStatus;
use tonic_types::{ErrorDetails, StatusExt as _};

/// What a script sends on a stream, or the status that ends it.
pub type Outbound = mpsc::UnboundedSender<Result<StreamEmbedResponse, Status>>;
type Embed = dyn Fn(u32, &MetadataMap, &EmbedRequest) -> Result<(), Status> + Send + Sync;
type StreamEmbed = dyn Fn(u32, Streaming<StreamEmbedRequest>, Outbound) -> JoinHandle<()> + Send + Sync;

/// What the server does. By default it answers: a text's vector is its length and 1.
#[derive(Clone)]
pub struct Script {
    embed: Arc<Embed>,
    stream: Arc<StreamEmbed>,
    calls: Arc<AtomicU32>,
    streams: Arc<AtomicU32>,
    health: Option<ServingStatus>,
}

/// A server that runs until it is dropped.
pub struct Server {
    pub address: String,
    script: Script,
    runtime: Option<Runtime>,
}

impl Script {
    pub fn new() -> Self {
        Self {
            embed: Arc::new(|_, _, _| Ok(())),
            stream: Arc::new(|_, mut requests, answers| {
                tokio::spawn(async move {
                    while let Ok(Some(request)) = requests.message().await {
                        let _ = answers.send(Ok(answered(&request)));
                    }
                })
            }),
            calls: Arc::default(),
            streams: Arc::default(),
            health: None,
        }
    }

    /// Fails a unary call with an error, or lets it be answered. The number of the call counts from 1.
    pub fn embed(
        mut self,
        embed: impl Fn(u32, &MetadataMap, &EmbedRequest) -> Result<(), Status> + Send + Sync + 'static,
    ) -> Self {
        self.embed = Arc::new(embed);
        self
    }

    /// Takes part in a stream. The number of the stream counts from 1.
    pub fn stream<F: Future<Output = ()> + Send + 'static>(
        mut self,
        stream: impl Fn(u32, Streaming<StreamEmbedRequest>, Outbound) -> F + Send + Sync + 'static,
    ) -> Self {
        self.stream =
            Arc::new(move |number, requests, answers| tokio::spawn(stream(number, requests, answers)));
        self
    }

    /// Has a health service that tells this of the server. Without it there is none.
    pub fn health(mut self, status: ServingStatus) -> Self {
        self.health = Some(status);
        self
    }

    pub fn start(self) -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let script = self.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            let (reporter, health) = tonic_health::server::health_reporter();
            if let Some(status) = self.health {
                reporter.set_service_status("", status).await;
            }
            let health = self.health.map(|_| health);
            let service = EmbeddingServiceServer::new(self).max_decoding_message_size(4 << 20);
            let server =
                tonic::transport::Server::builder().add_service(service).add_optional_service(health);
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
        });
        Server { address, script, runtime: Some(runtime) }
    }
}

impl Server {
    pub fn client(&self) -> Client {
        Client::new(&self.address).expect("a good address")
    }

    /// The unary calls so far.
    pub fn calls(&self) -> u32 {
        self.script.calls.load(SeqCst)
    }

    pub fn streams(&self) -> u32 {
        self.script.streams.load(SeqCst)
    }
}

/// At once: the port refuses connections, and calls in flight break.
impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[tonic::async_trait]
impl EmbeddingService for Script {
    async fn embed(&self, request: Request<EmbedRequest>) -> Result<Response<EmbedResponse>, Status> {
        let call = self.calls.fetch_add(1, SeqCst) + 1;
        (self.embed)(call, request.metadata(), request.get_ref())?;
        Ok(Response::new(response(request.get_ref())))
    }

    async fn stream_embed(
        &self,
        request: Request<Streaming<StreamEmbedRequest>>,
    ) -> Result<Response<BoxStream<StreamEmbedResponse>>, Status> {
        let number = self.streams.fetch_add(1, SeqCst) + 1;
        let (answers, outbound) = mpsc::unbounded_channel();
        (self.stream)(number, request.into_inner(), answers);
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(outbound))))
    }
}

fn response(request: &EmbedRequest) -> EmbedResponse {
    let results = request.texts.iter().map(|text| EmbedResult {
        outcome: Some(Outcome::Embedding(Embedding {
            packed: [text.len() as f32, 1.0].iter().flat_map(|value| value.to_le_bytes()).collect(),
            dimensions: 2,
            encoding: VectorEncoding::Float32.into(),
            ..Default::default()
        })),
        ..Default::default()
    });
    EmbedResponse { model: "lengths".into(), results: results.collect(), usage: None }
}

/// The good answer to a request of a stream.
pub fn answered(request: &StreamEmbedRequest) -> StreamEmbedResponse {
    let asked = request.request.as_ref().expect("a request");
    StreamEmbedResponse { id: request.id.clone(), outcome: Some(StreamOutcome::Response(response(asked))) }
}

/// The answer of a server that has no room for a request of a stream.
pub fn shed(request: &StreamEmbedRequest, wait: Duration) -> StreamEmbedResponse {
    let details = ErrorDetails::with_retry_info(Some(wait));
    let status = Status::with_error_details(Code::ResourceExhausted, "the queue is full", details);
    let status = prost::Message::decode(status.details()).expect("it was encoded a line above");
    StreamEmbedResponse { id: request.id.clone(), outcome: Some(StreamOutcome::Error(status)) }
}

/// The status of an overload, with the trailer that says when to come back.
pub fn overloaded(pushback: &str) -> Status {
    let mut status = Status::resource_exhausted("the queue is full");
    status.metadata_mut().insert("grpc-retry-pushback-ms", pushback.parse().expect("ASCII"));
    status
}

/// So many requests of a stream of one text each, the longer the later.
pub fn batches(count: usize) -> impl Stream<Item = Batch<String>> + Send + 'static {
    tokio_stream::iter((0..count).map(|place| Batch::new(place.to_string(), ["x".repeat(place + 1)])))
}

/// That an answer has the vector of its text.
pub fn is_right(answer: &Answer<Embeddings>) -> bool {
    let place: f32 = answer.id.parse().expect("the id is a number");
    let found = answer.result.as_ref().ok().and_then(|found| found.results[0].vector.clone().ok());
    found == Some(vec![place + 1.0, 1.0])
}
