//! The official images, with the settings that `scripts/services` gives to servers that it starts
//! itself.

use testcontainers::{ContainerRequest, GenericImage, ImageExt};

/// The broker's settings, shared with the one that is started without Docker.
const KAFKA_PROPERTIES: &str = include_str!("../../../scripts/services.d/kafka.properties");

/// What is told from outside.
pub(crate) struct Settings {
    postgres_password: String,
    /// A broker that is started anew is another one: an id that never changed would hide it.
    kafka_cluster: String,
    kafka_heap: String,
}

impl Settings {
    pub(crate) fn of_environment() -> Self {
        let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        Settings {
            postgres_password: variable("POSTGRES_PASSWORD", "feedkit"),
            kafka_cluster: variable("CLUSTER_ID", "ZmVlZGtpdC1mZWVka2l0LQ"),
            kafka_heap: variable("FEEDKIT_KAFKA_HEAP", "512m"),
        }
    }
}

/// The container of a service, which listens on these ports.
pub(crate) fn of(
    service: &str,
    ports: &[u16],
    settings: &Settings,
) -> Result<ContainerRequest<GenericImage>, String> {
    match (service, ports) {
        ("kafka", [port]) => Ok(kafka(*port, settings)),
        ("postgres", [port]) => Ok(postgres(*port, settings)),
        ("redis", [port]) => Ok(redis(*port)),
        ("cluster", [_, _, _, _, _, _]) => Ok(cluster(ports)),
        _ => Err(format!("{service} on {} port(s): not known", ports.len())),
    }
}

fn kafka(port: u16, settings: &Settings) -> ContainerRequest<GenericImage> {
    let properties = KAFKA_PROPERTIES.lines().filter(|line| !line.starts_with('#'));
    let given = properties.filter_map(|line| line.split_once('='));
    let mut request = ContainerRequest::from(GenericImage::new("apache/kafka", "4.3.1"));
    for (key, value) in given {
        request = request.with_env_var(kafka_variable(key), value);
    }
    request
        .with_env_var("CLUSTER_ID", &settings.kafka_cluster)
        .with_env_var("KAFKA_LISTENERS", format!("PLAINTEXT://:{port},CONTROLLER://127.0.0.1:9093"))
        .with_env_var("KAFKA_ADVERTISED_LISTENERS", format!("PLAINTEXT://127.0.0.1:{port}"))
        .with_env_var("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@127.0.0.1:9093")
        .with_env_var("KAFKA_LOG_DIRS", "/var/lib/kafka/data")
        .with_env_var("KAFKA_HEAP_OPTS", format!("-Xms128m -Xmx{}", settings.kafka_heap))
}

/// The variable that the image makes this property of.
fn kafka_variable(property: &str) -> String {
    let escaped = property.replace('_', "__").replace('-', "___").replace('.', "_");
    format!("KAFKA_{}", escaped.to_uppercase())
}

fn postgres(port: u16, settings: &Settings) -> ContainerRequest<GenericImage> {
    let options = [
        "max_connections=200",
        "shared_buffers=256MB",
        "max_wal_size=4GB",
        "log_line_prefix=%m [%p] %a ",
        &format!("port={port}"),
    ];
    let options = options.into_iter().flat_map(|option| ["-c", option]);
    GenericImage::new("postgres", "15")
        .with_env_var("POSTGRES_USER", "feedkit")
        .with_env_var("POSTGRES_PASSWORD", &settings.postgres_password)
        .with_env_var("POSTGRES_DB", "postgres")
        .with_env_var("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C.UTF-8 --no-sync")
        // Parallel queries share memory there; the default is 64 MiB.
        .with_shm_size(256 * 1024 * 1024)
        .with_cmd(std::iter::once("postgres").chain(options))
}

/// What is in it may be lost.
const NOT_KEPT: [&str; 4] = ["--save", "", "--appendonly", "no"];

fn redis(port: u16) -> ContainerRequest<GenericImage> {
    let port = port.to_string();
    let command = ["redis-server", "--port", &port];
    GenericImage::new("redis", "7").with_cmd(command.into_iter().chain(NOT_KEPT))
}

/// Six servers in one container: they see each other at the address that clients see them at,
/// 127.0.0.1, as they would not across containers. `scripts/services` makes a cluster of them.
fn cluster(ports: &[u16]) -> ContainerRequest<GenericImage> {
    const SERVERS: &str = r#"
for port in "$@"; do
    mkdir "/data/$port"
    redis-server --port "$port" --dir "/data/$port" --save '' --appendonly no --cluster-enabled yes \
        --cluster-announce-ip 127.0.0.1 --cluster-config-file nodes.conf --cluster-node-timeout 2000 &
done
wait
"#;
    let ports = ports.iter().map(u16::to_string);
    let command = ["sh", "-c", SERVERS, "sh"].into_iter().map(str::to_owned).chain(ports);
    GenericImage::new("redis", "7").with_user("redis").with_cmd(command)
}
