//! A Kafka broker of a test's own, to be killed and started again.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use feedkit_kafka::Kafka;
use feedkit_kafka::admin::{TopicSettings, create_topics};

use super::{DEADLINE, given};

pub(crate) struct Broker {
    jars: String,
    dir: tempfile::TempDir,
    process: Child,
    pub(crate) address: String,
}

const PROPERTIES: &str = "
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
auto.create.topics.enable=false
";

impl Broker {
    /// Starts one, or `None` when there are no jars.
    pub(crate) async fn start() -> Option<Broker> {
        let jars = given("FEEDKIT_TEST_KAFKA_JARS")?;
        let dir = tempfile::tempdir().unwrap();
        let listeners: Vec<_> = (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let (address, controller) =
            (listeners[0].local_addr().unwrap().to_string(), listeners[1].local_addr().unwrap());
        let properties = format!(
            "{PROPERTIES}
listeners=INTERNAL://{address},CONTROLLER://{controller}
advertised.listeners=INTERNAL://{address}
controller.quorum.bootstrap.servers={controller}
log.dirs={}
",
            dir.path().join("data").display(),
        );
        let file = dir.path().join("server.properties");
        std::fs::write(&file, properties).unwrap();
        drop(listeners);
        let formatted = java(&jars, "64m")
            .args(["kafka.tools.StorageTool", "format", "--standalone", "--cluster-id"])
            .args(["MkU3OEVBNTcwNTJENDM2Qk", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
        let process = run(&jars, dir.path());
        let broker = Broker { jars, dir, process, address };
        broker.wait().await;
        Some(broker)
    }

    /// Kills it, leaves it away for a time, and starts it again where it was.
    pub(crate) async fn restart(&mut self, away: Duration) {
        self.kill();
        tokio::time::sleep(away).await;
        self.process = run(&self.jars, self.dir.path());
        self.wait().await;
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Until it makes topics.
    async fn wait(&self) {
        let end = tokio::time::Instant::now() + DEADLINE;
        let kafka = Kafka::new(&self.address, "ready");
        let topic = TopicSettings::new("ready").partitions(1);
        loop {
            match create_topics(&kafka, std::slice::from_ref(&topic)).await {
                Ok(_) => return,
                Err(error) => {
                    let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                    assert!(tokio::time::Instant::now() < end, "{error:?}\n{}", log());
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
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
