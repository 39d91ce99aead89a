//! Starts the containers of `scripts/services up --docker`, and ends. They run until
//! `scripts/services down`.
//!
//! ```text
//! feedkit-test-containers DIR SERVICE=PORT[,PORT…]…
//! ```
//!
//! `DIR` is the folder of the services, which is a label of the containers. A service is `kafka`,
//! `postgres`, `redis` or `cluster` (six ports). Variables: `DOCKER_HOST`, the address of the
//! engine; `POSTGRES_PASSWORD`; `CLUSTER_ID` of the broker; `FEEDKIT_KAFKA_HEAP`.
//!
//! This program does not wait for the services. `scripts/services` asks each service until it
//! answers.

mod images;

use std::process::ExitCode;

use testcontainers::core::ContainerPort;
use testcontainers::core::client::ClientError;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerRequest, GenericImage, ImageExt, ReuseDirective, TestcontainersError};

use crate::images::Settings;

/// Labels by which `scripts/services` finds its containers again.
const DIR_LABEL: &str = "feedkit.services.dir";
const SERVICE_LABEL: &str = "feedkit.services.name";

#[tokio::main]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("feedkit-test-containers: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let dir = arguments.next().ok_or("no folder is given")?;
    let settings = Settings::of_environment();
    for argument in arguments {
        let (service, ports) = read(&argument)?;
        let image = images::of(service, &ports, &settings)?;
        let name = image.descriptor();
        start(image, &dir, service, &ports).await.map_err(|error| told(&name, &error))?;
    }
    Ok(())
}

/// `SERVICE=PORT[,PORT…]`.
fn read(argument: &str) -> Result<(&str, Vec<u16>), String> {
    let (service, ports) = argument.split_once('=').ok_or(format!("{argument}: not SERVICE=PORT"))?;
    let ports: Result<Vec<u16>, _> = ports.split(',').map(str::parse).collect();
    Ok((service, ports.map_err(|error| format!("{argument}: {error}"))?))
}

async fn start(
    image: ContainerRequest<GenericImage>,
    dir: &str,
    service: &str,
    ports: &[u16],
) -> Result<(), TestcontainersError> {
    let mut request = image
        .with_label(DIR_LABEL, dir)
        .with_label(SERVICE_LABEL, service)
        // The library removes a container when its handle is dropped, unless it is to be used
        // again.
        .with_reuse(ReuseDirective::Always)
        // The library publishes ports on all addresses of the machine.
        .with_host_config_modifier(|host| {
            for binding in
                host.port_bindings.iter_mut().flat_map(|ports| ports.values_mut()).flatten().flatten()
            {
                binding.host_ip = Some("127.0.0.1".to_owned());
            }
        });
    for port in ports {
        // The same outside and inside: what a service says of its own address then holds on both
        // sides.
        request = request.with_mapped_port(*port, ContainerPort::Tcp(*port));
    }
    request.start().await.map(drop)
}

/// What went wrong, and with which image. The library's own text of an image that is not to be had
/// is the engine's.
fn told(image: &str, error: &TestcontainersError) -> String {
    match error {
        TestcontainersError::Client(ClientError::PullImage { err, .. }) => {
            format!("{image} is not on this machine, and the engine cannot fetch it: {err}")
        }
        error => format!("{image}: {error}"),
    }
}
