//! Streams that shed, stall, break, or are left.

mod scripted;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use scripted::{Script, answered, batches, is_right, shed};
use semserve::{Answers, Code, Embeddings, Error};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tonic::Status;

const SOON: Duration = Duration::from_millis(1);

/// Reads all answers; each has to be right, and each request to have one.
async fn all(mut answers: Answers<Embeddings>, count: usize) -> Result<(), Error> {
    let mut seen = HashSet::new();
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        assert!(is_right(&answer), "{answer:?}");
        assert!(seen.insert(answer.id));
    }
    assert_eq!(count, seen.len());
    Ok(())
}

#[tokio::test]
async fn every_request_has_one_answer() {
    let server = Script::new().start();
    all(server.client().stream_embed(batches(100)).start(), 100).await.unwrap();
    assert_eq!(1, server.streams());
}

#[tokio::test]
async fn stream_of_nothing_ends() {
    let server = Script::new().start();
    all(server.client().stream_embed(batches(0)).start(), 0).await.unwrap();
}

#[tokio::test]
async fn shed_requests_are_sent_again() {
    let script = Script::new().stream(|_, mut requests, answers| async move {
        let mut seen = HashSet::new();
        while let Ok(Some(request)) = requests.message().await {
            let fresh = seen.insert(request.id.clone());
            let _ = answers.send(Ok(if fresh { shed(&request, SOON) } else { answered(&request) }));
        }
    });
    let server = script.start();
    all(server.client().stream_embed(batches(20)).start(), 20).await.unwrap();
}

#[tokio::test]
async fn request_that_is_shed_too_often_is_answered_with_the_error() {
    let script = Script::new().stream(|_, mut requests, answers| async move {
        while let Ok(Some(request)) = requests.message().await {
            let _ = answers.send(Ok(shed(&request, SOON)));
        }
    });
    let server = script.start();
    let mut answers = server.client().stream_embed(batches(1)).start();
    let answer = answers.next().await.unwrap().unwrap();
    assert_eq!(Code::ResourceExhausted, answer.result.unwrap_err().code());
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn requests_are_read_no_further_ahead_than_the_bound() {
    // It answers only what the bound does not let it wait for.
    let script = Script::new().stream(|_, mut requests, answers| async move {
        let mut held = Vec::new();
        while let Ok(Some(request)) = requests.message().await {
            held.push(request);
            if held.len() == 3 {
                let _ = answers.send(Ok(answered(&held.remove(0))));
            }
            if held.last().is_some_and(|request| request.id == "29") {
                held.iter().for_each(|request| drop(answers.send(Ok(answered(request)))));
            }
        }
    });
    let server = script.start();
    let (read, taken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (counting, answered) = (read.clone(), taken.clone());
    let source = batches(30).map(move |batch| {
        let ahead = counting.fetch_add(1, SeqCst) + 1 - answered.load(SeqCst);
        assert!(ahead <= 3, "{ahead} requests ahead");
        batch
    });
    let mut answers = server.client().stream_embed(source).in_flight(3).start();
    while let Some(answer) = answers.next().await {
        assert!(is_right(&answer.unwrap()));
        taken.fetch_add(1, SeqCst);
    }
    assert_eq!(30, taken.load(SeqCst));
}

#[tokio::test]
async fn answers_do_not_wait_for_a_slow_source() {
    let server = Script::new().start();
    let (give, source) = mpsc::unbounded_channel();
    let source = tokio_stream::wrappers::UnboundedReceiverStream::new(source);
    let mut answers = server.client().stream_embed(source).start();
    for place in 0..3 {
        give.send(semserve::Request::new(place.to_string(), ["x".repeat(place + 1)])).unwrap();
        assert!(is_right(&answers.next().await.unwrap().unwrap()));
    }
    drop(give);
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn stream_that_breaks_is_opened_again_for_what_has_no_answer() {
    let script = Script::new().stream(|stream, mut requests, answers| async move {
        while let Ok(Some(request)) = requests.message().await {
            let _ = answers.send(Ok(answered(&request)));
            if stream < 6 && request.id.ends_with('3') {
                let _ = answers.send(Err(Status::unavailable("stopping")));
                return;
            }
        }
    });
    let server = script.start();
    all(server.client().stream_embed(batches(60)).start(), 60).await.unwrap();
    assert_eq!(6, server.streams());
}

#[tokio::test]
async fn stream_that_breaks_four_times_without_an_answer_fails() {
    let script = Script::new().stream(|_, _, answers| async move {
        let _ = answers.send(Err(Status::unavailable("stopping")));
    });
    let server = script.start();
    let mut answers = server.client().stream_embed(batches(5)).start();
    let error = answers.next().await.unwrap().unwrap_err();
    assert_eq!("semserve: Unavailable: stopping", error.to_string());
    assert!(answers.next().await.is_none());
    assert_eq!(4, server.streams());
}

#[tokio::test]
async fn stream_that_the_server_refuses_fails_with_its_error() {
    let script = Script::new().stream(|_, _, answers| async move {
        let _ = answers.send(Err(Status::unauthenticated("who are you")));
    });
    let server = script.start();
    let error = all(server.client().stream_embed(batches(50)).start(), 0).await.unwrap_err();
    assert_eq!("semserve: Unauthenticated: who are you", error.to_string());
}

#[tokio::test]
async fn stream_that_the_server_ends_early_fails() {
    let server = Script::new().stream(|_, _, _| async {}).start();
    let error = all(server.client().stream_embed(batches(5)).start(), 0).await.unwrap_err();
    assert_eq!(Code::Internal, error.code());
}

#[tokio::test]
async fn answer_to_what_was_not_asked_fails_the_stream() {
    let script = Script::new().stream(|_, mut requests, answers| async move {
        if let Ok(Some(mut request)) = requests.message().await {
            request.id = "another".into();
            let _ = answers.send(Ok(answered(&request)));
        }
    });
    let server = script.start();
    let error = all(server.client().stream_embed(batches(1)).start(), 0).await.unwrap_err();
    assert!(error.message().contains("\"another\""), "{error}");
}

#[tokio::test]
async fn stream_without_an_answer_for_the_timeout_fails() {
    let script = Script::new().stream(|_, mut requests, answers| async move {
        while let Ok(Some(_)) = requests.message().await {}
        drop(answers);
    });
    let server = script.start();
    let call = server.client().stream_embed(batches(1)).timeout(Duration::from_millis(50));
    assert_eq!(Code::DeadlineExceeded, all(call.start(), 0).await.unwrap_err().code());
}

#[tokio::test]
async fn stream_that_is_dropped_ends_at_the_server() {
    let (tell, mut ended) = mpsc::unbounded_channel();
    let script = Script::new().stream(move |_, mut requests, answers| {
        let tell = tell.clone();
        async move {
            while let Ok(Some(request)) = requests.message().await {
                let _ = answers.send(Ok(answered(&request)));
            }
            let _ = tell.send(());
        }
    });
    let server = script.start();
    let client = server.client();
    let mut answers = client.stream_embed(batches(1_000_000)).start();
    assert!(is_right(&answers.next().await.unwrap().unwrap()));
    drop(answers);
    assert_eq!(Some(()), ended.recv().await);
    client.embed(["another"]).await.unwrap();
}

#[tokio::test]
async fn request_too_large_for_a_stream_is_sent_by_itself() {
    let server = Script::new().start();
    let sizes = [(3 << 20) + 1, 5 << 20, 1];
    let source =
        tokio_stream::iter(sizes.map(|size| semserve::Request::new(size.to_string(), ["x".repeat(size)])));
    let mut answers = server.client().stream_embed(source).start();
    let mut codes = Vec::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.unwrap();
        codes.push((answer.id.parse().unwrap(), answer.result.err().map(|error| error.code())));
    }
    codes.sort_by_key(|(size, _): &(usize, _)| *size);
    let expected = [(sizes[2], None), (sizes[0], None), (sizes[1], Some(Code::InvalidArgument))];
    assert_eq!(expected, codes[..]);
    assert_eq!(1, server.calls()); // the other one was refused for its size before the script
}
