//! Reads lines of bounded length.

use std::io::{self, BufRead};

use bytes::Bytes;

/// Maximum length of a replayed line, in bytes. The rest of a longer line is skipped, so that the
/// pipeline rejects it.
const MAX_LINE: usize = 1 << 20;

/// The byte order mark, with which some programs begin a UTF-8 file. It is not part of the first
/// line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A line and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NumberedLine {
    /// Its number, from 0. Blank lines count.
    pub(super) number: u64,
    /// Its bytes, without white space at the end.
    pub(super) bytes: Bytes,
}

/// Reads up to `max` lines, numbered from `*next` on, and leaves out blank lines. Also returns how
/// many bytes it read: 0 at the end of the file.
pub(super) fn number_lines(
    reader: &mut dyn BufRead,
    next: &mut u64,
    max: usize,
) -> io::Result<(Vec<NumberedLine>, u64)> {
    let (mut lines, mut read) = (Vec::with_capacity(max), 0);
    while lines.len() < max {
        let mut line = Vec::new();
        let n = read_line(reader, &mut line, MAX_LINE)?;
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

/// Appends the next line to `line` without its newline. Skips what exceeds `max` bytes. Returns how
/// many bytes it took from the reader: 0 at the end of the file.
pub(super) fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>, max: usize) -> io::Result<u64> {
    let mut taken = 0;
    loop {
        let buffer = match reader.fill_buf() {
            Ok(buffer) => buffer,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let newline = memchr::memchr(b'\n', buffer);
        let content = &buffer[..newline.unwrap_or(buffer.len())];
        line.extend_from_slice(&content[..content.len().min(max - line.len())]);
        let used = newline.map_or(buffer.len(), |at| at + 1);
        reader.consume(used);
        taken += used as u64;
        if newline.is_some() || used == 0 {
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
