//! Texts compared with texts.

use crate::call::{Ask, Call};
use crate::v1::{self, CompareRequest, MatrixRequest, RankRequest, SearchRequest};
use crate::{Client, Error, Usage};

/// What the texts of a request score, and what that cost.
///
/// `T` is a list of scores or of [`Hit`]s, or a list of such lists.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scored<T> {
    /// The name of the model that answered.
    pub model: String,
    /// The scores, or the hits, in the order that the method names.
    pub scores: T,
    /// What the request cost, in tokens.
    pub usage: Usage,
    /// How many tokens truncation dropped, of all texts.
    pub truncated_tokens: i32,
}

/// One text that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// Its place, from 0, in the documents or the corpus of the request.
    pub index: usize,
    /// Its score; higher is more similar.
    pub score: f32,
}

impl Client {
    /// Scores pairs of texts, in their order.
    pub fn compare<L: Into<String>, R: Into<String>>(
        &self,
        pairs: impl IntoIterator<Item = (L, R)>,
    ) -> Call<CompareRequest> {
        let pair = |(left, right): (L, R)| v1::ComparePair { left: left.into(), right: right.into() };
        let pairs = pairs.into_iter().map(pair).collect();
        self.call(CompareRequest { pairs, ..Default::default() }, ())
    }

    /// Sorts documents by their similarity to the query, best first.
    pub fn rank(
        &self,
        query: impl Into<String>,
        documents: impl IntoIterator<Item = impl Into<String>>,
    ) -> Call<RankRequest> {
        let documents = texts(documents);
        self.call(RankRequest { query: query.into(), documents, ..Default::default() }, ())
    }

    /// Finds for each query the most similar texts of the corpus, best first: ten, unless
    /// [`Call::top_k`] says otherwise.
    pub fn search(
        &self,
        queries: impl IntoIterator<Item = impl Into<String>>,
        corpus: impl IntoIterator<Item = impl Into<String>>,
    ) -> Call<SearchRequest> {
        let (queries, corpus) = (texts(queries), texts(corpus));
        self.call(SearchRequest { queries, corpus, ..Default::default() }, ())
    }

    /// Scores every text of the left against every text of the right: a row for each of the left.
    pub fn matrix(
        &self,
        left: impl IntoIterator<Item = impl Into<String>>,
        right: impl IntoIterator<Item = impl Into<String>>,
    ) -> Call<MatrixRequest> {
        let (left, right) = (texts(left), texts(right));
        self.call(MatrixRequest { left, right, ..Default::default() }, ())
    }

    /// Scores every text against every other and itself.
    pub fn matrix_of(&self, both: impl IntoIterator<Item = impl Into<String>>) -> Call<MatrixRequest> {
        self.matrix(both, std::iter::empty::<String>())
    }
}

fn texts(given: impl IntoIterator<Item = impl Into<String>>) -> Vec<String> {
    given.into_iter().map(Into::into).collect()
}

pub(crate) fn hits(received: Vec<v1::Hit>) -> Result<Vec<Hit>, Error> {
    let hit = |one: v1::Hit| {
        let index = usize::try_from(one.index).map_err(|_| Error::empty("the place of a hit"))?;
        Ok(Hit { index, score: one.score })
    };
    received.into_iter().map(hit).collect()
}

/// Makes a [`Scored`] of a response and its scores: every such response has the other three fields.
macro_rules! scored {
    ($received:ident, $scores:expr) => {
        Ok($crate::Scored {
            scores: $scores,
            model: $received.model,
            usage: $received.usage.into(),
            truncated_tokens: $received.truncated_tokens,
        })
    };
}
pub(crate) use scored;

impl Ask for CompareRequest {
    type Received = v1::CompareResponse;
    type Answer = Scored<Vec<f32>>;
    const PATH: &'static str = "/semserve.v1.SimilarityService/Compare";

    fn read(received: v1::CompareResponse) -> Result<Self::Answer, Error> {
        scored!(received, received.scores)
    }
}

impl Ask for RankRequest {
    type Received = v1::RankResponse;
    type Answer = Scored<Vec<Hit>>;
    const PATH: &'static str = "/semserve.v1.SimilarityService/Rank";

    fn read(received: v1::RankResponse) -> Result<Self::Answer, Error> {
        scored!(received, hits(received.hits)?)
    }
}

impl Ask for SearchRequest {
    type Received = v1::SearchResponse;
    type Answer = Scored<Vec<Vec<Hit>>>;
    const PATH: &'static str = "/semserve.v1.SimilarityService/Search";

    fn read(received: v1::SearchResponse) -> Result<Self::Answer, Error> {
        let results = received.results.into_iter().map(|one| hits(one.hits));
        scored!(received, results.collect::<Result<_, _>>()?)
    }
}

impl Ask for MatrixRequest {
    type Received = v1::MatrixResponse;
    type Answer = Scored<Vec<Vec<f32>>>;
    const PATH: &'static str = "/semserve.v1.SimilarityService/Matrix";

    fn read(received: v1::MatrixResponse) -> Result<Self::Answer, Error> {
        scored!(received, received.rows.into_iter().map(|row| row.scores).collect())
    }
}
