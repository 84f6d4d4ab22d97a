//! The one error of the client.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::{BadRequest, RetryInfo, RpcStatusExt as _, StatusExt as _};

/// The trailer in which a server says when to come back, in milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Why a call, a request of a stream or one text of a request was not answered.
///
/// [`Error::code`] tells what to do. `InvalidArgument` and `NotFound` mean to change the request, also
/// where it, or its answer, is larger than one message may be. `ResourceExhausted` and `Unavailable`,
/// which the client has retried already, mean to come back later. `Internal` means that the server is
/// at fault.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    message: String,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    /// Whether the server says not to come back.
    final_refusal: bool,
    status: Option<Status>,
}

/// One field that the server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Its path in the request, such as `texts[3]` or `pairs[0].hypothesis`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

impl Error {
    /// The gRPC status code, never `Ok`.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The explanation for people, which names the bad fields too.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Each bad field of the request; empty for most codes other than `InvalidArgument`.
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// After which time the server wants to be asked again, where it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The status of a whole call as it came, with every detail and trailer. `None` where the client
    /// made the error, or where it is of one request of a stream or of one text.
    pub fn status(&self) -> Option<&Status> {
        self.0.status.as_ref()
    }

    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            violations: Vec::new(),
            retry_after: None,
            final_refusal: false,
            status: None,
        }))
    }

    /// The error of an answer that lacks what the schema promises.
    pub(crate) fn empty(what: &str) -> Self {
        Self::new(Code::Internal, format!("the server's answer has nothing usable for {what}"))
    }

    pub(crate) fn is_final_refusal(&self) -> bool {
        self.0.final_refusal
    }

    fn detailed(mut self, bad: Option<BadRequest>, retry: Option<RetryInfo>) -> Self {
        let inner = &mut self.0;
        if inner.code == Code::ResourceExhausted && is_too_large(&inner.message)
            || inner.code == Code::OutOfRange && is_too_large(&inner.message)
        {
            inner.code = Code::InvalidArgument;
            inner.message.insert_str(0, "the request or its answer is too large: ");
        }
        let fields = bad.map(|bad| bad.field_violations).unwrap_or_default();
        inner.violations = fields
            .into_iter()
            .map(|one| Violation { field: one.field, description: one.description })
            .collect();
        inner.retry_after = retry.and_then(|retry| retry.retry_delay);
        self
    }
}

/// The status of a whole call. One that the connection caused, and not the server, is `Unavailable`:
/// tonic calls some of them `Unknown`, `Internal` or `Cancelled`.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let is_local = status.source().is_some();
        let code = match status.code() {
            _ if is_timeout(&status) => Code::DeadlineExceeded,
            Code::Unknown | Code::Internal | Code::Cancelled if is_local => Code::Unavailable,
            code => code,
        };
        let mut message = status.message().to_owned();
        for cause in causes(&status) {
            let told = cause.to_string();
            if !message.contains(&told) {
                message = format!("{message}: {told}");
            }
        }
        let mut made = Self::new(code, message)
            .detailed(status.get_details_bad_request(), status.get_details_retry_info());
        if let Some(pushback) = pushback(status.metadata()) {
            made.0.retry_after = pushback;
            made.0.final_refusal = pushback.is_none();
        }
        made.0.status = Some(status);
        made
    }
}

/// The status of one request of a stream, or of one text.
impl From<tonic_types::pb::Status> for Error {
    fn from(status: tonic_types::pb::Status) -> Self {
        Self::new(Code::from_i32(status.code), status.message.as_str())
            .detailed(status.get_details_bad_request(), status.get_details_retry_info())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "semserve: {:?}: {}", self.0.code, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("violations", &self.0.violations)
            .field("retry_after", &self.0.retry_after)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.status.as_ref().and_then(|status| status.source())
    }
}

/// Whether gRPC's libraries say this of a message over a limit, with the code of an overload or a range.
fn is_too_large(message: &str) -> bool {
    let message = message.to_lowercase();
    ["larger than max", "exceeds maximum size", "message length too large"]
        .iter()
        .any(|said| message.contains(said))
}

/// Whether the deadline of the call passed at the client's end.
fn is_timeout(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<tonic::TimeoutExpired>())
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(status.source(), |&cause| cause.source())
}

/// The pushback of the trailers: `Some(None)` says not to come back.
fn pushback(trailers: &MetadataMap) -> Option<Option<Duration>> {
    let value = trailers.get(PUSHBACK)?.to_str().ok()?;
    Some(value.parse::<u32>().ok().map(|wait| Duration::from_millis(wait.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushback_takes_the_place_of_the_retry_info() {
        let mut status = Status::resource_exhausted("the queue is full");
        status.metadata_mut().insert(PUSHBACK, "250".parse().unwrap());
        assert_eq!(Some(Duration::from_millis(250)), Error::from(status).retry_after());
    }

    #[test]
    fn pushback_that_is_no_delay_says_not_to_come_back() {
        for said in ["-1", "soon", "99999999999"] {
            let mut status = Status::unavailable("stopping");
            status.metadata_mut().insert(PUSHBACK, said.parse().unwrap());
            assert!(Error::from(status).is_final_refusal(), "{said}");
        }
    }

    #[test]
    fn message_over_a_limit_is_a_bad_request() {
        for (code, said) in [
            (Code::ResourceExhausted, "SERVER: Received message larger than max (5 vs. 4)"),
            (Code::OutOfRange, "Error, decoded message length too large: found 5 bytes"),
        ] {
            assert_eq!(Code::InvalidArgument, Error::from(Status::new(code, said)).code());
        }
        let full = Status::resource_exhausted("the queue is full");
        assert_eq!(Code::ResourceExhausted, Error::from(full).code());
    }

    #[test]
    fn status_inside_an_answer_keeps_its_fields() {
        let details = tonic_types::ErrorDetails::with_bad_request_violation("texts[1]", "is empty");
        let whole = Status::with_error_details(Code::InvalidArgument, "texts[1]: is empty", details);
        let inner = prost::Message::decode(whole.details()).unwrap();
        let error = Error::from(<tonic_types::pb::Status as Clone>::clone(&inner));
        assert_eq!("texts[1]", error.violations()[0].field);
        assert_eq!("semserve: InvalidArgument: texts[1]: is empty", error.to_string());
    }
}
