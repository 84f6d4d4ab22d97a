//! Texts to vectors.

use futures_core::Stream;

use crate::call::{Ask, Call};
use crate::stream::{Request, Requests, Streamed};
use crate::v1::stream_embed_response::Outcome as StreamOutcome;
use crate::v1::{self, EmbedRequest, embed_result::Outcome};
use crate::vector::unpack;
use crate::{Client, Error, VectorEncoding};

/// The answer to a request to embed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Embeddings {
    /// The name of the model that answered.
    pub model: String,
    /// One result a text, in the order of the texts.
    pub results: Vec<Embedding>,
    /// What the request cost, in tokens.
    pub usage: Usage,
}

/// The outcome of one text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Embedding {
    /// The text's vector, or why it has none; never an error without [`Call::partial`].
    pub vector: Result<Vec<f32>, Error>,
    /// The text's tokens, special tokens included, after truncation.
    pub token_count: i32,
    /// How many tokens truncation dropped.
    pub truncated_tokens: i32,
}

/// What a request cost, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// The tokens of the request's own texts.
    pub token_count: i64,
    /// What was computed for them, their batches' padding included.
    pub padded_token_count: i64,
}

impl Embeddings {
    /// The vectors alone, in the order of the texts.
    ///
    /// # Errors
    ///
    /// The first text's error, where one has none.
    pub fn into_vectors(self) -> Result<Vec<Vec<f32>>, Error> {
        self.results.into_iter().map(|result| result.vector).collect()
    }
}

impl Client {
    /// Turns texts into vectors, in the order of the texts. One call with many texts costs far less than
    /// many calls; [`Client::stream_embed`] takes more than the server allows in one.
    pub fn embed(&self, texts: impl IntoIterator<Item = impl Into<String>>) -> Call<EmbedRequest> {
        self.call(request(texts.into_iter().map(Into::into).collect()), ())
    }

    /// Embeds a stream of requests and yields each answer as soon as it is ready, by the rules of
    /// [`Answers`](crate::Answers).
    pub fn stream_embed(
        &self,
        requests: impl Stream<Item = Request<String>> + Send + 'static,
    ) -> Call<EmbedRequest, Requests<String>> {
        self.call(request(Vec::new()), Requests::new(requests, self.0.in_flight))
    }
}

fn request(texts: Vec<String>) -> EmbedRequest {
    EmbedRequest { texts, encoding: VectorEncoding::Float32.into(), ..Default::default() }
}

impl Ask for EmbedRequest {
    type Received = v1::EmbedResponse;
    type Answer = Embeddings;
    const PATH: &'static str = "/semserve.v1.EmbeddingService/Embed";

    fn read(received: v1::EmbedResponse) -> Result<Embeddings, Error> {
        let results = received.results.into_iter().map(|result| {
            let vector = match result.outcome {
                Some(Outcome::Embedding(embedding)) => Ok(unpack(embedding)?),
                Some(Outcome::Error(status)) => Err(status.into()),
                None => Err(Error::empty("a text")),
            };
            let (token_count, truncated_tokens) = (result.token_count, result.truncated_tokens);
            Ok(Embedding { vector, token_count, truncated_tokens })
        });
        let results = results.collect::<Result<_, Error>>()?;
        Ok(Embeddings { model: received.model, results, usage: received.usage.into() })
    }
}

impl From<Option<v1::Usage>> for Usage {
    fn from(usage: Option<v1::Usage>) -> Self {
        let v1::Usage { token_count, padded_token_count } = usage.unwrap_or_default();
        Self { token_count, padded_token_count }
    }
}

impl Streamed for EmbedRequest {
    type Item = String;
    type Wrapped = v1::StreamEmbedRequest;
    type Unwrapped = v1::StreamEmbedResponse;
    const STREAM_PATH: &'static str = "/semserve.v1.EmbeddingService/StreamEmbed";

    fn with(&self, texts: Vec<String>) -> Self {
        Self { texts, ..self.clone() }
    }

    fn wrap(self, id: String) -> v1::StreamEmbedRequest {
        v1::StreamEmbedRequest { id, request: Some(self) }
    }

    fn unwrap(received: v1::StreamEmbedResponse) -> (String, Result<v1::EmbedResponse, Error>) {
        let answer = match received.outcome {
            Some(StreamOutcome::Response(response)) => Ok(response),
            Some(StreamOutcome::Error(status)) => Err(status.into()),
            None => Err(Error::empty("a request of the stream")),
        };
        (received.id, answer)
    }
}
