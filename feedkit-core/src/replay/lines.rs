//! Lines of a reader, numbered and bounded.

use std::io::{self, BufRead};

use bytes::Bytes;

/// Longest line, in bytes; of a longer one the rest is passed over, and it will be rejected.
pub const MAX_LINE: usize = 1 << 20;

/// Some programs begin a UTF-8 file with it; it is no part of the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedLine {
    /// Its number, from 0, blank lines counted.
    pub number: u64,
    /// Its bytes, without the line end.
    pub bytes: Bytes,
}

/// Reads up to `most` lines, numbered from `*next` on; blank ones are left out. Also how many bytes were read: 0 at
/// the end.
pub fn number_lines(
    reader: &mut dyn BufRead,
    next: &mut u64,
    most: usize,
) -> io::Result<(Vec<NumberedLine>, u64)> {
    let (mut lines, mut read) = (Vec::with_capacity(most), 0);
    while lines.len() < most {
        let mut line = Vec::new();
        let n = bounded_line(reader, &mut line)?;
        if n == 0 {
            break;
        }
        read += n;
        if *next == 0 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        let bytes = line.trim_ascii_end();
        if !bytes.is_empty() {
            line.truncate(bytes.len());
            lines.push(NumberedLine { number: *next, bytes: line.into() });
        }
        *next += 1;
    }
    Ok((lines, read))
}

/// Appends one line to `line`, at most [`MAX_LINE`] of it; how many bytes were taken from the reader.
fn bounded_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let mut taken = 0;
    loop {
        let buffer = match reader.fill_buf() {
            Ok(buffer) => buffer,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let end = memchr::memchr(b'\n', buffer);
        let used = end.map_or(buffer.len(), |at| at + 1);
        let room = MAX_LINE - line.len();
        line.extend_from_slice(&buffer[..used.min(room)]);
        reader.consume(used);
        taken += used as u64;
        if end.is_some() || used == 0 {
            return Ok(taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_all_lines_and_keeps_what_is_not_blank() {
        let long = "x".repeat(MAX_LINE + 5);
        let text = format!("a\r\n\n  \n{long}\nlast");
        let mut reader = io::BufReader::with_capacity(7, text.as_bytes());
        let mut next = 0;
        let mut lines = Vec::new();
        let mut read = 0;
        loop {
            let (some, n) = number_lines(&mut reader, &mut next, 2).unwrap();
            if n == 0 {
                break;
            }
            read += n;
            lines.extend(some);
        }
        let seen: Vec<_> = lines.iter().map(|l| (l.number, l.bytes.len())).collect();
        assert_eq!(seen, [(0, 1), (3, MAX_LINE), (4, 4)]);
        assert_eq!(read, text.len() as u64);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let mut reader = io::BufReader::new(&b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n"[..]);
        let (lines, read) = number_lines(&mut reader, &mut 0, 9).unwrap();
        assert_eq!((&lines[0].bytes[..], lines[1].bytes.len(), read), (&b"a"[..], 4, 10));
    }
}
