//! A Kafka broker that one test starts for itself.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::sync::{Mutex, MutexGuard};

use crate::{DEADLINE, given};

/// Brokers are large: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A Kafka broker that a test may kill and configure as it likes.
#[derive(Debug)]
pub struct Broker {
    jars: String,
    dir: tempfile::TempDir,
    process: Child,
    /// Its address without encryption, for everybody.
    pub plain: String,
    /// Its address with the protocol that the test chose.
    pub client: String,
    _turn: MutexGuard<'static, ()>,
}

const PROPERTIES: &str = "
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
group.consumer.min.session.timeout.ms=500
group.consumer.min.heartbeat.interval.ms=100
auto.create.topics.enable=false
";

impl Broker {
    /// Starts one that everybody may use, from the jars in `FEEDKIT_TEST_KAFKA_JARS`.
    pub async fn start() -> Broker {
        Self::start_with("PLAINTEXT", |_| String::new(), &[]).await
    }

    /// The same, with a listener for clients that speaks `protocol`. `prepare` gets the broker's
    /// directory and returns more properties. `format` are more arguments for the tool that formats
    /// the storage.
    pub async fn start_with(
        protocol: &str,
        prepare: impl FnOnce(&Path) -> String,
        format: &[&str],
    ) -> Broker {
        let jars = given("FEEDKIT_TEST_KAFKA_JARS");
        let turn = ONE_AT_A_TIME.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let listeners: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let address = |n: usize| listeners[n].local_addr().unwrap().to_string();
        let (plain, client, controller) = (address(0), address(1), address(2));
        let properties = format!(
            "{PROPERTIES}
listeners=INTERNAL://{plain},CLIENT://{client},CONTROLLER://{controller}
advertised.listeners=INTERNAL://{plain},CLIENT://{client}
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENT:{protocol}
controller.quorum.bootstrap.servers={controller}
log.dirs={}
{}",
            dir.path().join("data").display(),
            prepare(dir.path())
        );
        let file = dir.path().join("server.properties");
        std::fs::write(&file, properties).unwrap();
        drop(listeners);
        let formatted = java(&jars, "64m")
            .args(["kafka.tools.StorageTool", "format", "--standalone", "--cluster-id"])
            .args(["MkU3OEVBNTcwNTJENDM2Qk", "--config"])
            .arg(&file)
            .args(format)
            .output()
            .unwrap();
        let said = [formatted.stdout, formatted.stderr].concat();
        assert!(
            formatted.status.success(),
            "Kafka's storage tool failed:\n{}",
            String::from_utf8_lossy(&said)
        );
        let process = run(&jars, dir.path());
        let broker = Broker { jars, dir, process, plain, client, _turn: turn };
        broker.is_up().await;
        broker
    }

    /// Kills it, and starts it again at the same address.
    pub async fn restart(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// Kills it, as if the machine had lost power.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Starts it again at the same address, after it was killed.
    pub async fn start_again(&mut self) {
        self.process = run(&self.jars, self.dir.path());
        self.is_up().await;
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Waits until it creates topics.
    async fn is_up(&self) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.plain).create().unwrap();
        let topic = NewTopic::new("ready", 1, TopicReplication::Fixed(1));
        let seconds = Some(Duration::from_secs(10));
        let options = AdminOptions::new().request_timeout(seconds).operation_timeout(seconds);
        let end = tokio::time::Instant::now() + DEADLINE;
        loop {
            let made = admin.create_topics([&topic], &options).await;
            let is_there = |one: &TopicResult| matches!(one, Ok(_) | Err((_, Code::TopicAlreadyExists)));
            if made.as_ref().is_ok_and(|made| made.iter().all(is_there)) {
                return;
            }
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(tokio::time::Instant::now() < end, "{made:?}\n{}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn java(jars: &str, heap: &str) -> Command {
    let mut java = Command::new("java");
    java.arg(format!("-Xmx{heap}")).args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]);
    java.arg("-cp").arg(format!("{jars}/*"));
    java
}

fn run(jars: &str, dir: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log")).unwrap();
    let mut broker = java(jars, "256m");
    broker.arg("kafka.Kafka").arg(dir.join("server.properties"));
    broker.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}
