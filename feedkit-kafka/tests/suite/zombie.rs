//! Members that the group has removed although they still run.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use feedkit_core::source::{Resume, SourceEvent};
use feedkit_core::{EventSource, Partition};
use feedkit_kafka::{GroupProtocol, Kafka};
use feedkit_test_services::{apply, needs_kafka};

use super::leave_group::expel;
use super::support::*;

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_member_declared_dead_learns_it_and_joins_again() {
    let broker = broker();
    let mut kafka = topic(&broker, 3).await;
    let name = unique("member");
    kafka.properties.insert("client.id".to_owned(), name.clone());
    let sink = sink(&kafka).await;
    let mut options = small(cooperative());
    // Heartbeats are rare, so that the question arrives before the next one.
    let (session_timeout, heartbeat_interval) = (Duration::from_secs(30), Duration::from_secs(3));
    options.protocol = GroupProtocol::Cooperative { session_timeout, heartbeat_interval };
    let mut reader = Reader::new(kafka.member(&kafka.topic, options).unwrap());
    fill(&sink, 10, 0..100).await;
    reader.until("all", |r| r.count() == 100).await;
    assert!(reader.source.still_held(Partition(0)).await.unwrap());
    assert!(!reader.source.still_held(Partition(7)).await.unwrap());
    assert!(expel(&broker, &kafka.topic, &name).await, "the group does not know the member");
    assert!(!reader.source.still_held(Partition(0)).await.unwrap());
    reader.until("the loss", |r| !r.lost.is_empty()).await;
    fill(&sink, 10, 100..200).await;
    reader.until("all", |r| r.count() == 200).await;
    assert_eq!(reader.values(), numbers(0..200));
    reader.lost.sort();
    assert_eq!(reader.lost, [Partition(0), Partition(1), Partition(2)]);
}

const CHILD: &str = "FEEDKIT_TEST_ZOMBIE";

/// A member in a process of its own, which the test can stop.
struct Zombie {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Zombie {
    fn start(kafka: &Kafka, protocol: &str) -> Zombie {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "zombie::runs_in_a_child", "--ignored", "--nocapture"])
            .env(CHILD, format!("{} {} {protocol}", kafka.bootstrap, kafka.topic))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Zombie { process, input, output: BufReader::new(output) }
    }

    /// The rest of the next line that contains `begin`.
    fn line(&mut self, begin: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the child has ended");
            // The first line may start with text of the test harness.
            if let Some((_, rest)) = line.split_once(begin) {
                return rest.trim().to_owned();
            }
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Zombie {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the tests below run it in a process of its own"]
async fn runs_in_a_child() {
    let Ok(what) = std::env::var(CHILD) else { return };
    let mut what = what.split(' ');
    let kafka = Kafka::new(what.next().unwrap(), what.next().unwrap());
    let mut source = kafka.member(&kafka.topic, options(what.next().unwrap())).unwrap();
    let (told, mut asked) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        while std::io::stdin().read_line(&mut String::new()).is_ok_and(|n| n > 0)
            && told.blocking_send(()).is_ok()
        {}
    });
    loop {
        tokio::select! {
            event = source.next() => match event {
                Ok(SourceEvent::Assigned(assigned)) => {
                    println!("assigned {}", assigned.partition);
                    assigned.resume(Resume::default());
                }
                Ok(SourceEvent::Batch(batch)) => println!("batch {} {}", batch.partition, batch.to),
                Ok(SourceEvent::Lost(partitions)) => println!("lost {}", partitions.len()),
                Ok(other) => println!("other {other:?}"),
                Err(error) => println!("error {error:?}"),
            },
            asks = asked.recv() => match asks {
                Some(()) => match source.still_held(Partition(0)).await {
                    Ok(held) => println!("held {held}"),
                    Err(error) => println!("error {error:?}"),
                },
                None => return,
            }
        }
    }
}

fn options(protocol: &str) -> feedkit_kafka::SourceOptions {
    small(match protocol {
        "classic" => GroupProtocol::Cooperative {
            session_timeout: Duration::from_secs(2),
            heartbeat_interval: Duration::from_millis(200),
        },
        _ => GroupProtocol::Consumer,
    })
}

/// Stops the member by SIGSTOP for longer than the session time-out, then continues it by SIGCONT.
async fn a_zombie_learns_that_it_is_one(protocol: &'static str) {
    let broker = broker();
    let kafka = topic(&broker, 1).await;
    let sink = sink(&kafka).await;
    fill(&sink, 1, 0..10).await;
    let (zombie, kafka) = tokio::task::spawn_blocking(move || {
        let mut zombie = Zombie::start(&kafka, protocol);
        zombie.line("assigned 0");
        zombie.line("batch 0 10");
        zombie.input.write_all(b"?\n").unwrap();
        assert_eq!(zombie.line("held"), "true");
        zombie.signal("STOP");
        (zombie, kafka)
    })
    .await
    .unwrap();
    let mut heir = Reader::new(kafka.member(&kafka.topic, options(protocol)).unwrap());
    heir.until("the partition", |r| r.count() == 10).await;
    tokio::task::spawn_blocking(move || {
        let mut zombie = zombie;
        zombie.input.write_all(b"?\n").unwrap();
        zombie.signal("CONT");
        // The zombie may get the question before or after the loss of its partition.
        let mut said = Vec::new();
        while said.len() < 2 {
            let mut line = String::new();
            assert!(zombie.output.read_line(&mut line).unwrap() > 0, "the child has ended");
            match line.trim() {
                "held false" | "lost 1" => said.push(line.trim().to_owned()),
                "held true" => panic!("a zombie holds its partition"),
                line if line.starts_with("error Retriable") && line.contains("coordinator") => {
                    zombie.input.write_all(b"?\n").unwrap();
                }
                _ => {}
            }
        }
        said.sort();
        assert_eq!(said, ["held false", "lost 1"]);
    })
    .await
    .unwrap();
    assert!(heir.source.still_held(Partition(0)).await.unwrap());
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_learns_that_it_is_one_by_the_classic_protocol() {
    a_zombie_learns_that_it_is_one("classic").await;
}

#[apply(needs_kafka!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_learns_that_it_is_one_by_kip_848() {
    a_zombie_learns_that_it_is_one("kip-848").await;
}
