//! How a program ends, and its exit code: 0 done, 1 failed, 2 bad usage or configuration.

use std::error::Error as _;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use feedkit_core::{Error, ErrorKind};

/// Why a program ends without having done what it was asked to do.
#[derive(Debug)]
pub enum Failure {
    /// The command line, a variable or a file is wrong. Exit code 2.
    Usage(String),
    /// The command failed. Exit code 1, or 2 if the error says that the request itself is wrong.
    Failed(Error),
}

impl Failure {
    /// Bad usage or configuration. The text names the key.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure::Usage(message.into())
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Failed(error) if error.kind() == ErrorKind::Invalid => 2,
            Failure::Failed(_) => 1,
        }
    }
}

/// Turns an outcome into an exit code. Prints to standard error what went wrong, why, and whether
/// it may help to try again.
pub fn exit(program: &str, outcome: Result<ExitCode, Failure>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            // If standard error is closed, nobody can be told.
            let _ = writeln!(std::io::stderr().lock(), "{program}: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Failure::Usage(message) => return f.write_str(message),
            Failure::Failed(error) => error,
        };
        write!(f, "{error}")?;
        let mut said = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            // Some causes only repeat the error's own text.
            if !said.contains(&text) && !text.contains(&said) {
                write!(f, "\n  because: {text}")?;
                said = text;
            }
            cause = inner.source();
        }
        if error.is_retriable() {
            write!(f, "\n  this may be temporary: run the same command again later")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_tell_wrong_requests_from_failures() {
        assert_eq!(Failure::usage("x").code(), 2);
        assert_eq!(Failure::from(Error::invalid("x")).code(), 2);
        assert_eq!(Failure::from(Error::fatal("x")).code(), 1);
        assert_eq!(Failure::from(Error::retriable("x")).code(), 1);
    }

    #[test]
    fn causes_are_told_once() {
        let inner = Error::fatal("no space left");
        let error = Error::retriable("cannot write: no space left").with_source(inner);
        let told = Failure::from(error).to_string();
        assert_eq!(told.matches("no space left").count(), 1, "{told}");
        assert!(told.contains("run the same command again"), "{told}");
        let other = Error::fatal("cannot write").with_source(Error::fatal("read-only"));
        assert_eq!(Failure::from(other).to_string(), "cannot write\n  because: read-only");
    }
}
