//! Streams: many requests under way at once, each answered when it is ready.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use prost::Message;

use crate::Error;
use crate::call::{Ask, Call};
use crate::exchange::{Exchange, Source};

/// The most requests of one stream that have no answer yet, unless [`Call::in_flight`] or
/// [`Builder::in_flight`](crate::Builder::in_flight) says otherwise.
pub const DEFAULT_IN_FLIGHT: usize = 8;

/// One message of a stream: texts or pairs under a name of the caller's.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<T> {
    /// It comes back with the answer. It is not sent: any string will do.
    pub id: String,
    /// What a unary call would take.
    pub items: Vec<T>,
}

impl<T> Request<T> {
    /// A request of texts or pairs under a name.
    pub fn new(id: impl Into<String>, items: impl IntoIterator<Item = impl Into<T>>) -> Self {
        Self { id: id.into(), items: items.into_iter().map(Into::into).collect() }
    }
}

/// The answer to one [`Request`] of a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer<A> {
    /// The `id` of the request that this answers.
    pub id: String,
    /// What a unary call would have answered.
    pub result: Result<A, Error>,
}

/// The answers of a stream, in any order. After the end every request has been answered exactly once.
///
/// A request that fails has an error in its [`Answer`], and the stream goes on. Only a stream that breaks as
/// a whole yields an `Err`, as its last item. Nothing happens while nobody asks for the next answer: the
/// requests are read at most as far ahead as [`Call::in_flight`] says. A request that the server shed is
/// sent again, up to four times in all and when the server asks for it; so are the requests of a stream
/// whose server went away, to another server where there is one. Dropping it ends the stream.
#[must_use = "a stream does nothing unless its answers are read"]
pub struct Answers<A>(Pin<Box<dyn Stream<Item = Result<Answer<A>, Error>> + Send>>);

impl<A> Answers<A> {
    /// The next answer; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<Answer<A>, Error>> {
        self.0.next().await
    }
}

impl<A> Stream for Answers<A> {
    type Item = Result<Answer<A>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

/// Where a stream's requests come from.
pub struct Requests<T> {
    pub(crate) source: Source<T>,
    pub(crate) in_flight: usize,
}

impl<T> Requests<T> {
    pub(crate) fn new(source: impl Stream<Item = Request<T>> + Send + 'static, in_flight: usize) -> Self {
        Self { source: Box::pin(source), in_flight }
    }
}

/// A request that a stream may carry. The messages of embedding and classifying implement it.
pub trait Streamed: Ask {
    /// A text or a pair.
    type Item: Send + 'static;
    /// The message with the request's number.
    #[doc(hidden)]
    type Wrapped: Message + Clone + 'static;
    /// The message with the answer.
    #[doc(hidden)]
    type Unwrapped: Message + Default + 'static;
    /// The method's path.
    #[doc(hidden)]
    const STREAM_PATH: &'static str;
    /// The same options with the items of one request.
    #[doc(hidden)]
    fn with(&self, items: Vec<Self::Item>) -> Self;
    /// The request with its number.
    #[doc(hidden)]
    fn wrap(self, id: String) -> Self::Wrapped;
    /// The number and the answer.
    #[doc(hidden)]
    fn unwrap(received: Self::Unwrapped) -> (String, Result<Self::Received, Error>);
}

impl<R: Streamed> Call<R, Requests<R::Item>> {
    /// The most requests that have no answer yet, from 1. Left out: the client's.
    pub fn in_flight(mut self, requests: usize) -> Self {
        self.source.in_flight = requests.max(1);
        self
    }

    /// Starts the stream. The first answer that is asked for connects.
    pub fn start(self) -> Answers<R::Answer> {
        let exchange = Exchange::new(self);
        Answers(Box::pin(unfold(exchange, |mut exchange| async {
            let item = exchange.next().await?;
            Some((item, exchange))
        })))
    }
}
