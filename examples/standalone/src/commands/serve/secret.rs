//! The secret that signs tokens if no secret is configured. The first start creates it in the data
//! directory.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use feedkit_core::{Error, Result};
use feedkit_server::settings::Secret;
use rand::Rng;

/// Random bytes of a new secret. They are written as hexadecimal digits.
const BYTES: usize = 32;

fn path(data: &Path) -> PathBuf {
    data.join("jwt-secret")
}

/// The directory's secret.
///
/// # Errors
///
/// If the directory has no secret yet. The text says what to do.
pub fn read(data: &Path) -> Result<Secret> {
    let (path, shown) = (path(data), data.display());
    match Secret::from_file(&path) {
        Ok(secret) => Ok(secret),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(Error::fatal(format!(
            "{shown} has no secret that signs tokens: `feedkit serve --data {shown}` creates one at its first start, \
             or name a file with --jwt-secret-file"
        ))),
        Err(e) => Err(fault(&path, "cannot be read", e)),
    }
}

/// The directory's secret. Creates it if it does not exist. The caller must hold the directory's
/// lock.
pub fn read_or_make(data: &Path) -> Result<Secret> {
    let path = path(data);
    if !path.try_exists().map_err(|e| fault(&path, "cannot be read", e))? {
        make(&path).map_err(|e| fault(&path, "cannot be created", e))?;
    }
    read(data)
}

/// Creates the file completely or not at all. Only its owner may read it.
fn make(path: &Path) -> std::io::Result<()> {
    let mut random = [0; BYTES];
    rand::rng().fill_bytes(&mut random);
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let unfinished = path.with_extension("new");
    match fs::remove_file(&unfinished) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    writeln!(file, "{digits}")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn fault(path: &Path, what: &str, error: std::io::Error) -> Error {
    Error::fatal(format!("{} {what}: {error}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("feedkit serve"));
        // A crash left this behind.
        fs::write(dir.path().join("jwt-secret.new"), "half").unwrap();
        let secret = read_or_make(dir.path()).unwrap();
        assert_eq!(secret.bytes().len(), 2 * BYTES);
        assert_eq!(read_or_make(dir.path()).unwrap(), secret);
        assert_eq!(read(dir.path()).unwrap(), secret);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(path(dir.path())).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let other = tempfile::tempdir().unwrap();
        assert_ne!(read_or_make(other.path()).unwrap(), secret);
    }
}
