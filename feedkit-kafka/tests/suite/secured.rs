//! A broker that demands TLS and a password.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use feedkit_core::EventSink;
use feedkit_kafka::admin::check_topics;
use feedkit_kafka::{Kafka, SinkOptions};
use feedkit_test_services::{Broker, apply, needs_broker, needs_openssl};

use super::support::*;

/// Makes a self-signed certificate for 127.0.0.1. Returns the broker's configuration.
fn certificate(dir: &Path) -> String {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=broker"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(dir.join("key.pem"))
        .arg("-out")
        .arg(dir.join("certificate.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name| std::fs::read_to_string(dir.join(name)).unwrap();
    std::fs::write(dir.join("store.pem"), read("key.pem") + &read("certificate.pem")).unwrap();
    format!(
        "ssl.keystore.type=PEM
ssl.keystore.location={}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         user_alice=\"plain-secret\";
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
",
        dir.join("store.pem").display()
    )
}

fn secured(broker: &Broker, topic: &str, mechanism: &str, user: &str, password: &str) -> Kafka {
    let mut kafka = Kafka::new(&broker.client, topic);
    let ca = broker.path().join("certificate.pem");
    for (key, value) in [
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", ca.to_str().unwrap()),
        ("sasl.mechanisms", mechanism),
        ("sasl.username", user),
        ("sasl.password", password),
    ] {
        kafka.properties.insert(key.to_owned(), value.to_owned());
    }
    kafka
}

#[apply(needs_broker!)]
#[apply(needs_openssl!)]
#[tokio::test(flavor = "multi_thread")]
async fn tls_plain_and_scram_are_spoken() {
    let format = ["--add-scram", "SCRAM-SHA-512=[name=bob,password=scram-secret]"];
    let broker = Broker::start_with("SASL_SSL", certificate, &format).await;
    let name = topic(&broker.plain, 2).await.topic;
    let mut sent = 0;
    for (mechanism, user, password) in
        [("PLAIN", "alice", "plain-secret"), ("SCRAM-SHA-512", "bob", "scram-secret")]
    {
        let kafka = secured(&broker, &name, mechanism, user, password);
        assert_eq!(check_topics(&kafka, &[&name]).await.unwrap(), [2]);
        let sink = kafka.sink(SinkOptions::default()).unwrap();
        fill(&sink, 10, sent..sent + 100).await;
        sent += 100;
        let mut reader = Reader::new(kafka.member(mechanism, small(cooperative())).unwrap());
        reader.until("all", |r| r.count() == sent).await;
        assert_eq!(reader.values(), numbers(0..sent));
    }
    // A wrong password fails in time, and so does a connection without TLS.
    let plain = Kafka::new(&broker.client, &name);
    for kafka in [secured(&broker, &name, "PLAIN", "alice", "wrong"), plain] {
        let mut options = SinkOptions::default();
        options.delivery_timeout = Duration::from_secs(1);
        let sink = kafka.sink(options).unwrap();
        assert!(sink.send(vec![record("a", "x")]).await[0].is_err());
        assert!(check_topics(&kafka, &[&name]).await.is_err());
    }
}
