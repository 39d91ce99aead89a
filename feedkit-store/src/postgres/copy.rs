//! Rows in PostgreSQL's binary form, for `COPY … FROM STDIN (FORMAT binary)`.

use std::pin::Pin;

use bytes::{BufMut, Bytes, BytesMut};
use feedkit_core::{Result, Timestamp};
use futures_util::SinkExt;
use tokio_postgres::CopyInSink;

use super::connection::Session;
use super::failure::Sql;
use super::sql_time::SqlTime;

/// About how many bytes to hand to the connection at a time.
const CHUNK: usize = 64 << 10;
/// A row that is longer than this makes its chunk grow.
const ROW: usize = 4 << 10;

/// Copies a row for each item with `statement`, if there are items. `put` writes the columns of an
/// item, in order. Rows are encoded while the server takes the rows before, so that few are in
/// memory.
pub(super) async fn copy<T>(
    session: &Session,
    statement: &str,
    columns: i16,
    items: &[T],
    put: impl Fn(&mut Row<'_>, &T) -> Result<()>,
) -> Sql<()> {
    if items.is_empty() {
        return Ok(());
    }
    let mut rows = Copying::begin(session, statement, columns).await?;
    for item in items {
        put(&mut rows.row(), item)?;
        rows.hand_over().await?;
    }
    rows.finish().await
}

/// A running COPY. If it is dropped before its end, the COPY and the transaction fail.
pub(super) struct Copying {
    sink: Pin<Box<CopyInSink<Bytes>>>,
    chunk: BytesMut,
    columns: i16,
}

impl Copying {
    pub(super) async fn begin(session: &Session, statement: &str, columns: i16) -> Sql<Copying> {
        let statement = session.prepare_cached(statement).await?;
        let sink = Box::pin(session.copy_in(&statement).await?);
        let mut chunk = BytesMut::with_capacity(CHUNK + ROW);
        chunk.put_slice(b"PGCOPY\n\xff\r\n\0");
        chunk.put_u64(0); // No flags, no extension.
        Ok(Copying { sink, chunk, columns })
    }

    /// Begins a row. All its columns must be written.
    pub(super) fn row(&mut self) -> Row<'_> {
        self.chunk.put_i16(self.columns);
        Row(&mut self.chunk)
    }

    /// Continues the value that [`Row::long`] began.
    pub(super) async fn piece(&mut self, piece: &[u8]) -> Sql<()> {
        self.chunk.put_slice(piece);
        self.hand_over().await
    }

    /// Hands the rows to the connection, if there are enough bytes.
    pub(super) async fn hand_over(&mut self) -> Sql<()> {
        if self.chunk.len() >= CHUNK {
            let full = std::mem::replace(&mut self.chunk, BytesMut::with_capacity(CHUNK + ROW));
            self.sink.feed(full.freeze()).await?;
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Sql<()> {
        self.chunk.put_i16(-1);
        self.sink.feed(self.chunk.freeze()).await?;
        self.sink.as_mut().finish().await?;
        Ok(())
    }
}

/// A row that is being written.
pub(super) struct Row<'a>(&'a mut BytesMut);

impl Row<'_> {
    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        // Values are bounded far below 2 GiB.
        self.0.put_i32(value.len() as i32);
        self.0.put_slice(value);
        self
    }

    /// Begins a value of `len` bytes. [`Copying::piece`] writes them.
    pub(super) fn long(&mut self, len: usize) {
        self.0.put_i32(len as i32);
    }

    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    pub(super) fn int8(&mut self, value: i64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn int4(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn int2(&mut self, value: i16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn time(&mut self, value: Timestamp) -> &mut Self {
        self.int8(SqlTime(value).micros())
    }

    pub(super) fn null(&mut self) -> &mut Self {
        self.0.put_i32(-1);
        self
    }

    /// Writes a `jsonb` value, which has a version before its text.
    pub(super) fn jsonb(&mut self, json: &[u8]) -> &mut Self {
        self.0.put_i32(json.len() as i32 + 1);
        self.0.put_u8(1);
        self.0.put_slice(json);
        self
    }
}
