//! The Rust client of semserve, a gRPC server for semantic similarity.
//!
//! ```no_run
//! # async fn run() -> Result<(), semserve::Error> {
//! let client = semserve::Client::new("127.0.0.1:50051")?;
//! let answer = client.embed(["The cat sits on the mat."]).await?;
//! println!("{:?}", answer.into_vectors()?);
//! # Ok(())
//! # }
//! ```
//!
//! A call is a value: set what it needs, such as [`Call::model`], then `.await` it. It runs on tokio.
//! Every call has a deadline, and dropping its future cancels it at the server too. Every failure is
//! an [`Error`].

#![warn(missing_docs)]

mod address;
mod balance;
mod call;
mod classify;
mod client;
mod connection;
mod embed;
mod error;
mod exchange;
mod flight;
mod link;
mod model;
mod retry;
mod score;
mod similarity;
mod sparse;
mod stream;
mod vector;

/// The messages of the schema `semserve.v1`, and its generated clients and servers.
pub mod v1 {
    #![allow(missing_docs, clippy::all)]
    include!("stubs/semserve.v1.rs");
}

pub use call::{Ask, Call};
pub use classify::{Classification, Classifications, LabelScore};
pub use client::{Builder, Client, DEFAULT_TIMEOUT};
pub use embed::{Embedding, Embeddings, Usage};
pub use error::{Error, Violation};
pub use similarity::{Hit, Scored};
pub use sparse::{SparseEmbedding, SparseEmbeddings, SparseVector};
pub use stream::{Answer, Answers, DEFAULT_IN_FLIGHT, Request, Requests, Streamed};
pub use tonic::Code;
pub use tonic::transport::{Certificate, ClientTlsConfig, Identity};
pub use v1::{
    GetServerInfoResponse as ServerInfo, Metric, ModelInfo, Side, Task, TokenizeResult, Truncation,
    VectorEncoding,
};
pub use vector::cosine;
