//! One connection to one server: how it is made, and the two kinds of call on it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_core::Stream;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpStream;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, IntoStreamingRequest as _, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::Error;
use crate::address::Address;

/// The bound of one answer. The library's own 4 MiB is less than a thousand vectors of 1,024
/// dimensions; this holds sixteen thousand.
const MAX_ANSWER_BYTES: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a connection with calls in flight is tried, so that a server whose machine vanished is
/// noticed. The server allows a ping every 10 seconds.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What every connection of a client has in common.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) tls: Option<ClientTlsConfig>,
    /// The value of the header `authorization`.
    pub(crate) authorization: Option<MetadataValue<Ascii>>,
}

/// A connection, which the first call makes, and which is made again where it broke.
#[derive(Clone)]
pub(crate) struct Connection {
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
}

/// Where a connection goes: an address of a user's, and one of the places that it resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(String),
}

impl Connection {
    /// Prepares a connection to one place of an address. It has to be called within a tokio runtime.
    pub(crate) fn lazy(address: &Address, place: Place, credentials: &Credentials) -> Result<Self, Error> {
        let unusable = |error: tonic::transport::Error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            Error::new(Code::InvalidArgument, cause.unwrap_or_else(|| error.to_string()))
        };
        let scheme = if credentials.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", address.authority()))
            .and_then(|endpoint| endpoint.user_agent(concat!("semserve-rust/", env!("CARGO_PKG_VERSION"))))
            .map_err(unusable)?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        if let Some(tls) = &credentials.tls {
            endpoint = endpoint.tls_config(tls.clone()).map_err(unusable)?;
        }
        let channel = match place {
            Place::Tcp(to) => endpoint.connect_with_connector_lazy(tower::service_fn(move |_| async move {
                let socket = TcpStream::connect(to).await?;
                socket.set_nodelay(true)?;
                Ok::<_, io::Error>(TokioIo::new(socket))
            })),
            #[cfg(unix)]
            Place::Unix(path) => endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
                let path = path.clone();
                async move { tokio::net::UnixStream::connect(path).await.map(TokioIo::new) }
            })),
        };
        Ok(Self { channel, authorization: credentials.authorization.clone() })
    }

    /// Makes one attempt of a unary call. The server drops it after the timeout.
    pub(crate) async fn unary<Sent, Received>(
        &self,
        path: &'static str,
        message: Sent,
        timeout: Duration,
    ) -> Result<Received, Status>
    where
        Sent: Message + 'static,
        Received: Message + Default + 'static,
    {
        let mut request = tonic::Request::new(message);
        request.set_timeout(timeout);
        self.authorize(&mut request);
        let mut client = self.ready().await?;
        let codec = ProstCodec::default();
        Ok(client.unary(request, PathAndQuery::from_static(path), codec).await?.into_inner())
    }

    /// Opens a stream of requests and answers.
    pub(crate) async fn stream<Sent, Received>(
        &self,
        path: &'static str,
        messages: impl Stream<Item = Sent> + Send + 'static,
    ) -> Result<Streaming<Received>, Status>
    where
        Sent: Message + 'static,
        Received: Message + Default + 'static,
    {
        let mut request = messages.into_streaming_request();
        self.authorize(&mut request);
        let mut client = self.ready().await?;
        let codec = ProstCodec::default();
        Ok(client.streaming(request, PathAndQuery::from_static(path), codec).await?.into_inner())
    }

    /// Sends one request and reads a stream of answers.
    pub(crate) async fn watch<Sent, Received>(
        &self,
        path: &'static str,
        message: Sent,
    ) -> Result<Streaming<Received>, Status>
    where
        Sent: Message + 'static,
        Received: Message + Default + 'static,
    {
        let mut request = tonic::Request::new(message);
        self.authorize(&mut request);
        let mut client = self.ready().await?;
        let codec = ProstCodec::default();
        let path = PathAndQuery::from_static(path);
        Ok(client.server_streaming(request, path, codec).await?.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut client = Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        Ok(client)
    }

    fn authorize<T>(&self, request: &mut tonic::Request<T>) {
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.clone());
        }
    }
}
