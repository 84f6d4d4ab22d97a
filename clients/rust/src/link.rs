//! One gRPC stream of requests and answers to one server.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Status, Streaming};

use crate::balance::Server;
use crate::stream::Streamed;

/// How long a stream whose requests are all answered waits for the server to end it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A boxed future that can be put down and taken up again.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// One gRPC stream to one server.
pub(crate) struct Link<R: Streamed> {
    pub(crate) server: Arc<Server>,
    outbound: mpsc::UnboundedSender<R::Wrapped>, // bounded by the flight
    inbound: Inbound<R::Unwrapped>,
}

/// The answers' half of a link. A server may say nothing, not even that the stream is open, before its
/// first answer, so that requests are sent before.
enum Inbound<M> {
    Opening(Pending<Result<Streaming<M>, Status>>),
    Open(Box<Streaming<M>>),
}

impl<R: Streamed> Link<R> {
    pub(crate) fn open(server: Arc<Server>) -> Self {
        let (outbound, messages) = mpsc::unbounded_channel();
        let connection = server.connection.clone();
        let opening =
            async move { connection.stream(R::STREAM_PATH, UnboundedReceiverStream::new(messages)).await };
        Self { server, outbound, inbound: Inbound::Opening(Box::pin(opening)) }
    }

    /// Sends a message; where the stream is broken, its answers' half tells why.
    pub(crate) fn send(&self, message: R::Wrapped) {
        let _ = self.outbound.send(message);
    }

    /// Closes the requests' half, and gives the server a moment to end the stream by itself.
    pub(crate) async fn close(self) {
        drop(self.outbound);
        if let Inbound::Open(mut inbound) = self.inbound {
            // Everything is answered: how the stream ends makes no difference.
            let _ = timeout(CLOSE_TIMEOUT, async { while inbound.next().await.is_some() {} }).await;
        }
    }
}

/// Waits for what a link receives. Nothing is lost where the wait is given up.
pub(crate) async fn receive<R: Streamed>(link: &mut Option<Link<R>>) -> Result<Option<R::Unwrapped>, Status> {
    let Some(link) = link else { return pending().await };
    loop {
        match &mut link.inbound {
            Inbound::Opening(opening) => link.inbound = Inbound::Open(Box::new(opening.await?)),
            Inbound::Open(inbound) => return inbound.message().await,
        }
    }
}
