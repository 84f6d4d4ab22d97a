//! Pairs and texts to labels.

use futures_core::Stream;

use crate::call::{Ask, Call};
use crate::stream::{Request, Requests, Streamed};
use crate::v1::stream_classify_response::Outcome as StreamOutcome;
use crate::v1::{self, ClassifyPair, ClassifyRequest, classify_result::Outcome};
use crate::{Client, Error, Usage};

/// The answer to a request to classify.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Classifications {
    /// The name of the model that answered.
    pub model: String,
    /// One result a pair, in the order of the pairs; an error only with [`Call::partial`].
    pub results: Vec<Result<Classification, Error>>,
    /// What the request cost, in tokens.
    pub usage: Usage,
}

/// What the model says of one pair.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Classification {
    /// The label of the highest score.
    pub label: String,
    /// Every label with its score, in the model's order.
    pub scores: Vec<LabelScore>,
    /// The model's raw outputs in the same order.
    pub logits: Vec<f32>,
    /// The pair's tokens, special tokens included, after truncation.
    pub token_count: i32,
    /// How many tokens truncation dropped.
    pub truncated_tokens: i32,
}

/// A label with its score: a probability from 0 to 1 for a model of softmax or sigmoid scores.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LabelScore {
    /// One of the model's labels.
    pub label: String,
    /// Its score.
    pub score: f32,
}

/// A premise and a hypothesis.
impl<P: Into<String>, H: Into<String>> From<(P, H)> for ClassifyPair {
    fn from((premise, hypothesis): (P, H)) -> Self {
        Self { premise: premise.into(), hypothesis: Some(hypothesis.into()) }
    }
}

/// A premise alone, for a classifier of single texts.
impl From<&str> for ClassifyPair {
    fn from(premise: &str) -> Self {
        Self { premise: premise.into(), hypothesis: None }
    }
}

/// A premise alone, for a classifier of single texts.
impl From<String> for ClassifyPair {
    fn from(premise: String) -> Self {
        Self { premise, hypothesis: None }
    }
}

impl Client {
    /// Labels pairs `(premise, hypothesis)`, or single texts, in their order.
    pub fn classify(
        &self,
        pairs: impl IntoIterator<Item = impl Into<ClassifyPair>>,
    ) -> Call<ClassifyRequest> {
        let pairs = pairs.into_iter().map(Into::into).collect();
        self.call(ClassifyRequest { pairs, ..Default::default() }, ())
    }

    /// Classifies a stream of requests and yields each answer as soon as it is ready, by the rules of
    /// [`Answers`](crate::Answers).
    pub fn stream_classify(
        &self,
        requests: impl Stream<Item = Request<ClassifyPair>> + Send + 'static,
    ) -> Call<ClassifyRequest, Requests<ClassifyPair>> {
        self.call(ClassifyRequest::default(), Requests::new(requests, self.0.in_flight))
    }
}

impl Ask for ClassifyRequest {
    type Received = v1::ClassifyResponse;
    type Answer = Classifications;
    const PATH: &'static str = "/semserve.v1.ClassificationService/Classify";

    fn read(received: v1::ClassifyResponse) -> Result<Classifications, Error> {
        let results = received.results.into_iter().map(classification).collect();
        Ok(Classifications { model: received.model, results, usage: received.usage.into() })
    }
}

fn classification(result: v1::ClassifyResult) -> Result<Classification, Error> {
    match result.outcome {
        Some(Outcome::Classification(made)) => Ok(Classification {
            label: made.label,
            scores: made
                .scores
                .into_iter()
                .map(|one| LabelScore { label: one.label, score: one.score })
                .collect(),
            logits: made.logits,
            token_count: result.token_count,
            truncated_tokens: result.truncated_tokens,
        }),
        Some(Outcome::Error(status)) => Err(status.into()),
        None => Err(Error::empty("a pair")),
    }
}

impl Streamed for ClassifyRequest {
    type Item = ClassifyPair;
    type Wrapped = v1::StreamClassifyRequest;
    type Unwrapped = v1::StreamClassifyResponse;
    const STREAM_PATH: &'static str = "/semserve.v1.ClassificationService/StreamClassify";

    fn with(&self, pairs: Vec<ClassifyPair>) -> Self {
        Self { pairs, ..self.clone() }
    }

    fn wrap(self, id: String) -> v1::StreamClassifyRequest {
        v1::StreamClassifyRequest { id, request: Some(self) }
    }

    fn unwrap(received: v1::StreamClassifyResponse) -> (String, Result<v1::ClassifyResponse, Error>) {
        let answer = match received.outcome {
            Some(StreamOutcome::Response(response)) => Ok(response),
            Some(StreamOutcome::Error(status)) => Err(status.into()),
            None => Err(Error::empty("a request of the stream")),
        };
        (received.id, answer)
    }
}
