//! Texts to sparse vectors: a weight for each token of the vocabulary that matters.

use crate::call::{Ask, Call};
use crate::v1::{self, EmbedSparseRequest};
use crate::{Client, Error, Usage};

/// The answer to a request for sparse vectors.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SparseEmbeddings {
    /// The name of the model that answered.
    pub model: String,
    /// One result a text, in the order of the texts.
    pub results: Vec<SparseEmbedding>,
    /// What the request cost, in tokens.
    pub usage: Usage,
}

/// The outcome of one text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SparseEmbedding {
    /// The text's vector, or why it has none; never an error without [`Call::partial`].
    pub vector: Result<SparseVector, Error>,
    /// The text's tokens, special tokens included, after truncation.
    pub token_count: i32,
    /// How many tokens truncation dropped.
    pub truncated_tokens: i32,
}

/// The weights of a text that are above 0.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SparseVector {
    /// Ids of tokens of the vocabulary, ascending.
    pub indices: Vec<u32>,
    /// The weight of each of them.
    pub values: Vec<f32>,
    /// Each of them as the vocabulary writes it, with [`Call::tokens`]; else empty.
    pub tokens: Vec<String>,
}

impl SparseVector {
    /// The dot product with another vector of the same model.
    pub fn dot(&self, other: &Self) -> f64 {
        let mut others = other.indices.iter().zip(&other.values).peekable();
        let mut sum = 0.0;
        for (index, value) in self.indices.iter().zip(&self.values) {
            while others.next_if(|(other, _)| *other < index).is_some() {}
            if let Some((_, other)) = others.next_if(|(other, _)| *other == index) {
                sum += f64::from(*value) * f64::from(*other);
            }
        }
        sum
    }
}

impl Client {
    /// Turns texts into sparse vectors, in the order of the texts.
    pub fn embed_sparse(
        &self,
        texts: impl IntoIterator<Item = impl Into<String>>,
    ) -> Call<EmbedSparseRequest> {
        let texts = texts.into_iter().map(Into::into).collect();
        self.call(EmbedSparseRequest { texts, ..Default::default() }, ())
    }
}

impl Ask for EmbedSparseRequest {
    type Received = v1::EmbedSparseResponse;
    type Answer = SparseEmbeddings;
    const PATH: &'static str = "/semserve.v1.EmbeddingService/EmbedSparse";

    fn read(received: v1::EmbedSparseResponse) -> Result<SparseEmbeddings, Error> {
        let results = received.results.into_iter().map(|result| SparseEmbedding {
            vector: match result.error {
                Some(status) => Err(status.into()),
                None => {
                    Ok(SparseVector { indices: result.indices, values: result.values, tokens: result.tokens })
                }
            },
            token_count: result.token_count,
            truncated_tokens: result.truncated_tokens,
        });
        let results = results.collect();
        Ok(SparseEmbeddings { model: received.model, results, usage: received.usage.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_product_is_of_the_indices_in_common() {
        let vector = |indices: &[u32], values: &[f32]| SparseVector {
            indices: indices.to_vec(),
            values: values.to_vec(),
            tokens: Vec::new(),
        };
        let left = vector(&[1, 4, 9], &[2.0, 3.0, 5.0]);
        let right = vector(&[0, 4, 8, 9, 10], &[7.0, 0.5, 7.0, 2.0, 7.0]);
        assert_eq!(11.5, left.dot(&right));
        assert_eq!(11.5, right.dot(&left));
        assert_eq!(0.0, left.dot(&SparseVector::default()));
    }
}
