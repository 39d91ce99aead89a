//! `feedkit-processor --until-caught-up`, with Kafka, PostgreSQL and Redis.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use super::table::Step;
use super::{Backend, Grow, process};
use crate::events::Events;

/// How long the broker may take to acknowledge a step's events.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(120);

pub struct Servers {
    processor: PathBuf,
    arguments: Vec<String>,
    /// The topic, the group and the database have this name.
    name: String,
    producer: ThreadedProducer<DefaultProducerContext>,
    runtime: Runtime,
    /// A connection to the server, and one to the database of this run.
    server: Client,
    database: Client,
    /// The processes of the services, if they are on this machine.
    services: Vec<(&'static str, u32)>,
}

impl Servers {
    pub fn new(grow: &Grow, kafka: &str) -> Result<Servers, Box<dyn std::error::Error>> {
        let (Some(postgres), Some(redis)) = (&grow.postgres, &grow.redis) else {
            return Err("--kafka needs --postgres and --redis".into());
        };
        let processor = grow.program.clone().unwrap_or_else(|| "target/release/feedkit-processor".into());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let name = format!("grow_{}", now.as_secs());

        let runtime = Runtime::new()?;
        let mut config: tokio_postgres::Config = postgres.parse()?;
        let server = connect(&runtime, &config)?;
        runtime.block_on(server.batch_execute(&format!("CREATE DATABASE {name}")))?;
        config.dbname(&name);
        let database = connect(&runtime, &config)?;

        let common = [
            "--kafka".to_owned(),
            kafka.to_owned(),
            "--topic".to_owned(),
            name.clone(),
            "--notifications".to_owned(),
            format!("{name}-notifications"),
        ];
        let partitions = grow.partitions.to_string();
        let mut create = Command::new(&processor);
        create.arg("create-topics").args(&common).args(["--partitions", &partitions]);
        process::run(create)?;
        let url = postgres.rsplit_once('/').map_or(postgres.as_str(), |(server, _)| server);
        let mut arguments = common.to_vec();
        arguments.extend(
            [
                ["--listen", "127.0.0.1:0"],
                ["--group", &name],
                ["--postgres", &format!("{url}/{name}")],
                ["--redis", redis],
            ]
            .concat()
            .into_iter()
            .map(str::to_owned),
        );
        arguments.extend(grow.arguments.iter().cloned());

        let ports = [("kafka", kafka), ("postgres", postgres), ("redis", redis)];
        let services = ports
            .into_iter()
            .filter_map(|(service, address)| Some((service, process::listening_on(port(address)?)?)))
            .collect();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", kafka)
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "20")
            .create()?;
        Ok(Servers { processor, arguments, name, producer, runtime, server, database, services })
    }

    fn produce(&self, events: &mut Events, count: u64) -> Result<(), KafkaError> {
        for _ in 0..count {
            let event = events.draw();
            let mut record = BaseRecord::to(&self.name).key(&event.user).payload(&event.json);
            while let Err((error, refused)) = self.producer.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(10));
                record = refused;
            }
        }
        self.producer.flush(ACKNOWLEDGED_WITHIN)
    }

    /// How many bytes PostgreSQL has written to its write-ahead log.
    fn wal(&self) -> Result<u64, tokio_postgres::Error> {
        let select = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
        Ok(self.runtime.block_on(self.database.query_one(select, &[]))?.get::<_, i64>(0) as u64)
    }

    fn cpu(&self) -> Vec<(&'static str, Duration)> {
        self.services.iter().map(|(name, process)| (*name, process::cpu_of_tree(*process))).collect()
    }
}

impl Backend for Servers {
    fn step(&mut self, events: &mut Events, count: u64) -> Result<Step, Box<dyn std::error::Error>> {
        self.produce(events, count)?;
        let (wal, before) = (self.wal()?, self.cpu());
        let mut processor = Command::new(&self.processor);
        processor.args(["--until-caught-up", "--json"]).args(&self.arguments);
        let ended = process::run(processor)?;
        let after = self.cpu().into_iter().zip(before);
        let mut cpu = vec![("processor", ended.cpu)];
        cpu.extend(after.map(|((name, after), (_, before))| (name, after.saturating_sub(before))));
        Ok(Step {
            events: count,
            took: ended.took,
            cpu,
            memory: ended.memory,
            written: self.wal()? - wal,
            log: ended.log,
        })
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        if let Err(error) = self.runtime.block_on(self.server.batch_execute(&drop)) {
            eprintln!("cannot drop the database {}: {error}", self.name);
        }
    }
}

fn connect(runtime: &Runtime, config: &tokio_postgres::Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = runtime.block_on(config.connect(NoTls))?;
    runtime.spawn(connection);
    Ok(client)
}

/// The port of `HOST:PORT` or `scheme://[user@]HOST:PORT[/…]`.
fn port(address: &str) -> Option<u16> {
    let rest = address.rsplit_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split('/').next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}
