//! Types of values, and how each is written.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Raw;

/// A type of a setting.
pub trait Value: Sized {
    /// The type's name, one word.
    const KIND: &'static str;
    /// A description of what is expected, with an example.
    const EXPECTED: &'static str;
    /// How a value is written in the file.
    const SHAPES: &'static [Shape];
    /// Whether it must not be shown.
    const SECRET: bool = false;
    /// Whether its flag alone means `true`.
    const SWITCH: bool = false;

    /// Reads a value from the text of a flag or a variable.
    fn parse(text: &str) -> Option<Self>;

    /// The value as a user would write it, or `None` if it is empty.
    fn show(&self) -> Option<String>;

    /// Reads the value from any source. On failure, says what is expected.
    fn read(raw: &Raw) -> Result<Self, String> {
        let text = match raw {
            Raw::Word(text) => Some(text),
            Raw::Text(text) if Self::SHAPES.contains(&Shape::Text) => Some(text),
            Raw::Number(text) if Self::SHAPES.contains(&Shape::Number) => Some(text),
            Raw::Bool(text) if Self::SHAPES.contains(&Shape::Bool) => Some(text),
            _ => None,
        };
        text.and_then(|text| Self::parse(text.trim())).ok_or_else(|| unexpected::<Self>(raw))
    }
}

/// How a value is written in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// In quotes.
    Text,
    /// As digits.
    Number,
    /// As `true` or `false`.
    Bool,
}

fn unexpected<T: Value>(raw: &Raw) -> String {
    format!("{raw} is not {}", T::EXPECTED)
}

macro_rules! number {
    ($($type:ty = $kind:literal, $expected:literal;)*) => {$(
        impl Value for $type {
            const KIND: &'static str = $kind;
            const EXPECTED: &'static str = $expected;
            const SHAPES: &'static [Shape] = &[Shape::Number];

            fn parse(text: &str) -> Option<Self> {
                text.replace('_', "").parse().ok()
            }

            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}
number! {
    u16 = "number", "a whole number from 0 to 65535";
    u32 = "number", "a whole number";
    u64 = "number", "a whole number";
    usize = "number", "a whole number";
    i64 = "number", "a whole number";
    f64 = "decimal", "a number";
}

impl Value for bool {
    const KIND: &'static str = "switch";
    const EXPECTED: &'static str = "true or false";
    const SHAPES: &'static [Shape] = &[Shape::Bool];
    const SWITCH: bool = true;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for String {
    const KIND: &'static str = "text";
    const EXPECTED: &'static str = "a text";
    const SHAPES: &'static [Shape] = &[Shape::Text];

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn show(&self) -> Option<String> {
        Some(self.clone())
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "path";
    const EXPECTED: &'static str = "a path";
    const SHAPES: &'static [Shape] = &[Shape::Text];

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }

    fn show(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

impl Value for SocketAddr {
    const KIND: &'static str = "address";
    const EXPECTED: &'static str = "an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080";
    const SHAPES: &'static [Shape] = &[Shape::Text];

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

#[cfg(feature = "gateway")]
impl Value for ipnet::IpNet {
    const KIND: &'static str = "network";
    const EXPECTED: &'static str = "a network, such as 10.0.0.0/8, or an IP address";
    const SHAPES: &'static [Shape] = &[Shape::Text];

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(Into::into))
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for Duration {
    const KIND: &'static str = "duration";
    const EXPECTED: &'static str = "a duration, such as 500ms, 5s or 1h 30m";
    const SHAPES: &'static [Shape] = &[Shape::Text];

    fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::SignedDuration>().ok()?.try_into().ok()
    }

    fn show(&self) -> Option<String> {
        Some(match jiff::SignedDuration::try_from(*self) {
            Ok(span) => format!("{span:#}"),
            Err(_) => format!("{}s", self.as_secs()),
        })
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: &'static str = T::KIND;
    const EXPECTED: &'static str = T::EXPECTED;
    const SHAPES: &'static [Shape] = T::SHAPES;
    const SECRET: bool = T::SECRET;
    const SWITCH: bool = T::SWITCH;

    fn parse(text: &str) -> Option<Self> {
        T::parse(text).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        T::read(raw).map(Some)
    }
}

/// An array in the file; elsewhere separated by commas.
impl<T: Value> Value for Vec<T> {
    const KIND: &'static str = "list";
    const EXPECTED: &'static str = "a list: an array in the file, separated by commas elsewhere";
    const SHAPES: &'static [Shape] = &[];

    fn parse(text: &str) -> Option<Self> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(T::parse).collect()
    }

    fn show(&self) -> Option<String> {
        let shown: Vec<_> = self.iter().filter_map(T::show).collect();
        (!shown.is_empty()).then(|| shown.join(","))
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Word(text) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                parts.map(|part| T::read(&Raw::Word(part.to_owned()))).collect()
            }
            Raw::List(items) => items.iter().map(T::read).collect(),
            _ => Err(unexpected::<Self>(raw)),
        }
    }
}

/// An enumeration whose values are words.
#[macro_export]
macro_rules! choice {
    (
        $(#[doc = $about:literal])*
        $vis:vis enum $name:ident {
            $( $(#[doc = $doc:literal])* $variant:ident = $word:literal ),* $(,)?
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name {
            $( $(#[doc = $doc])* $variant, )*
        }

        impl $crate::settings::Value for $name {
            const KIND: &'static str = "word";
            const EXPECTED: &'static str = concat!("one of" $(, " ", $word)*);
            const SHAPES: &'static [$crate::settings::Shape] = &[$crate::settings::Shape::Text];

            fn parse(text: &str) -> Option<Self> {
                match text {
                    $( $word => Some($name::$variant), )*
                    _ => None,
                }
            }

            fn show(&self) -> Option<String> {
                Some(match self { $( $name::$variant => $word ),* }.to_owned())
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Raw {
        Raw::Word(text.to_owned())
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [("500ms", 500), ("5s", 5000), ("1h 30m", 5_400_000), ("0s", 0)] {
            let read = Duration::read(&word(text)).unwrap();
            assert_eq!(read, Duration::from_millis(millis), "{text}");
            assert_eq!(Duration::parse(&read.show().unwrap()), Some(read));
        }
        for text in ["", "5", "-5s", "soon"] {
            let fault = Duration::read(&word(text)).unwrap_err();
            assert!(fault.contains("such as 500ms"), "{fault}");
        }
    }

    #[test]
    fn the_file_has_types() {
        assert!(u32::read(&Raw::Text("3".into())).is_err());
        assert!(String::read(&Raw::Number("3".into())).is_err());
        assert!(bool::read(&Raw::Text("true".into())).is_err());
        assert_eq!(u32::read(&Raw::Number("1_000".into())), Ok(1000));
        assert_eq!(f64::read(&Raw::Number("4".into())), Ok(4.0));
        let list = Raw::List(vec![Raw::Number("1".into()), Raw::Number("2".into())]);
        assert_eq!(Vec::<i64>::read(&list), Ok(vec![1, 2]));
        assert_eq!(Vec::<i64>::read(&word(" 1, 2 ,")), Ok(vec![1, 2]));
        assert!(Vec::<i64>::read(&word("1,x")).unwrap_err().contains("\"x\""));
        assert!(Vec::<i64>::read(&Raw::Number("1".into())).is_err());
        assert_eq!(Option::<u32>::read(&word("3")), Ok(Some(3)));
    }
}
