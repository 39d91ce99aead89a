//! Commands that start the two programs.

use std::path::PathBuf;
use std::process::{Command, Output};

use feedkit_test_programs::bare;

/// The gateway.
pub fn gateway() -> Command {
    bare(env!("CARGO_BIN_EXE_feedkit-gateway"))
}

/// The processor, which lies beside the gateway once it is built.
pub fn processor() -> String {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_feedkit-gateway")).with_file_name("feedkit-processor");
    assert!(path.exists(), "build the processor first: cargo build -p feedkit-processor");
    path.to_str().unwrap().to_owned()
}

/// Runs a command to its end on a thread of its own, so that other tests go on.
pub async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}
