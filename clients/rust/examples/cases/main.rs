//! Runs the table of cases that every client passes; tests/clients/CASES.md describes both.
//!
//!     cases CASES.JSON NAME=HOST:PORT …
//!     cases bench HOST:PORT TEXTS

mod compare;
mod failover;
mod given;
mod run;

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use semserve::{Client, Request};
use serde_json::Value;
use tokio_stream::StreamExt as _;

use compare::Same;
use given::{list, text};
use run::Run;

/// Why a case failed, or an error of the client that the case may expect.
pub type Failure = Box<dyn Error + Send + Sync>;
pub type Outcome<T = ()> = Result<T, Failure>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ran = match arguments.as_slice() {
        [mode, address, count] if mode == "bench" => bench(address, count).await.map(|()| 0),
        [table, servers @ ..] => cases(table, servers).await,
        [] => Err("the file of the cases is missing".into()),
    };
    match ran {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every case and gives the number of those that failed.
async fn cases(table: &str, servers: &[String]) -> Outcome<usize> {
    let table: Value = serde_json::from_slice(&std::fs::read(table)?)?;
    let servers: HashMap<&str, &str> = servers.iter().filter_map(|one| one.split_once('=')).collect();
    let mut failures = 0;
    for case in list(&table["cases"]) {
        let run = Run {
            given: &case["given"],
            expect: &case["expect"],
            same: Same(case["expect"]["tolerance"].as_f64().or(table["tolerance"].as_f64()).unwrap_or(0.0)),
        };
        match run.run(case, &servers).await {
            Ok(()) => println!("ok {}", text(&case["name"])),
            Err(failure) => {
                failures += 1;
                println!("FAILED {}: {}", text(&case["name"]), failure.to_string().replace('\n', " "));
            }
        }
    }
    Ok(failures)
}

/// Streams so many texts, 32 a request, and prints how fast.
async fn bench(address: &str, count: &str) -> Outcome {
    let count: usize = count.parse()?;
    let client = Client::new(address)?;
    let requests = (0..count).step_by(32).map(move |start| {
        let texts = (start..count.min(start + 32)).map(|place| format!("text {place}"));
        Request::new(start.to_string(), texts)
    });
    let (started, mut answered) = (Instant::now(), 0);
    let mut answers = client.stream_embed(tokio_stream::iter(requests)).start();
    while let Some(answer) = answers.try_next().await? {
        answered += answer.result?.into_vectors()?.len();
    }
    let rate = answered as f64 / started.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    let peak: u64 = peak.ok_or("the peak of the memory is not told")?.parse()?;
    println!("Rust {answered} texts {rate:.0} texts/s {} MB", peak / 1024);
    Ok(())
}
