//! A broker of a test's own, to be killed and set up as it likes.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use super::support::{DEADLINE, jars};

/// Brokers are large: one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub struct Broker {
    jars: String,
    dir: tempfile::TempDir,
    process: Child,
    /// Without encryption, for anybody.
    pub plain: String,
    /// As the properties say that were given.
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
    /// Starts one, or `None` when there are no jars. `protocol` is what the client's listener speaks; `format` are
    /// arguments for the tool that formats the storage.
    pub async fn start(protocol: &str, prepare: impl Fn(&Path) -> String, format: &[&str]) -> Option<Broker> {
        let jars = jars()?;
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
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
        let process = run(&jars, dir.path());
        let broker = Broker { jars, dir, process, plain, client, _turn: turn };
        broker.wait().await;
        Some(broker)
    }

    /// Kills it, and starts it again where it was.
    pub async fn restart(&mut self) {
        self.kill();
        self.process = run(&self.jars, self.dir.path());
        self.wait().await;
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Until it makes topics.
    async fn wait(&self) {
        let end = tokio::time::Instant::now() + DEADLINE;
        let kafka = feedkit_kafka::Kafka::new(&self.plain, "ready");
        let topic = feedkit_kafka::admin::TopicSettings::new("ready").partitions(1);
        loop {
            let topics = std::slice::from_ref(&topic);
            match feedkit_kafka::admin::create_topics(&kafka, topics).await {
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
