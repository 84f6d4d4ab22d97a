//! Several servers behind one client.

mod scripted;

use scripted::{Script, Server, batches, is_right};
use semserve::Client;
use tonic_health::ServingStatus;

fn two() -> (Server, Server, Client) {
    let (left, right) = (Script::new().start(), Script::new().start());
    let client = Client::builder([&left.address, &right.address]).build().unwrap();
    (left, right, client)
}

#[tokio::test]
async fn calls_go_to_each_server_in_turn() {
    let (left, right, client) = two();
    for _ in 0..10 {
        client.embed(["text"]).await.unwrap();
    }
    assert_eq!((5, 5), (left.calls(), right.calls()));
}

#[tokio::test]
async fn no_call_fails_where_one_server_stops() {
    let (left, right, client) = two();
    for _ in 0..10 {
        client.embed(["text"]).await.unwrap();
    }
    drop(left);
    for _ in 0..50 {
        client.embed(["text"]).await.unwrap();
    }
    assert_eq!(55, right.calls());
}

#[tokio::test]
async fn no_request_of_a_stream_is_lost_where_its_server_stops() {
    let (left, right, client) = two();
    let mut answers = client.stream_embed(batches(200)).start();
    let (mut count, mut doomed) = (0, Some(left));
    while let Some(answer) = answers.next().await {
        assert!(is_right(&answer.unwrap()));
        count += 1;
        // The first stream goes to the first server.
        if count == 50
            && let Some(left) = doomed.take()
        {
            assert_eq!((1, 0), (left.streams(), right.streams()));
            drop(left);
        }
    }
    assert_eq!((200, 1), (count, right.streams()));
}

#[tokio::test]
async fn server_that_nobody_listens_at_costs_no_call() {
    let gone = Script::new().start();
    let (address, right) = (gone.address.clone(), Script::new().start());
    drop(gone);
    let client = Client::builder([&address, &right.address]).build().unwrap();
    for _ in 0..10 {
        client.embed(["text"]).await.unwrap();
    }
    assert_eq!(10, right.calls());
}

#[tokio::test]
async fn server_that_says_that_it_does_not_serve_is_left_out() {
    let left = Script::new().health(ServingStatus::NotServing).start();
    let right = Script::new().health(ServingStatus::Serving).start();
    let client = Client::builder([&left.address, &right.address]).build().unwrap();
    // The first calls may come before the servers have told their health.
    while right.calls() < 100 {
        client.embed(["text"]).await.unwrap();
    }
    let before = left.calls();
    for _ in 0..10 {
        client.embed(["text"]).await.unwrap();
    }
    assert_eq!(before, left.calls());
}
