//! Streams: many requests under way at once, each answered when it is ready.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::balance::Server;
use crate::call::{Ask, Call};
use crate::flight::{Entry, Flight, Settled};
use crate::{Client, Error};

/// The most requests of one stream that have no answer yet, unless [`Call::in_flight`] or
/// [`Builder::in_flight`](crate::Builder::in_flight) says otherwise.
pub const DEFAULT_IN_FLIGHT: usize = 8;

/// The largest request that a stream carries. A larger one is sent by itself: one that the server refuses
/// as too large ends the whole stream.
const MAX_STREAM_REQUEST_BYTES: usize = 3 << 20;
/// How long a stream whose requests are all answered waits for the server to end it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

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
    source: Source<T>,
    in_flight: usize,
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
            exchange.failed = item.is_err();
            Some((item, exchange))
        })))
    }
}

/// A boxed future that can be put down and taken up again.
type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Source<T> = Pin<Box<dyn Stream<Item = Request<T>> + Send>>;

/// The state of one stream. Its one loop, [`Exchange::next`], runs while the caller waits for an answer.
struct Exchange<R: Streamed> {
    client: Client,
    options: R,
    timeout: Duration,
    source: Option<Source<R::Item>>,
    flight: Flight<R::Wrapped>,
    /// The number of the next request.
    number: u64,
    /// A request that was read and does not fit yet.
    held: Option<Entry<R::Wrapped>>,
    /// A request that is too large for the stream, on its way by itself.
    alone: Option<Pending<Answer<R::Answer>>>,
    link: Option<Link<R>>,
    /// Where the last link broke.
    avoid: Option<Arc<Server>>,
    /// Links that broke since the last answer, and when the next may be opened.
    breaks: u32,
    reopen: Instant,
    /// When the last answer came, or the first request after a time without any in flight.
    heard: Instant,
    failed: bool,
}

/// One gRPC stream to one server.
struct Link<R: Streamed> {
    server: Arc<Server>,
    outbound: mpsc::UnboundedSender<R::Wrapped>, // bounded by the flight
    inbound: Inbound<R::Unwrapped>,
}

/// The answers' half of a link. A server may say nothing, not even that the stream is open, before its
/// first answer, so that requests are sent before.
enum Inbound<M> {
    Opening(Pending<Result<Streaming<M>, Status>>),
    Open(Box<Streaming<M>>),
}

/// What happened first.
enum Event<R: Streamed> {
    Read(Option<Request<R::Item>>),
    Received(Result<Option<R::Unwrapped>, Status>),
    Alone(Answer<R::Answer>),
    /// Something is due: a message, a new link.
    Due,
    Silence,
}

impl<R: Streamed> Exchange<R> {
    fn new(call: Call<R, Requests<R::Item>>) -> Self {
        let now = Instant::now();
        Self {
            client: call.client,
            options: call.request,
            timeout: call.timeout,
            source: Some(call.source.source),
            flight: Flight::new(call.source.in_flight),
            number: 0,
            held: None,
            alone: None,
            link: None,
            avoid: None,
            breaks: 0,
            reopen: now,
            heard: now,
            failed: false,
        }
    }

    /// Sends, reads and waits until there is an answer; `None` at the end.
    async fn next(&mut self) -> Option<Result<Answer<R::Answer>, Error>> {
        if self.failed {
            return None;
        }
        if self.flight.len() == 0 {
            self.heard = Instant::now(); // the server owes nothing for the time that the caller took
        }
        loop {
            self.admit();
            if let Err(error) = self.send().await {
                return Some(Err(error));
            }
            if self.is_complete() {
                self.close().await;
                return None;
            }
            match self.event().await {
                Event::Read(None) => self.source = None,
                Event::Read(Some(request)) => self.take(request),
                Event::Alone(answer) => {
                    self.alone = None;
                    return Some(Ok(answer));
                }
                Event::Received(received) => match self.receive(received).transpose() {
                    Some(answer) => return Some(answer),
                    None => continue,
                },
                Event::Due => continue,
                Event::Silence => {
                    let told = format!("no answer on the stream for {:?}", self.timeout);
                    return Some(Err(Error::new(Code::DeadlineExceeded, told)));
                }
            }
        }
    }

    async fn event(&mut self) -> Event<R> {
        let now = Instant::now();
        let waiting = self.flight.len() > 0;
        let next = match &self.link {
            Some(_) => self.flight.next_due(),
            None => waiting.then_some(self.reopen),
        };
        let silence = self.heard.checked_add(self.timeout).filter(|_| waiting);
        let known = self.flight.len() + usize::from(self.alone.is_some());
        let has_room = self.held.is_none() && self.alone.is_none() && known < self.flight.bound();
        tokio::select! {
            received = receive(&mut self.link) => Event::Received(received),
            answer = wait(&mut self.alone) => Event::Alone(answer),
            request = read(&mut self.source), if has_room => Event::Read(request),
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => Event::Due,
            () = sleep_until(silence.unwrap_or(now)), if silence.is_some() => Event::Silence,
        }
    }

    /// Takes a request of the caller's: into the stream, or by itself where it is too large for one.
    fn take(&mut self, request: Request<R::Item>) {
        let message = self.options.with(request.items);
        let bytes = message.encoded_len();
        if bytes > MAX_STREAM_REQUEST_BYTES {
            let (client, timeout, id) = (self.client.clone(), self.timeout, request.id);
            self.alone =
                Some(Box::pin(async move { Answer { id, result: client.ask(message, timeout).await } }));
            return;
        }
        let message = message.wrap(self.number.to_string());
        self.held = Some(Entry::new(request.id, message, bytes));
    }

    /// Moves what was read into the flight, if there is room, and sends it.
    fn admit(&mut self) {
        let Some(entry) = self.held.take_if(|entry| self.flight.fits(entry.bytes)) else { return };
        if self.flight.len() == 0 {
            self.heard = Instant::now();
        }
        if let Some(link) = &self.link {
            link.send(entry.message.clone());
        }
        self.flight.add(self.number, entry);
        self.number += 1;
    }

    /// Sends what is due again, and opens a link where there is something to send and none.
    async fn send(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.link.is_none() && self.flight.len() > 0 && now >= self.reopen {
            let server = self.client.0.balancer.pick(self.avoid.as_ref()).await?;
            let link = Link::open(server);
            self.flight.all_sent().for_each(|message| link.send(message));
            self.link = Some(link);
        }
        if let Some(link) = &self.link {
            while let Some(message) = self.flight.again(now) {
                link.send(message);
            }
        }
        Ok(())
    }

    /// Takes what a link received; `None` where there is nothing for the caller.
    fn receive(
        &mut self,
        received: Result<Option<R::Unwrapped>, Status>,
    ) -> Result<Option<Answer<R::Answer>>, Error> {
        let message = match received {
            Ok(Some(message)) => message,
            Ok(None) => {
                let told = "the server ended the stream before it had answered everything";
                return Err(Error::new(Code::Internal, told));
            }
            Err(status) => return self.broken(status.into()).map(|()| None),
        };
        let now = Instant::now();
        self.heard = now;
        self.breaks = 0;
        self.client.0.throttle.succeeded();
        let (id, answer) = R::unwrap(message);
        let limit = now.checked_add(self.timeout).unwrap_or(now);
        let number = id.parse().unwrap_or(u64::MAX);
        match self.flight.settle(number, answer.as_ref().err(), now, limit) {
            Settled::Again => Ok(None),
            Settled::Answered(id) => Ok(Some(Answer { id, result: answer.and_then(R::read) })),
            Settled::Unknown => {
                let told = format!("the server answered {id:?}, which was not asked");
                Err(Error::new(Code::Internal, told))
            }
        }
    }

    /// Prepares a new link for one that broke, unless too many did or its error is not retried.
    fn broken(&mut self, error: Error) -> Result<(), Error> {
        self.breaks += 1;
        let Some(Link { server, .. }) = self.link.take() else { return Err(error) };
        let wait = self.client.wait(&server, &error, self.breaks).filter(|wait| *wait < self.timeout);
        self.reopen = Instant::now() + wait.ok_or(error)?;
        self.avoid = Some(server);
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.source.is_none() && self.held.is_none() && self.alone.is_none() && self.flight.len() == 0
    }

    /// Closes the requests' half, and gives the server a moment to end the stream by itself.
    async fn close(&mut self) {
        if let Some(Link { outbound, inbound, .. }) = self.link.take() {
            drop(outbound);
            if let Inbound::Open(mut inbound) = inbound {
                // Everything is answered: how the stream ends makes no difference.
                let _ = timeout(CLOSE_TIMEOUT, async { while inbound.next().await.is_some() {} }).await;
            }
        }
    }
}

impl<R: Streamed> Link<R> {
    fn open(server: Arc<Server>) -> Self {
        let (outbound, messages) = mpsc::unbounded_channel();
        let connection = server.connection.clone();
        let opening =
            async move { connection.stream(R::STREAM_PATH, UnboundedReceiverStream::new(messages)).await };
        Self { server, outbound, inbound: Inbound::Opening(Box::pin(opening)) }
    }

    /// Sends a message; where the stream is broken, its answers' half tells why.
    fn send(&self, message: R::Wrapped) {
        let _ = self.outbound.send(message);
    }
}

/// Waits for what a link receives. Nothing is lost where the wait is given up.
async fn receive<R: Streamed>(link: &mut Option<Link<R>>) -> Result<Option<R::Unwrapped>, Status> {
    let Some(link) = link else { return pending().await };
    loop {
        match &mut link.inbound {
            Inbound::Opening(opening) => link.inbound = Inbound::Open(Box::new(opening.await?)),
            Inbound::Open(inbound) => return inbound.message().await,
        }
    }
}

/// Waits for a request of the caller's, as long as there is a source.
async fn read<T>(source: &mut Option<Source<T>>) -> Option<Request<T>> {
    match source {
        Some(source) => source.next().await,
        None => pending().await,
    }
}

/// Waits for a future, if there is one.
async fn wait<T>(future: &mut Option<Pending<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}
