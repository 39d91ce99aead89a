//! A database that one test has for itself.

use tokio_postgres::{Client, NoTls};

use crate::{given, unique};

/// A database on a server that other tests use too. It is dropped with this value.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// Creates an empty one on the server that `FEEDKIT_TEST_POSTGRES` names.
    pub async fn new() -> Database {
        Self::on(&given("FEEDKIT_TEST_POSTGRES")).await
    }

    /// Creates an empty one on the server of this URL.
    pub async fn on(server: &str) -> Database {
        let name = unique("feedkit_test");
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'");
        connect(server).await.batch_execute(&create).await.unwrap();
        Database { server: server.to_owned(), name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let (host, _) = self.server.rsplit_once('/').unwrap();
        format!("{host}/{}", self.name)
    }

    /// The address of its server.
    pub fn address(&self) -> String {
        let (_, rest) = self.server.rsplit_once('@').unwrap();
        rest.split('/').next().unwrap().to_owned()
    }

    /// Its URL through another port of this machine.
    pub fn url_at_port(&self, port: u16) -> String {
        self.url().replace(&self.address(), &format!("127.0.0.1:{port}"))
    }

    /// A new connection.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }

    /// Makes a copy, as a backup would. This ends all connections.
    pub async fn backup(&self) -> Database {
        let name = unique("feedkit_backup");
        let copy = format!("CREATE DATABASE {name} TEMPLATE {}", self.name);
        self.end_connections().await;
        connect(&self.server).await.batch_execute(&copy).await.unwrap();
        Database { server: self.server.clone(), name }
    }

    /// Replaces this database by a backup.
    pub async fn restore(&self, backup: &Database) {
        self.end_connections().await;
        backup.end_connections().await;
        let admin = connect(&self.server).await;
        admin.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await.unwrap();
        let copy = format!("CREATE DATABASE {} TEMPLATE {}", self.name, backup.name);
        admin.batch_execute(&copy).await.unwrap();
    }

    async fn end_connections(&self) {
        let admin = connect(&self.server).await;
        let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = $1";
        admin.query(end, &[&self.name]).await.unwrap();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // The test's own runtime may have ended.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let Ok((admin, connection)) = tokio_postgres::connect(&server, NoTls).await else { return };
                tokio::spawn(connection);
                let _ = admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
            });
        });
        let _ = dropping.join();
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    // It ends with the client.
    tokio::spawn(connection);
    client
}
