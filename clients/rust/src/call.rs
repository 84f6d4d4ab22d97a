//! A call as a value: its request, its options, and how it is made.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::time::{Instant, timeout_at};
use tonic::Code;

use crate::balance::Server;
use crate::client::Shared;
use crate::retry::retry_after;
use crate::{Client, Error, Metric, Side, Truncation, VectorEncoding};

/// What stands for no deadline: 30 years.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// A call that has not been made yet. Set its options, then `.await` it; of a stream,
/// [`start`](Call::start) it.
///
/// `S` is what a stream reads its requests from.
#[must_use = "a call does nothing until it is awaited, or a stream started"]
pub struct Call<R, S = ()> {
    pub(crate) client: Client,
    pub(crate) request: R,
    pub(crate) timeout: Duration,
    pub(crate) source: S,
}

/// A request that one unary call answers. It is implemented by the messages of [`crate::v1`] that the
/// client's methods send.
pub trait Ask: Message + Clone + 'static {
    /// The message that answers.
    #[doc(hidden)]
    type Received: Message + Default + 'static;
    /// What the call gives.
    type Answer: Send + 'static;
    /// The method's path.
    #[doc(hidden)]
    const PATH: &'static str;
    /// Turns the message into what the call gives.
    #[doc(hidden)]
    fn read(received: Self::Received) -> Result<Self::Answer, Error>;
}

impl Client {
    pub(crate) fn call<R, S>(&self, request: R, source: S) -> Call<R, S> {
        Call { client: self.clone(), request, timeout: self.0.timeout, source }
    }

    /// Calls until there is an answer, an error that is not retried, or the deadline.
    pub(crate) async fn ask<R: Ask>(&self, request: R, timeout: Duration) -> Result<R::Answer, Error> {
        let deadline = Instant::now() + timeout.min(FOREVER);
        let mut failed = None;
        let attempts = self.attempts(request, deadline, &mut failed);
        match timeout_at(deadline, attempts).await {
            Ok(outcome) => outcome,
            Err(_) => Err(too_late(timeout, failed.as_ref())),
        }
    }

    async fn attempts<R: Ask>(
        &self,
        request: R,
        deadline: Instant,
        failed: &mut Option<Error>,
    ) -> Result<R::Answer, Error> {
        let mut last: Option<Arc<Server>> = None;
        for attempt in 1.. {
            let server = self.0.balancer.pick(last.as_ref()).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match server.connection.unary(R::PATH, request.clone(), left).await {
                Ok(received) => {
                    self.0.throttle.succeeded();
                    return R::read(received);
                }
                Err(status) => Error::from(status),
            };
            let wait = self.wait(&server, &error, attempt).ok_or_else(|| error.clone())?;
            if Instant::now() + wait >= deadline {
                return Err(error);
            }
            *failed = Some(error);
            last = Some(server);
            tokio::time::sleep(wait).await;
        }
        unreachable!("the number of attempts is bounded")
    }

    /// The wait before another attempt; `None` where there is none. Where another server is up, the first
    /// one after an outage does not wait.
    pub(crate) fn wait(&self, server: &Server, error: &Error, attempt: u32) -> Option<Duration> {
        let Shared { balancer, throttle, .. } = &*self.0;
        let is_outage = error.code() == Code::Unavailable;
        if is_outage {
            balancer.suspect(server);
        }
        let allowed = throttle.failed(error);
        let wait = retry_after(error, attempt).filter(|_| allowed)?;
        let at_once =
            is_outage && attempt == 1 && error.retry_after().is_none() && balancer.has_another(server);
        Some(if at_once { Duration::ZERO } else { wait })
    }
}

fn too_late(timeout: Duration, failed: Option<&Error>) -> Error {
    let before = failed.map(|error| format!("; the last attempt before: {error}")).unwrap_or_default();
    Error::new(Code::DeadlineExceeded, format!("no answer within {timeout:?}{before}"))
}

impl<R: Ask> IntoFuture for Call<R> {
    type Output = Result<R::Answer, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.client.ask(self.request, self.timeout).await })
    }
}

impl<R, S> Call<R, S> {
    /// The deadline of the call, retries included. Of a stream: how long it may wait for the next answer.
    /// Left out: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// Gives options to calls: a setter of one field of the request, for each of the requests that has it.
macro_rules! options {
    ($($doc:tt $option:ident: $kind:ty => $field:ident via $via:path, for $($request:ident),+;)+) => {
        $($(options!(@one $doc $option: $kind => $field via $via, $request);)+)+
    };
    (@one [$(#[$doc:meta])*] $option:ident: $kind:ty => $field:ident via $via:path, $request:ident) => {
        impl<S> Call<crate::v1::$request, S> {
            $(#[$doc])*
            pub fn $option(mut self, $option: $kind) -> Self {
                self.request.$field = $via($option);
                self
            }
        }
    };
}

/// The wire's form of an option that may be left out.
fn some<T>(value: T) -> Option<T> {
    Some(value)
}

fn some_text(value: impl Into<String>) -> Option<String> {
    Some(value.into())
}

options! {
    [
        /// The name of the model to ask. Left out: the server's default for the task.
    ] model: impl Into<String> => model via Into::into, for EmbedRequest, EmbedSparseRequest, ClassifyRequest,
        ScoreRequest, RerankRequest, CompareRequest, RankRequest, SearchRequest, MatrixRequest,
        TokenizeRequest;
    [
        /// What to do with texts of too many tokens. Left out: the model's own rule.
    ] truncation: Truncation => truncation via i32::from, for EmbedRequest, EmbedSparseRequest,
        ClassifyRequest, ScoreRequest, RerankRequest;
    [
        /// Answers the good texts or pairs even where others are bad: those have an error of their own.
    ] partial: bool => allow_partial via std::convert::identity, for EmbedRequest, EmbedSparseRequest,
        ClassifyRequest, ScoreRequest;
    [
        /// The name of the model's prompt that is put before each text. Left out: the model's default
        /// prompt. Empty: none.
    ] prompt: impl Into<String> => prompt_name via some_text, for EmbedRequest, EmbedSparseRequest,
        CompareRequest, RankRequest, SearchRequest, MatrixRequest;
    [
        /// The name of the prompt that is put before each document instead.
    ] document_prompt: impl Into<String> => document_prompt_name via some_text, for RankRequest,
        SearchRequest;
    [
        /// The name of the prompt that is put before each right text instead.
    ] right_prompt: impl Into<String> => right_prompt_name via some_text, for CompareRequest, MatrixRequest;
    [
        /// Which encoder reads the texts, for a model that has one for each side of a pair.
    ] side: Side => side via i32::from, for EmbedRequest;
    [
        /// Whether to scale each vector to unit length. Left out: the model's own way.
    ] normalize: bool => normalize via some, for EmbedRequest;
    [
        /// Keeps only the first so many dimensions, for models trained to be cut.
    ] dimensions: i32 => dimensions via some, for EmbedRequest;
    [
        /// The form in which vectors travel; they arrive as `f32` in any case. Left out: `Float32`, which is
        /// exact and is read as one block. `Float16` and `Int8` are smaller and rounded.
    ] encoding: VectorEncoding => encoding via i32::from, for EmbedRequest;
    [
        /// Whether each index of a vector comes with its token as the vocabulary writes it.
    ] tokens: bool => include_tokens via std::convert::identity, for EmbedSparseRequest;
    [
        /// How vectors make a score. Left out: the model's own metric.
    ] metric: Metric => metric via i32::from, for CompareRequest, RankRequest, SearchRequest, MatrixRequest;
    [
        /// Answers with only the best so many hits; of a sparse vector, with the largest so many weights.
    ] top_k: i32 => top_k via some, for RankRequest, SearchRequest, RerankRequest, EmbedSparseRequest;
}
