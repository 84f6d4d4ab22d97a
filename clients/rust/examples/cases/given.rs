//! What a case gives: its texts, its options, and generated requests.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll};

use semserve::v1::ClassifyPair;
use semserve::{Metric, Request, Truncation, VectorEncoding};
use serde_json::Value;
use tokio_stream::Stream;

use crate::Outcome;

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A string; an absent one is empty.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub fn strings(value: &Value) -> Vec<String> {
    list(value).iter().map(text).collect()
}

/// Strings, and objects that say how often a text is repeated and copied.
pub fn texts(value: &Value) -> Vec<String> {
    let times = |value: &Value| value.as_u64().unwrap_or(1) as usize;
    let written = |one: &Value| match one {
        Value::String(text) => vec![text.clone()],
        one => vec![text(&one["text"]).repeat(times(&one["times"])); times(&one["copies"])],
    };
    list(value).iter().flat_map(written).collect()
}

pub fn pairs(value: &Value) -> Vec<ClassifyPair> {
    let pair = |one: &Value| match list(one) {
        [premise, hypothesis] => (text(premise), text(hypothesis)).into(),
        _ => text(&one[0]).into(),
    };
    list(value).iter().map(pair).collect()
}

pub fn flag(value: &Value) -> bool {
    value == &Value::Bool(true)
}

pub fn number(value: &Value) -> i32 {
    value.as_i64().and_then(|number| number.try_into().ok()).expect("a number of 32 bits")
}

pub fn truncation(value: &Value) -> Truncation {
    named("TRUNCATION", value, Truncation::from_str_name)
}

pub fn encoding(value: &Value) -> VectorEncoding {
    named("VECTOR_ENCODING", value, VectorEncoding::from_str_name)
}

pub fn metric(value: &Value) -> Metric {
    named("METRIC", value, Metric::from_str_name)
}

fn named<T>(kind: &str, value: &Value, read: impl Fn(&str) -> Option<T>) -> T {
    let name = format!("{kind}_{}", text(value).to_uppercase());
    read(&name).unwrap_or_else(|| panic!("the schema has no {name}"))
}

/// Requests that are made as they are read.
pub struct Generated {
    count: u64,
    next: u64,
    texts: Vec<String>,
    read: Count,
}

/// How far a source was read ahead of the answers that were taken.
#[derive(Clone, Default)]
pub struct Count(Arc<Numbers>);

#[derive(Default)]
struct Numbers {
    taken: AtomicU64,
    most_ahead: AtomicU64,
    let_go: AtomicBool,
}

impl Generated {
    pub fn new(generate: &Value) -> Self {
        let count = generate["count"].as_u64().unwrap_or(0);
        Self { count, next: 0, texts: strings(&generate["texts"]), read: Count::default() }
    }

    pub fn count(&self) -> Count {
        self.read.clone()
    }
}

impl Stream for Generated {
    type Item = Request<String>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.next == self.count {
            return Poll::Ready(None);
        }
        let text = self.texts[self.next as usize % self.texts.len()].clone();
        let request = Request::new(self.next.to_string(), [text]);
        self.next += 1;
        let numbers = &self.read.0;
        numbers.most_ahead.fetch_max(self.next - numbers.taken.load(SeqCst), SeqCst);
        Poll::Ready(Some(request))
    }
}

impl Drop for Generated {
    fn drop(&mut self) {
        self.read.0.let_go.store(true, SeqCst);
    }
}

impl Count {
    /// Notes that the case took an answer.
    pub fn take(&self) {
        self.0.taken.fetch_add(1, SeqCst);
    }

    pub fn most_ahead(&self) -> u64 {
        self.0.most_ahead.load(SeqCst)
    }

    pub fn is_let_go(&self) -> Outcome {
        match self.0.let_go.load(SeqCst) {
            true => Ok(()),
            false => Err("the client keeps the source".into()),
        }
    }
}
