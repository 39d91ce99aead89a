//! What a program ends with: 0 done, 1 failed, 2 bad usage or configuration.

use std::error::Error as _;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use feedkit_core::{Error, ErrorKind};

/// Why a program ends without having done what it was asked for.
#[derive(Debug)]
pub enum Failure {
    /// It was asked wrongly: the command line, a variable or a file. Exit code 2.
    Usage(String),
    /// It could not be done. Exit code 1; 2 when the error says that the request itself is wrong.
    Failed(Error),
}

impl Failure {
    /// Bad usage or configuration, in words that name the key.
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

/// Turns an outcome into an exit code, having said on standard error what went wrong, why, and whether another try
/// may help.
pub fn exit(program: &str, outcome: Result<ExitCode, Failure>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            // Where standard error is closed there is nobody to tell.
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
            // Some causes only repeat what was said.
            if !said.contains(&text) && !text.contains(&said) {
                write!(f, "\n  because: {text}")?;
                said = text;
            }
            cause = inner.source();
        }
        if error.is_retriable() {
            write!(f, "\n  this may pass: run the same command again when it has")?;
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
