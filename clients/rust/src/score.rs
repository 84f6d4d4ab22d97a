//! Pairs and texts to one number each, by a cross-encoder or a regression.

use crate::call::{Ask, Call};
use crate::similarity::{hits, scored};
use crate::v1::{self, RerankRequest, ScorePair, ScoreRequest};
use crate::{Client, Error, Hit, Scored};

impl Client {
    /// Gives each pair `(left, right)` one number, in their order. A pair has an error only with
    /// [`Call::partial`].
    pub fn score<L: Into<String>, R: Into<String>>(
        &self,
        pairs: impl IntoIterator<Item = (L, R)>,
    ) -> Call<ScoreRequest> {
        let pair = |(left, right): (L, R)| ScorePair { left: left.into(), right: right.into() };
        let pairs = pairs.into_iter().map(pair).collect();
        self.call(ScoreRequest { pairs, ..Default::default() }, ())
    }

    /// Gives each text one number, in their order, for a model of single texts.
    pub fn score_texts(&self, texts: impl IntoIterator<Item = impl Into<String>>) -> Call<ScoreRequest> {
        let texts = texts.into_iter().map(Into::into).collect();
        self.call(ScoreRequest { texts, ..Default::default() }, ())
    }

    /// Scores each document together with the query and sorts them, highest first.
    pub fn rerank(
        &self,
        query: impl Into<String>,
        documents: impl IntoIterator<Item = impl Into<String>>,
    ) -> Call<RerankRequest> {
        let documents = documents.into_iter().map(Into::into).collect();
        self.call(RerankRequest { query: query.into(), documents, ..Default::default() }, ())
    }
}

impl Ask for ScoreRequest {
    type Received = v1::ScoreResponse;
    type Answer = Scored<Vec<Result<f32, Error>>>;
    const PATH: &'static str = "/semserve.v1.ScoreService/Score";

    fn read(received: v1::ScoreResponse) -> Result<Self::Answer, Error> {
        let mut scores: Vec<Result<f32, Error>> = received.scores.into_iter().map(Ok).collect();
        for one in received.errors {
            let place = usize::try_from(one.index).ok().and_then(|index| scores.get_mut(index));
            *place.ok_or_else(|| Error::empty("the place of an error"))? =
                Err(one.error.map_or_else(|| Error::empty("a pair"), Into::into));
        }
        scored!(received, scores)
    }
}

impl Ask for RerankRequest {
    type Received = v1::RerankResponse;
    type Answer = Scored<Vec<Hit>>;
    const PATH: &'static str = "/semserve.v1.ScoreService/Rerank";

    fn read(received: v1::RerankResponse) -> Result<Self::Answer, Error> {
        scored!(received, hits(received.hits)?)
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn partly(index: i32) -> v1::ScoreResponse {
        let status = tonic_types::pb::Status { code: Code::InvalidArgument.into(), ..Default::default() };
        let error = v1::ScoreError { index, error: Some(status) };
        v1::ScoreResponse { scores: vec![0.5, f32::NAN], errors: vec![error], ..Default::default() }
    }

    #[test]
    fn error_takes_the_place_of_its_score() {
        let scored = ScoreRequest::read(partly(1)).unwrap().scores;
        assert_eq!(Some(0.5), scored[0].as_ref().ok().copied());
        assert_eq!(Some(Code::InvalidArgument), scored[1].as_ref().err().map(Error::code));
    }

    #[test]
    fn error_of_no_pair_is_the_servers_fault() {
        for place in [2, -1] {
            assert_eq!(Code::Internal, ScoreRequest::read(partly(place)).unwrap_err().code());
        }
    }
}
