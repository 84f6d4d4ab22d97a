//! Unary calls: deadlines, retries, keys and sizes.

mod scripted;

use std::time::Duration;

use scripted::{Script, overloaded};
use semserve::{Client, Code};
use tonic::Status;

#[tokio::test]
async fn vectors_come_in_the_order_of_the_texts() {
    let server = Script::new().start();
    let answer = server.client().embed(["four", "seventeen letters"]).await.unwrap();
    assert_eq!("lengths", answer.model);
    assert_eq!(vec![vec![4.0, 1.0], vec![17.0, 1.0]], answer.into_vectors().unwrap());
}

#[tokio::test]
async fn call_is_made_again_when_an_overloaded_server_asks() {
    let script = Script::new().embed(|call, _, _| if call < 3 { Err(overloaded("1")) } else { Ok(()) });
    let server = script.start();
    server.client().embed(["text"]).await.unwrap();
    assert_eq!(3, server.calls());
}

#[tokio::test]
async fn call_is_made_four_times_at_most() {
    let server = Script::new().embed(|_, _, _| Err(overloaded("1"))).start();
    let error = server.client().embed(["text"]).await.unwrap_err();
    assert_eq!(Code::ResourceExhausted, error.code());
    assert_eq!(4, server.calls());
}

#[tokio::test]
async fn server_that_asks_not_to_come_back_is_obeyed() {
    let server = Script::new().embed(|_, _, _| Err(overloaded("-1"))).start();
    let error = server.client().embed(["text"]).await.unwrap_err();
    assert_eq!((Code::ResourceExhausted, None), (error.code(), error.retry_after()));
    assert_eq!(1, server.calls());
}

#[tokio::test]
async fn delay_past_the_deadline_is_not_waited_for() {
    let server = Script::new().embed(|_, _, _| Err(overloaded("60000"))).start();
    let error = server.client().embed(["text"]).timeout(Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(Some(Duration::from_secs(60)), error.retry_after());
    assert_eq!(1, server.calls());
}

#[tokio::test]
async fn other_errors_are_told_at_once() {
    let server = Script::new().embed(|_, _, _| Err(Status::not_found("no such model"))).start();
    let error = server.client().embed(["text"]).model("absent").await.unwrap_err();
    assert_eq!("semserve: NotFound: no such model", error.to_string());
    assert_eq!(1, server.calls());
}

#[tokio::test]
async fn server_that_is_unavailable_for_a_moment_is_asked_again() {
    let script = Script::new()
        .embed(|call, _, _| if call == 1 { Err(Status::unavailable("starting")) } else { Ok(()) });
    let server = script.start();
    server.client().embed(["text"]).await.unwrap();
    assert_eq!(2, server.calls());
}

#[tokio::test]
async fn deadline_and_key_travel_with_the_call() {
    let script = Script::new().embed(|_, metadata, _| {
        let sent = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        match (sent("authorization"), sent("grpc-timeout")) {
            (Some("Bearer secret"), Some(_)) => Ok(()),
            other => Err(Status::unauthenticated(format!("{other:?}"))),
        }
    });
    let server = script.start();
    let client = Client::builder([&server.address]).key(" secret\n").build().unwrap();
    client.embed(["text"]).await.unwrap();
}

#[tokio::test]
async fn request_over_the_servers_limit_is_a_bad_request_and_not_sent_again() {
    let server = Script::new().start();
    let error = server.client().embed(["x".repeat(5 << 20)]).await.unwrap_err();
    assert_eq!(Code::InvalidArgument, error.code());
}

#[tokio::test]
async fn answer_of_many_mebibytes_is_read() {
    let server = Script::new().start();
    let texts = vec!["x"; 300_000];
    assert_eq!(texts.len(), server.client().embed(texts).await.unwrap().results.len());
}

#[test]
fn bad_settings_are_refused_before_any_call() {
    let refused = |builder: semserve::Builder| builder.build().err().map(|error| error.code());
    let bad = Some(Code::InvalidArgument);
    let good = || Client::builder(["localhost:1"]);
    assert_eq!(None, refused(good()));
    assert_eq!(bad, refused(Client::builder(Vec::<String>::new())));
    assert_eq!(bad, refused(Client::builder(["localhost"])));
    assert_eq!(bad, refused(good().key("half a key")));
    assert_eq!(bad, refused(good().key("clé")));
    assert_eq!(bad, refused(good().in_flight(0)));
    assert_eq!(bad, refused(good().timeout(Duration::ZERO)));
}
