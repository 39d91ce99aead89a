//! Reading and decompressing a request's body, within limits.

use std::io;

use async_compression::tokio::bufread::GzipDecoder;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Body as _;
use poem::Request;
use poem::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use tokio::io::AsyncReadExt;
use tokio::sync::SemaphorePermit;

use crate::Problem;
use crate::state::State;

/// How many bytes of each body are read without a reservation.
const FREE_KIB: usize = 64;

/// A complete body. It holds its reservation of memory until it is dropped.
pub(crate) struct Arrived<'a> {
    pub(crate) bytes: Bytes,
    _room: Room<'a>,
}

/// Reads the request's body, of at most `limit` bytes before and after decompression.
///
/// # Errors
///
/// 400 when the body breaks off or cannot be decompressed; 408 when it takes too long; 413 when it
/// is too large; 415 for an unsupported encoding; 503 when other bodies use all memory for bodies.
pub(crate) async fn read<'a>(
    state: &'a State,
    request: &mut Request,
    limit: usize,
) -> Result<Arrived<'a>, Problem> {
    let packed = is_gzip(request)?;
    let length = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(over(limit));
    }
    let mut room = Room { state, permit: None, bytes: FREE_KIB * 1024 };
    let body: BoxBody<Bytes, io::Error> = request.take_body().into();
    let timeout = state.options.body_timeout;
    let bytes = tokio::time::timeout(timeout, collect(body, limit, &mut room))
        .await
        .map_err(|_| Problem::too_slow(format!("the body did not arrive within {timeout:?}")))??;
    let bytes = if packed { unpack(&bytes, limit, &mut room).await? } else { bytes };
    Ok(Arrived { bytes, _room: room })
}

/// The media type of the request's body: `application/json` and the like, without parameters.
///
/// # Errors
///
/// 415 if it is not one of `taken`, or if the charset is not UTF-8.
pub(crate) fn media_type(request: &Request, taken: &[&'static str]) -> Result<&'static str, Problem> {
    let refused =
        |what: String| Problem::unsupported_media_type(format!("{what}; send {}", taken.join(" or ")));
    let Some(value) = request.headers().get(CONTENT_TYPE) else {
        return Err(refused("the header `Content-Type` is missing".into()));
    };
    let text = value.to_str().map_err(|_| refused("the content type cannot be read".into()))?;
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let Some(known) = taken.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
        return Err(refused(format!("the content type is {name:?}")));
    };
    let utf8 =
        |charset: &str| matches!(charset.trim_matches('"').to_ascii_lowercase().as_str(), "utf-8" | "utf8");
    for (key, charset) in parts.filter_map(|parameter| parameter.split_once('=')) {
        if key.trim().eq_ignore_ascii_case("charset") && !utf8(charset.trim()) {
            return Err(refused(format!("the charset is {charset:?}, not utf-8")));
        }
    }
    Ok(known)
}

fn is_gzip(request: &Request) -> Result<bool, Problem> {
    let Some(value) = request.headers().get(CONTENT_ENCODING) else { return Ok(false) };
    match value.to_str().unwrap_or("unreadable").trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        other => Err(Problem::unsupported_media_type(format!(
            "the content encoding is {other:?}; only gzip is read"
        ))),
    }
}

/// Reads up to the limit. It counts the bytes that arrive, because `Content-Length` may be wrong or
/// missing.
async fn collect(
    mut body: BoxBody<Bytes, io::Error>,
    limit: usize,
    room: &mut Room<'_>,
) -> Result<Bytes, Problem> {
    let first = next(&mut body).await?.unwrap_or_default();
    if first.len() > limit {
        return Err(over(limit));
    }
    // Most bodies are one frame, which needs no copy.
    if body.is_end_stream() {
        return Ok(first);
    }
    let mut all = BytesMut::from(first);
    while let Some(more) = next(&mut body).await? {
        if all.len() + more.len() > limit {
            return Err(over(limit));
        }
        room.make(all.len() + more.len())?;
        all.extend_from_slice(&more);
    }
    Ok(all.freeze())
}

/// The next bytes.
async fn next(body: &mut BoxBody<Bytes, io::Error>) -> Result<Option<Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::malformed("the body broke off"))?;
        // A frame without data is a trailer.
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn over(limit: usize) -> Problem {
    Problem::too_large(format!("the body is longer than {limit} bytes"))
}

/// Decompresses a body, and stops at `limit` bytes.
async fn unpack(packed: &[u8], limit: usize, room: &mut Room<'_>) -> Result<Bytes, Problem> {
    const STEP: usize = 16 * 1024;
    let mut decoder = GzipDecoder::new(packed);
    decoder.multiple_members(true);
    let mut all = BytesMut::with_capacity((packed.len() * 4).min(limit).min(FREE_KIB * 1024));
    loop {
        all.reserve(STEP);
        let read = (&mut decoder).take(STEP as u64).read_buf(&mut all).await;
        if read.map_err(|_| Problem::malformed("the body is not valid gzip"))? == 0 {
            return Ok(all.freeze());
        }
        if all.len() > limit {
            let problem = format!("the decompressed body is longer than {limit} bytes");
            return Err(Problem::too_large(problem));
        }
        room.make(all.len())?;
        // Decompression never waits, so it has to let other tasks run.
        tokio::task::consume_budget().await;
    }
}

/// Memory that is reserved for a body.
struct Room<'a> {
    state: &'a State,
    permit: Option<SemaphorePermit<'a>>,
    bytes: usize,
}

impl Room<'_> {
    /// Reserves memory for `bytes`.
    fn make(&mut self, bytes: usize) -> Result<(), Problem> {
        let missing_kib = bytes.saturating_sub(self.bytes).div_ceil(1024);
        if missing_kib == 0 {
            return Ok(());
        }
        // Larger steps need fewer reservations.
        let kib = missing_kib.max(FREE_KIB);
        let more = u32::try_from(kib).ok().and_then(|kib| self.state.buffered_kib.try_acquire_many(kib).ok());
        let more = more.ok_or_else(|| {
            let problem = Problem::unavailable("there is no memory left for more bodies");
            problem.retry_after(std::time::Duration::from_secs(1))
        })?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        self.bytes += kib * 1024;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(content_type: &str) -> Option<&'static str> {
        let request = Request::builder().header(CONTENT_TYPE, content_type).finish();
        media_type(&request, &["application/json", "application/x-ndjson"]).ok()
    }

    #[test]
    fn media_types_have_parameters() {
        assert_eq!(taken("application/json"), Some("application/json"));
        assert_eq!(taken("Application/JSON ; charset=\"UTF-8\""), Some("application/json"));
        assert_eq!(taken("application/x-ndjson;profile=a"), Some("application/x-ndjson"));
        assert_eq!(taken("application/json;charset=latin1"), None);
        assert_eq!(taken("application/x-www-form-urlencoded"), None);
        assert_eq!(taken("application/jsonp"), None);
        assert!(media_type(&Request::default(), &["application/json"]).is_err());
    }
}
