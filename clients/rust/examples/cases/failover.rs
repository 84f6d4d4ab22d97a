//! The cases in which one of two servers is killed while calls go on.

use std::io::BufRead as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use futures_util::future::try_join_all;
use semserve::Client;
use serde_json::Value;

use crate::Outcome;
use crate::compare::equal;
use crate::given::{Generated, strings, text};
use crate::run::Run;

impl Run<'_> {
    pub async fn failover_calls(&self, client: &Client) -> Outcome {
        let (texts, vectors) = (strings(&self.given["texts"]), &self.expect["vectors"]);
        self.warm(client).await?;
        let (stop, next) = (Stop::new(self.given), AtomicU64::new(0));
        let worker = || async {
            loop {
                let place = next.fetch_add(1, SeqCst);
                if place >= number(&self.given["count"]) {
                    return Outcome::Ok(());
                }
                let found = client.embed([&texts[place as usize % texts.len()]]).await?;
                self.same.generated(vectors, &place.to_string(), found)?;
                stop.answered();
            }
        };
        try_join_all((0..number(&self.given["at_once"])).map(|_| worker())).await?;
        stop.is_done()
    }

    pub async fn failover_streams(&self, client: &Client) -> Outcome {
        self.warm(client).await?;
        let stop = Stop::new(self.given);
        let worker = || async {
            let mut answers = client.stream_embed(Generated::new(self.given)).start();
            let mut taken = Vec::new();
            while let Some(answer) = answers.next().await {
                let answer = answer?;
                self.same.generated(&self.expect["vectors"], &answer.id, answer.result?)?;
                taken.push(answer.id.parse::<u64>()?);
                stop.answered();
            }
            taken.sort();
            let all: Vec<u64> = (0..number(&self.given["count"])).collect();
            equal("answered", &all.into(), &taken)
        };
        try_join_all((0..number(&self.given["at_once"])).map(|_| worker())).await?;
        stop.is_done()
    }

    /// Calls until both servers are connected.
    async fn warm(&self, client: &Client) -> Outcome {
        for _ in 0..20 {
            client.embed([text(&self.given["texts"][0])]).await?;
        }
        Ok(())
    }
}

/// Has a server killed once there were so many answers, while calls go on.
struct Stop {
    name: String,
    after: u64,
    answers: AtomicU64,
    stopped: Mutex<Option<std::thread::JoinHandle<String>>>,
}

impl Stop {
    fn new(given: &Value) -> Self {
        Self {
            name: text(&given["stop"]),
            after: number(&given["stop_after"]),
            answers: AtomicU64::new(0),
            stopped: Mutex::new(None),
        }
    }

    fn answered(&self) {
        if self.answers.fetch_add(1, SeqCst) + 1 == self.after {
            println!("stop {}", self.name);
            let line = || std::io::stdin().lock().lines().next().and_then(Result::ok).unwrap_or_default();
            *self.stopped.lock().expect("no holder panics") = Some(std::thread::spawn(line));
        }
    }

    fn is_done(&self) -> Outcome {
        let waiting = self.stopped.lock().expect("no holder panics").take();
        let told = waiting.ok_or("too few answers to stop a server")?.join();
        let expected = format!("stopped {}", self.name);
        equal("the server", &expected.into(), &told.map_err(|_| "the reader of standard input panicked")?)
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}
