//! `feedkit serve` and `feedkit token`, from the start to the end.

use std::net::TcpListener;

use feedkit_test_programs::{Client, Served, eventually};
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};

use crate::program::{Place, said};
use crate::server::Server;

fn like(user: &str, post: &str) -> Value {
    json!({"userId": user, "postId": post, "type": "like"})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_can_be_read_and_is_there_after_a_restart() {
    let place = Place::new();
    let server = Server::of(&place);
    // By the program, beside the server, as a person would.
    let token = place.run(&["token", "--sub", "ann"]).trim().to_owned();
    let ann = Client::new(server.address, Some(token.clone()));
    ann.post("/api/events", &json!({"userId": "ann", "postId": "p1", "type": "post", "text": "hello"}))
        .await
        .expect(202);
    let taken = ann.post("/api/events", &like("ann", "p1")).await.expect(202);
    assert!(taken["id"].is_string(), "{taken}");
    let after = taken["position"].as_str().unwrap();
    let post = ann.get(&format!("/api/posts/p1?after={after}")).await.expect(200);
    assert_eq!((&post["author"], &post["likes"]), (&json!("ann"), &json!(1)), "{post}");
    assert_eq!(post["source"], "counters", "{post}");
    assert_eq!(ann.post("/api/events", &like("bob", "p1")).await.expect(403)["status"], 403);
    let nobody = Client::new(server.address, None);
    assert!(nobody.post("/api/events", &like("ann", "p1")).await.expect(401)["type"].is_string());
    let beyond = ann.get("/api/posts/p1?after=99:1").await;
    assert!(beyond.status.is_client_error(), "{beyond:?}");

    // Commands that ask work beside it.
    assert_eq!(place.json(&["post", "p1"])["likes"], 1);
    let ready = ann.get("/health/ready").await.expect(200).to_string();
    for component in ["log", "history", "counters", "alerts", "live"] {
        assert!(ready.contains(component), "{ready}");
    }
    server.stop();

    let server = Server::of(&place);
    let bob = server.client("bob");
    let taken = bob.post("/api/events", &like("bob", "p1")).await.expect(202);
    let path = format!("/api/posts/p1?after={}", taken["position"].as_str().unwrap());
    assert_eq!(bob.get(&path).await.expect(200)["likes"], 2);
    // A token of before is still believed.
    let ann = Client::new(server.address, Some(token));
    assert_eq!(ann.get("/api/users/me/likes?posts=p1,p2").await.expect(200)["liked"], json!(["p1"]));
    server.stop();
    place.run(&["verify"]);
}

#[test]
fn a_port_in_use_is_told_and_leaves_nothing_behind() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = place.fails(1, &["serve", "--listen", &address]);
    assert!(told.contains(&address) && told.contains("another program listens"), "{told}");
    assert!(!place.data().exists(), "a directory was left behind");
}

#[test]
fn one_writer_has_the_directory() {
    let place = Place::new();
    let server = Server::of(&place);
    for args in [&["replay", "/dev/null"][..], &["serve", "--listen", "127.0.0.1:0"], &["rebuild"]] {
        let told = place.fails(1, args);
        assert!(told.contains("in use by another feedkit process"), "{told}");
    }
    server.stop();
    place.run(&["replay", "/dev/null"]);
}

#[test]
fn a_token_says_what_was_asked_for() {
    let place = Place::new();
    let told = place.fails(1, &["token", "--sub", "ann"]);
    assert!(told.contains("feedkit serve") && told.contains("--jwt-secret-file"), "{told}");
    let secret = "a secret of the test's own, long enough";
    let file = place.path("secret");
    std::fs::write(&file, format!("{secret}\n")).unwrap();
    let mut args =
        vec!["token", "--sub", "ann", "--role", "moderator", "--role", "x", "--scope", "events:write:any"];
    args.extend(["--ttl", "90m", "--jwt-secret-file", file.to_str().unwrap(), "--jwt-issuer", "tests"]);
    let token = place.run(&args);
    let mut rules = Validation::new(jsonwebtoken::Algorithm::HS256);
    rules.set_issuer(&["tests"]);
    let key = DecodingKey::from_secret(secret.as_bytes());
    let claims = jsonwebtoken::decode::<Value>(token.trim(), &key, &rules).unwrap().claims;
    assert_eq!(claims["sub"], "ann");
    assert_eq!(claims["roles"], json!(["moderator", "x"]));
    assert_eq!(claims["scope"], "events:write:any");
    let now = feedkit_core::Clock::now(&feedkit_core::SystemClock).as_millis() / 1000;
    let left = claims["exp"].as_i64().unwrap() - now;
    assert!((5400 - 600..=5400).contains(&left), "valid for {left} s");
    place.fails(2, &["token", "--sub", "no/id"]);
    place.fails(2, &["token", "--sub", "ann", "--ttl", "soon"]);
    let elsewhere = place.fails(2, &["token", "--sub", "ann", "--jwt-algorithm", "RS256"]);
    assert!(elsewhere.contains("private key"), "{elsewhere}");
}

#[test]
fn where_others_can_come_no_token_is_shown() {
    let place = Place::new();
    let mut command = place.feedkit(&["serve", "--listen", "0.0.0.0:0"]);
    let server = Server::start(&mut command, &place.data()).unwrap_or_else(|o| panic!("{}", said(&o)));
    let told = server.stop();
    assert!(!told.contains("#token") && told.contains("token --data"), "{told}");
    let told = Server::of(&place).stop();
    assert!(told.contains("/#token=") && told.contains("for 12h") && told.contains("Ctrl-C"), "{told}");
}

#[test]
fn a_check_changes_nothing() {
    let place = Place::new();
    assert!(place.run(&["serve", "--check"]).contains("will be created"));
    assert!(!place.data().exists());
    Server::of(&place).stop();
    assert!(place.run(&["serve", "--check"]).contains("can be read"));
    let short = place.path("short");
    std::fs::write(&short, "short").unwrap();
    place.fails(2, &["serve", "--check", "--jwt-secret-file", short.to_str().unwrap()]);
    place.fails(2, &["serve", "--check", "--jwt-algorithm", "RS256"]);
    place.fails(2, &["serve", "--check", "--jwt-public-key-file", short.to_str().unwrap()]);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let place = Place::new();
    let mut server = Server::with(&place, &["--drain", "10m", "--shutdown-deadline", "20m", "--log", "info"]);
    server.terminate();
    // One signal at a time: two that come together are one.
    server.says("asked to stop");
    assert!(!server.has_ended(), "it does not drain");
    server.terminate();
    let output = server.ended();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    place.run(&["verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_engine_fails_it_ends_and_says_why() {
    let place = Place::new();
    let server = Server::of(&place);
    let state = rusqlite::Connection::open(place.data().join("state.db")).unwrap();
    state.busy_timeout(feedkit_test_programs::PATIENCE).unwrap();
    state.execute_batch("DROP TABLE likes").unwrap();
    server.client("ann").post("/api/events", &like("ann", "p1")).await.expect(202);
    let output = server.ended();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("likes"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_moves_and_stays_by_itself() {
    let place = Place::new();
    let server = Server::of(&place);
    server.client("ann").post("/api/events", &like("ann", "p1")).await.expect(202);
    server.stop();
    let told = place.fails(2, &["serve", "--demo"]);
    assert!(told.contains("not the demo's"), "{told}");

    let place = Place::new();
    let server = Server::with(&place, &["--demo"]);
    let anybody = server.client("you");
    let likes = async || {
        let top = anybody.get("/api/posts/top?limit=100").await.expect(200);
        let posts = top["posts"].as_array().unwrap();
        posts.iter().map(|post| post["likes"].as_i64().unwrap()).sum::<i64>()
    };
    let before = eventually("the past", async || Some(likes().await).filter(|n| *n > 1000)).await;
    eventually("movement", async || (likes().await > before).then_some(())).await;
    server.stop();
    // The same directory goes on, and may be looked at without the demo.
    Server::with(&place, &["--demo"]).stop();
    Server::of(&place).stop();
    place.run(&["verify"]);
}
