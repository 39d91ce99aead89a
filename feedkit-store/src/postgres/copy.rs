//! PostgreSQL's binary form of rows for `COPY … FROM STDIN (FORMAT binary)`.

use bytes::{BufMut, Bytes, BytesMut};
use feedkit_core::Timestamp;
use futures_util::{SinkExt, stream};
use tokio_postgres::CopyInSink;

use super::database::Session;
use super::failure::Sql;
use super::sql_time::SqlTime;

/// About so many bytes are handed to the connection at a time.
const CHUNK: usize = 256 << 10;

/// Rows to be copied into one table.
pub(super) struct Rows {
    full: Vec<Bytes>,
    open: BytesMut,
    columns: i16,
    count: u64,
}

impl Rows {
    /// No rows, of so many columns each.
    pub(super) fn new(columns: i16) -> Rows {
        let mut open = BytesMut::new();
        open.put_slice(b"PGCOPY\n\xff\r\n\0");
        open.put_u64(0); // No flags, no extension.
        Rows { full: Vec::new(), open, columns, count: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Begins a row; its columns must follow, in order.
    pub(super) fn row(&mut self) -> Row<'_> {
        if self.open.len() >= CHUNK {
            self.full.push(self.open.split().freeze());
        }
        self.open.put_i16(self.columns);
        self.count += 1;
        Row(&mut self.open)
    }

    /// Copies the rows by `statement`, if there are any.
    pub(super) async fn copy(mut self, session: &Session, statement: &str) -> Sql<()> {
        if self.is_empty() {
            return Ok(());
        }
        self.open.put_i16(-1);
        self.full.push(self.open.freeze());
        let statement = session.prepare_cached(statement).await?;
        let sink: CopyInSink<Bytes> = session.copy_in(&statement).await?;
        let mut sink = std::pin::pin!(sink);
        let mut chunks = stream::iter(self.full.into_iter().map(Ok));
        sink.send_all(&mut chunks).await?;
        sink.finish().await?;
        Ok(())
    }
}

/// A row being written.
pub(super) struct Row<'a>(&'a mut BytesMut);

impl Row<'_> {
    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        // Values are bounded far below 2 GiB.
        self.0.put_i32(value.len() as i32);
        self.0.put_slice(value);
        self
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

    /// `jsonb` bears a version before its text.
    pub(super) fn jsonb(&mut self, json: &[u8]) -> &mut Self {
        self.0.put_i32(json.len() as i32 + 1);
        self.0.put_u8(1);
        self.0.put_slice(json);
        self
    }
}
