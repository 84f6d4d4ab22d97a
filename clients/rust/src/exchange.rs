//! The state of one stream: what is read from the source, sent, waited for and given.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt as _;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};

use crate::balance::Server;
use crate::call::Call;
use crate::flight::{Entry, Flight, Settled};
use crate::link::{Link, Pending, receive};
use crate::stream::{Answer, Request, Requests, Streamed};
use crate::{Client, Error};

/// The largest request that a stream carries. A larger one is sent by itself: one that the server refuses
/// as too large ends the whole stream.
const MAX_STREAM_REQUEST_BYTES: usize = 3 << 20;

pub(crate) type Source<T> = Pin<Box<dyn Stream<Item = Request<T>> + Send>>;

/// The state of one stream. Its one loop, [`Exchange::next`], runs while the caller waits for an answer.
pub(crate) struct Exchange<R: Streamed> {
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
    pub(crate) fn new(call: Call<R, Requests<R::Item>>) -> Self {
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

    /// The next answer, or the error that ends the stream; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Result<Answer<R::Answer>, Error>> {
        if self.failed {
            return None;
        }
        self.heard = Instant::now(); // the server owes nothing for the time that the caller took
        let item = self.run().await;
        self.failed = matches!(item, Some(Err(_)));
        item
    }

    /// Sends, reads and waits until there is an answer.
    async fn run(&mut self) -> Option<Result<Answer<R::Answer>, Error>> {
        loop {
            self.admit();
            if let Err(error) = self.send().await {
                return Some(Err(error));
            }
            if self.is_complete() {
                if let Some(link) = self.link.take() {
                    link.close().await;
                }
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
