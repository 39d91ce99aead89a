//! Numbers of bytes with units.

use super::value::{Shape, Value};

/// A number of bytes, written `256KiB`, `4 MB` or `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Units with their sizes. If two units have the same size, the first one is shown.
const UNITS: [(&str, u64); 11] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("KB", 1000),
    ("B", 1),
    ("", 1),
];

impl ByteSize {
    /// A number of KiB (1024 bytes).
    pub const fn kib(n: u64) -> Self {
        ByteSize(n << 10)
    }

    /// A number of MiB (1024 × 1024 bytes).
    pub const fn mib(n: u64) -> Self {
        ByteSize(n << 20)
    }

    /// The same as a length in memory.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl From<usize> for ByteSize {
    fn from(bytes: usize) -> Self {
        ByteSize(bytes as u64)
    }
}

impl Value for ByteSize {
    const KIND: &'static str = "size";
    const EXPECTED: &'static str = "a number of bytes, such as 4096, 256KiB or 4MB";
    const SHAPES: &'static [Shape] = &[Shape::Text, Shape::Number];

    fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, size) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?;
        number.parse::<u64>().ok()?.checked_mul(*size).map(ByteSize)
    }

    fn show(&self) -> Option<String> {
        let whole = |(_, size): &&(&str, u64)| self.0 >= *size && self.0.is_multiple_of(*size);
        Some(match UNITS[..8].iter().find(whole) {
            Some((unit, size)) => format!("{}{unit}", self.0 / size),
            None => self.0.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_shows() {
        for (text, bytes) in [("0", 0), ("1000", 1000), ("256KiB", 256 << 10), ("4 mb", 4_000_000), ("7B", 7)]
        {
            let size = ByteSize::parse(text).unwrap();
            assert_eq!(size, ByteSize(bytes), "{text}");
            assert_eq!(ByteSize::parse(&size.show().unwrap()), Some(size));
        }
        for text in ["", "KiB", "-1", "1.5MB", "1 XB", "99999999999TiB"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
        assert_eq!(ByteSize::kib(256).show().unwrap(), "256KiB");
    }
}
