//! Secrets, which come from files or variables.

use std::fmt;
use std::path::Path;

use super::Raw;
use super::value::{Shape, Value};

/// A secret. It comes from a file or a variable, never from a flag, and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A secret of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Secret(bytes.into())
    }

    /// The bytes of a file, without one newline at the end.
    pub fn from_file(path: &Path) -> std::io::Result<Self> {
        let mut bytes = std::fs::read(path)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        Ok(Secret(bytes))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Value for Secret {
    const KIND: &'static str = "path";
    const EXPECTED: &'static str = "a secret of at least one byte";
    const SHAPES: &'static [Shape] = &[];
    const SECRET: bool = true;

    fn parse(_: &str) -> Option<Self> {
        None
    }

    fn show(&self) -> Option<String> {
        None
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Bytes(bytes) if !bytes.is_empty() => Ok(Secret(bytes.clone())),
            _ => Err("the secret is empty".to_owned()),
        }
    }
}
