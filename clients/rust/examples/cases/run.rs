//! One case and how it is run.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use semserve::{Answers, Certificate, Client, ClientTlsConfig, Request};
use serde_json::Value;

use crate::Outcome;
use crate::compare::{self, Same, equal, error_is_as_expected};
use crate::given::{self, Generated, list, pairs, strings, text, texts};

/// One case.
pub struct Run<'a> {
    pub given: &'a Value,
    pub expect: &'a Value,
    pub same: Same,
}

/// Sets the options of a call that the case gives.
macro_rules! with {
    ($run:expr, $call:expr; $($option:ident: $read:expr),*) => {{
        let mut call = $call;
        if let Some(seconds) = $run.given["timeout_s"].as_f64() {
            call = call.timeout(Duration::from_secs_f64(seconds));
        }
        $(if let Some(value) = $run.given.get(stringify!($option)) {
            call = call.$option(($read)(value));
        })*
        call
    }};
}

/// The options of the calls that embed.
macro_rules! embedding {
    ($run:expr, $call:expr) => {
        with!($run, $call; model: text, partial: |_| true, truncation: given::truncation,
            normalize: given::flag, dimensions: given::number, encoding: given::encoding, prompt: text,
            side: given::side)
    };
}

impl Run<'_> {
    /// Runs the case; an error says what came out other than expected.
    pub async fn run(&self, case: &Value, servers: &HashMap<&str, &str>) -> Outcome {
        let call = text(&case["call"]);
        if call == "connect" {
            let address = self.given["address"].as_str().unwrap_or("127.0.0.1:50051");
            let made = Client::builder([address]).key(text(&self.given["key"])).build();
            return if made.is_err() { Ok(()) } else { Err("a client was made".into()) };
        }
        let client = self.client(&text(&case["server"]), servers)?;
        let asked = self.ask(&call, &client);
        if self.given["cancel"] == true {
            return cancelled(asked).await;
        }
        match (self.expect.get("error"), asked.await) {
            (None, outcome) => outcome,
            (Some(expected), Ok(())) => Err(format!("answered; expected {expected}").into()),
            (Some(expected), Err(failure)) => match failure.downcast_ref::<semserve::Error>() {
                Some(error) => error_is_as_expected(expected, error),
                None => Err(failure),
            },
        }
    }

    fn client(&self, names: &str, servers: &HashMap<&str, &str>) -> Outcome<Client> {
        let addresses = names.split('+').map(|name| servers.get(name).copied().ok_or("no such server"));
        let mut builder = Client::builder(addresses.collect::<Result<Vec<_>, _>>()?);
        if names == "secured" {
            let authority = Certificate::from_pem(std::fs::read(std::env::var("SEMSERVE_TLS_CA")?)?);
            let key = match self.given["key"].as_str() {
                Some(key) => key.to_owned(),
                None => std::env::var("SEMSERVE_KEY")?,
            };
            builder = builder.key(key).tls(ClientTlsConfig::new().ca_certificate(authority));
        }
        if let Some(bound) = self.given["in_flight"].as_u64() {
            builder = builder.in_flight(bound.try_into()?);
        }
        Ok(builder.build()?)
    }

    async fn ask(&self, call: &str, client: &Client) -> Outcome {
        let given = self.given;
        match call {
            "embed" => {
                let call = embedding!(self, client.embed(texts(&given["texts"])));
                self.same.embeddings(self.expect, &call.await?)
            }
            "classify" => {
                let call = client.classify(pairs(&given["pairs"]));
                let call = with!(self, call; model: text, partial: |_| true, truncation: given::truncation);
                self.same.classifications(self.expect, &call.await?)
            }
            "compare" => {
                let pairs = list(&given["pairs"]).iter().map(|pair| (text(&pair[0]), text(&pair[1])));
                let call = with!(self, client.compare(pairs); model: text, metric: given::metric, prompt: text,
                    right_prompt: text);
                let found = call.await?;
                compare::totals(self.expect, &found)?;
                self.same.numbers("scores", &self.expect["scores"], &found.scores)
            }
            "rank" => {
                let call = client.rank(text(&given["query"]), strings(&given["documents"]));
                let call = with!(self, call; model: text, metric: given::metric, top_k: given::number, prompt: text,
                    document_prompt: text);
                let found = call.await?;
                compare::totals(self.expect, &found)?;
                self.same.hits(&self.expect["hits"], &found.scores)
            }
            "search" => {
                let call = client.search(strings(&given["queries"]), strings(&given["corpus"]));
                let call = with!(self, call; model: text, metric: given::metric, top_k: given::number, prompt: text,
                    document_prompt: text);
                let found = call.await?;
                compare::totals(self.expect, &found)?;
                self.same.each("results", &self.expect["results"], &found.scores, |expected, hits| {
                    self.same.hits(expected, hits)
                })
            }
            "matrix" => {
                let call = client.matrix(texts(&given["left"]), texts(&given["right"]));
                let call = with!(self, call; model: text, metric: given::metric, prompt: text,
                    right_prompt: text);
                let found = call.await?;
                compare::totals(self.expect, &found)?;
                self.same.matrix(self.expect, &found.scores)
            }
            "models" => compare::models(&self.expect["models"], &client.models().await?),
            "model" => compare::models(&self.expect["models"], &[client.model(text(&given["model"])).await?]),
            "load_model" => Ok(client.load_model(text(&given["model"])).await.map(|_| ())?),
            "tokenize" => {
                let call = with!(self, client.tokenize(texts(&given["texts"])); model: text);
                compare::tokens(&self.expect["results"], &call.await?)
            }
            "health" => {
                let serving = client.healthy(text(&given["model"])).await?;
                equal("serving", &self.expect["serving"], &serving)
            }
            "stream_embed" if given.get("generate").is_some() => self.generated(client).await,
            "stream_embed" => {
                let requests = self.requests(|request| texts(&request["texts"]));
                let call = embedding!(self, client.stream_embed(tokio_stream::iter(requests)));
                self.answers(call.start(), |expected, found| self.same.embeddings(expected, found)).await
            }
            "stream_classify" => {
                let requests = self.requests(|request| pairs(&request["pairs"]));
                let call = client.stream_classify(tokio_stream::iter(requests));
                let call = with!(self, call; model: text);
                self.answers(call.start(), |expected, found| self.same.classifications(expected, found)).await
            }
            "failover_calls" => self.failover_calls(client).await,
            "failover_streams" => self.failover_streams(client).await,
            other => self.ask_kinds(other, client).await,
        }
    }

    /// The calls that few kinds of models answer, and the server's description.
    async fn ask_kinds(&self, call: &str, client: &Client) -> Outcome {
        let given = self.given;
        match call {
            "embed_sparse" => {
                let call = client.embed_sparse(texts(&given["texts"]));
                let call = with!(self, call; model: text, partial: |_| true, truncation: given::truncation,
                    top_k: given::number, tokens: given::flag, prompt: text);
                self.same.sparse(self.expect, &call.await?)
            }
            "score" => {
                let pairs = list(&given["pairs"]).iter().map(|pair| (text(&pair[0]), text(&pair[1])));
                let call = match given.get("texts") {
                    Some(given) => client.score_texts(texts(given)),
                    None => client.score(pairs),
                };
                let call = with!(self, call; model: text, partial: |_| true, truncation: given::truncation);
                self.same.scores(self.expect, &call.await?)
            }
            "rerank" => {
                let call = client.rerank(text(&given["query"]), strings(&given["documents"]));
                let call =
                    with!(self, call; model: text, truncation: given::truncation, top_k: given::number);
                let found = call.await?;
                compare::totals(self.expect, &found)?;
                self.same.hits(&self.expect["hits"], &found.scores)
            }
            "server_info" => compare::server(self.expect, &client.server_info().await?),
            other => Err(format!("the runner does not know the call {other:?}").into()),
        }
    }

    fn requests<T>(&self, items: impl Fn(&Value) -> Vec<T>) -> Vec<Request<T>> {
        let requests = list(&self.given["requests"]).iter();
        requests.map(|one| Request { id: text(&one["id"]), items: items(one) }).collect()
    }

    /// Compares the answers of a stream; each request has exactly one.
    async fn answers<A>(&self, mut answers: Answers<A>, same: impl Fn(&Value, &A) -> Outcome) -> Outcome {
        let mut seen = Vec::new();
        while let Some(answer) = answers.next().await {
            let answer = answer?;
            let expected = &self.expect["answers"][answer.id.as_str()];
            match (expected.get("error"), answer.result) {
                (None, Ok(found)) => same(expected, &found)?,
                (Some(expected), Err(error)) => error_is_as_expected(expected, &error)?,
                (Some(expected), Ok(_)) => return Err(format!("answered; expected {expected}").into()),
                (None, Err(error)) => return Err(error.into()),
            }
            seen.push(answer.id);
        }
        seen.sort();
        let expected = self.expect["answers"].as_object();
        let mut expected: Vec<String> = expected.into_iter().flatten().map(|(id, _)| id.clone()).collect();
        expected.sort();
        equal("answered", &expected.into(), &seen)
    }

    async fn generated(&self, client: &Client) -> Outcome {
        let source = Generated::new(&self.given["generate"]);
        let read = source.count();
        let call = embedding!(self, client.stream_embed(source));
        let leave_after = self.given["leave_after"].as_u64();
        let (mut answers, mut taken) = (call.start(), Vec::new());
        while let Some(answer) = answers.next().await {
            let answer = answer?;
            read.take();
            self.same.generated(&self.expect["vectors"], &answer.id, answer.result?)?;
            taken.push(answer.id);
            if Some(taken.len() as u64) == leave_after {
                break;
            }
        }
        drop(answers);
        read.is_let_go()?;
        taken.sort();
        taken.dedup();
        let count = leave_after.map_or(self.expect["count"].clone(), Value::from);
        equal("answered", &count, &taken.len())?;
        if let Some(bound) = self.expect["max_ahead"].as_u64().filter(|bound| read.most_ahead() > *bound) {
            return Err(format!("{} requests ahead, not {bound}", read.most_ahead()).into());
        }
        client.embed(["another"]).await?;
        Ok(())
    }
}

/// Starts a call and drops it.
async fn cancelled(asked: impl Future<Output = Outcome>) -> Outcome {
    match tokio::time::timeout(Duration::from_millis(200), asked).await {
        Ok(outcome) => Err(format!("the call ended by itself: {outcome:?}").into()),
        Err(_) => Ok(()),
    }
}
