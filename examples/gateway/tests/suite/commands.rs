//! The command line and the shutdown.

use std::process::Command;

use feedkit_test_programs::told::event;
use feedkit_test_programs::{Client, PATIENCE, Served, bare, eventually, said};
use feedkit_test_services::{apply, free_port, needs_services};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::programs::{gateway, output};
use crate::world::{World, token};

#[tokio::test]
async fn the_reference_is_in_step() {
    let mut command = gateway();
    command.arg("--reference");
    let made = String::from_utf8(output(command).await.stdout).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration-gateway.md");
    let kept = std::fs::read_to_string(path).unwrap();
    let differs = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
    let anew = "regenerate it: feedkit-gateway --reference > docs/configuration-gateway.md";
    assert!(made == kept, "{anew}\nthe first line that differs: {differs:#?}");
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_is_wrong() {
    let world = World::new().await;
    let check = async |change: &dyn Fn(&mut Command)| {
        let mut command = world.gateway_command();
        change(command.arg("--check"));
        let output = output(command).await;
        (output.status.code(), said(&output))
    };
    let right = check(&|_| ()).await;
    assert_eq!(right.0, Some(0), "{}", right.1);

    let secret = world.secret_file();
    let nowhere = format!("127.0.0.1:{}", free_port());
    let started = |flag: &str, value: &str| {
        let mut command = gateway();
        let notifications = format!("{}-notifications", world.name);
        for (name, usual) in [
            ("--kafka", &*world.kafka),
            ("--topic", &world.name),
            ("--notifications", &notifications),
            ("--postgres", &world.postgres),
            ("--redis", &world.redis_url),
            ("--jwt-secret-file", &secret),
        ] {
            command.args([name, if name == flag { value } else { usual }]);
        }
        command.arg("--check");
        command
    };
    let postgres = format!("postgres://feedkit@{nowhere}/feedkit");
    let redis = format!("redis://{nowhere}");
    for (flag, value, code, names) in [
        ("--kafka", &*nowhere, 1, "Kafka"),
        ("--topic", "no-such-topic", 1, "no-such-topic"),
        ("--notifications", "no-such-topic", 1, "no-such-topic"),
        ("--postgres", &postgres, 1, "PostgreSQL"),
        ("--redis", &redis, 1, "Redis"),
        ("--redis", "http://x", 2, "Redis URL"),
        ("--postgres", "not a url", 2, "connection string"),
        ("--jwt-secret-file", "/no/such/file", 2, "/no/such/file"),
    ] {
        let output = output(started(flag, value)).await;
        assert_eq!(output.status.code(), Some(code), "{flag} {value}: {}", said(&output));
        assert!(said(&output).contains(names), "{flag} {value}: {}", said(&output));
    }
    // A Redis that evicts keys must not be used for counters.
    let _: String = world.redis.ask("CONFIG SET maxmemory-policy allkeys-lru").await;
    let _: String = world.redis.ask("CONFIG SET maxmemory 100mb").await;
    let evicts = check(&|_| ()).await;
    assert!(evicts.0 != Some(0) && evicts.1.contains("allkeys-lru"), "{}", evicts.1);
}

#[tokio::test]
async fn what_cannot_be_is_bad_usage() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, [b'x'; 32]).unwrap();
    let secret = ["--jwt-secret-file", secret.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let with = |arguments: [&'static str; 2]| [secret.to_vec(), arguments.to_vec()].concat();
    for (arguments, names) in [
        (&with(["--postgres", "not a url"])[..], "connection string"),
        (&with(["--redis", "http://x"]), "Redis URL"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["--kafka-delivery-timeout", "1m"], "answer_timeout"),
        (&["--jwt-algorithm", "none"], "HS256"),
        (&["--jwt-jwks-url", "http://issuer.example/", "--jwt-algorithm", "RS256"], "https"),
        (&["--config", "/no/such/file"], "/no/such/file"),
        (&[], "jwt.secret_file"),
    ] {
        let mut command = bare(env!("CARGO_BIN_EXE_feedkit-gateway"));
        command.args(arguments);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(names), "{arguments:?}: {}", said(&output));
    }
}

#[apply(needs_services!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_in_good_order() {
    let world = World::new().await;
    // Long enough to be observed. It ends with the process.
    let mut gateway = world.gateway_with(&["--drain", "2s", "--log-format", "json"]).await;
    gateway.is("ready", None).await;
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/ws", gateway.address)).await.unwrap();
    let auth = json!({"type": "auth", "token": token("ann", &[], &[])});
    socket.send(Message::text(auth.to_string())).await.unwrap();
    let ready = socket.next().await.unwrap().unwrap();
    assert!(ready.to_text().unwrap().contains("ready"), "{ready}");
    let ann = gateway.client("ann");
    ann.post("/api/events", &event("ann", "p", "like")).await.expect(202);
    gateway.process.terminate();
    // It becomes unready first, while it still accepts requests.
    let prober = Client::new(gateway.address, None);
    eventually("unready", async || (prober.get("/health/ready").await.status == 503).then_some(())).await;
    ann.post("/api/events", &event("ann", "p", "comment")).await.expect(202);
    // The socket is told to reconnect.
    let closed = loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await.unwrap() {
            Some(Ok(Message::Close(frame))) => break frame.map(|frame| u16::from(frame.code)),
            Some(Ok(_)) => {}
            other => panic!("expected a close frame, got {other:?}"),
        }
    };
    assert_eq!(closed, Some(1012), "{}", gateway.process.stderr());
    assert_eq!(gateway.process.ended().await.status.code(), Some(0), "{}", gateway.process.stderr());
    let said = gateway.process.stderr();
    for line in said.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(line["level"].is_string(), "{line}");
    }
    // Both are in the log.
    world.catch_up().await;
    let count = world.sql().await.query_one("SELECT count(*) FROM events", &[]).await.unwrap();
    assert_eq!(count.get::<_, i64>(0), 2);
}
