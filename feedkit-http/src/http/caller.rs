//! The caller of a request: the request's id, the client's address, and later the user.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use ipnet::IpNet;
use poem::Request;
use poem::http::{HeaderMap, HeaderName};
use smol_str::{SmolStr, format_smolstr};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::allowance::Allowance;
use feedkit_core::UserId;

/// The header with a request's id. Requests, answers, problems and log lines have this id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Maximum length of a request id from a client.
const MAX_REQUEST_ID: usize = 64;

/// The caller of a request.
pub(crate) struct Caller {
    request_id: SmolStr,
    address: Option<IpAddr>,
    user: OnceLock<UserId>,
    /// The values of the `RateLimit-*` headers.
    allowance: OnceLock<Allowance>,
}

impl Caller {
    /// The caller of `request`. `trusted` are the proxies whose `X-Forwarded-For` is trusted.
    pub(crate) fn new(request: &Request, trusted: &[IpNet]) -> Self {
        let peer = request.remote_addr().as_socket_addr().map(|a| a.ip().to_canonical());
        Caller {
            request_id: given_id(request.headers()).unwrap_or_else(fresh_id),
            address: peer.map(|peer| client(peer, request.headers(), trusted)),
            user: OnceLock::new(),
            allowance: OnceLock::new(),
        }
    }

    /// The caller that [`Outermost`](super::Outermost) has left in the request.
    pub(crate) fn of(request: &Request) -> Arc<Caller> {
        request.data::<Arc<Caller>>().cloned().unwrap_or_else(|| Arc::new(Caller::new(request, &[])))
    }

    /// The request's id.
    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The client's address. A connection over a Unix socket has none.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The key of the address limit: an IPv4 address, or the /64 network of an IPv6 address,
    /// because one client gets a whole /64.
    pub(crate) fn network(&self) -> SmolStr {
        match self.address {
            Some(IpAddr::V4(v4)) => format_smolstr!("{v4}"),
            Some(IpAddr::V6(v6)) => {
                format_smolstr!("{}/64", Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)))
            }
            None => SmolStr::new_static("local"),
        }
    }

    /// The user, once a token has been verified.
    pub(crate) fn user(&self) -> Option<&UserId> {
        self.user.get()
    }

    /// Sets the user. Only the first call has an effect.
    pub(crate) fn identified(&self, user: &UserId) {
        self.user.get_or_init(|| user.clone());
    }

    /// The caller's remaining allowance.
    pub(crate) fn allowance(&self) -> Option<&Allowance> {
        self.allowance.get()
    }

    /// Sets the remaining allowance. Only the first call has an effect.
    pub(crate) fn allowed(&self, allowance: Allowance) {
        self.allowance.get_or_init(|| allowance);
    }
}

/// The request id from a client or proxy, if it is safe to log.
fn given_id(headers: &HeaderMap) -> Option<SmolStr> {
    let id = headers.get(REQUEST_ID)?.as_bytes();
    let sane = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:/+=@~".contains(b);
    if id.is_empty() || id.len() > MAX_REQUEST_ID || !id.iter().all(sane) {
        return None;
    }
    std::str::from_utf8(id).ok().map(SmolStr::new)
}

/// A new request id of 88 pseudo-random bits. It is short enough to be stored inline in a
/// [`SmolStr`].
fn fresh_id() -> SmolStr {
    static SEED: LazyLock<u64> = LazyLock::new(|| Uuid::now_v7().as_u128() as u64);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format_smolstr!("{:022x}", xxh3_128_with_seed(&number.to_le_bytes(), *SEED) >> 40)
}

/// The address that a request came from. It starts with the peer's address, and while that is a
/// trusted proxy, it continues with the address that the proxy reports. `X-Forwarded-For` is read
/// from its end, because only entries from trusted proxies can be trusted.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut client = peer;
    let fields = headers.get_all(&FORWARDED_FOR).into_iter().collect::<Vec<_>>();
    for hop in fields.iter().rev().flat_map(|field| field.as_bytes().rsplit(|b| *b == b',')) {
        if !is_trusted(client) {
            break;
        }
        // Entries before an unreadable one were not written by a trusted proxy.
        let Some(address) = std::str::from_utf8(hop).ok().and_then(|hop| hop_address(hop.trim())) else {
            break;
        };
        client = address;
    }
    client
}

/// `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::7`, `[2001:db8::7]` or `[2001:db8::7]:4711`.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let address = match hop.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match hop.split_once(':') {
            Some((v4, port)) if !port.contains(':') => v4,
            _ => hop,
        },
    };
    address.parse::<IpAddr>().ok().map(|a| a.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for field in forwarded {
            headers.append(FORWARDED_FOR.clone(), field.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        assert_eq!(client_of("198.51.100.1", &["203.0.113.7"], &[]), "198.51.100.1");
        assert_eq!(client_of("198.51.100.1", &["203.0.113.7"], &["10.0.0.0/8"]), "198.51.100.1");
    }

    #[test]
    fn the_last_address_that_no_trusted_proxy_has_is_the_clients() {
        let trusted = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(client_of("10.0.0.1", &["203.0.113.7"], &trusted), "203.0.113.7");
        assert_eq!(client_of("10.0.0.1", &["1.2.3.4, 203.0.113.7, 10.9.9.9"], &trusted), "203.0.113.7");
        assert_eq!(
            client_of("10.0.0.1", &["1.2.3.4", "203.0.113.7:99", "10.9.9.9"], &trusted),
            "203.0.113.7"
        );
        assert_eq!(client_of("fd00::1", &["[2001:db8::7]:99"], &trusted), "2001:db8::7");
        assert_eq!(client_of("10.0.0.1", &["2001:db8::7"], &trusted), "2001:db8::7");
        assert_eq!(client_of("10.0.0.1", &["::ffff:203.0.113.7"], &trusted), "203.0.113.7");
        // All trusted: the one farthest off.
        assert_eq!(client_of("10.0.0.1", &["10.0.0.3, 10.0.0.2"], &trusted), "10.0.0.3");
        // What cannot be read ends the walk.
        assert_eq!(client_of("10.0.0.1", &["203.0.113.7, unknown"], &trusted), "10.0.0.1");
        assert_eq!(client_of("10.0.0.1", &["203.0.113.7, , 10.0.0.2"], &trusted), "10.0.0.2");
        assert_eq!(client_of("10.0.0.1", &[], &trusted), "10.0.0.1");
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let network = |address: &str| {
            let caller = Caller {
                request_id: fresh_id(),
                address: Some(address.parse().unwrap()),
                user: OnceLock::new(),
                allowance: OnceLock::new(),
            };
            caller.network()
        };
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8:1:2::"), network("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("203.0.113.7"), "203.0.113.7");
    }

    #[test]
    fn ids_are_made_unless_they_are_sane() {
        let given = |id: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, poem::http::HeaderValue::from_bytes(id).unwrap());
            given_id(&headers)
        };
        assert_eq!(given(b"a-B_9.:/").as_deref(), Some("a-B_9.:/"));
        for bad in [&b""[..], b"a b", b"a\"b", "ä".as_bytes(), &[b'x'; 65]] {
            assert_eq!(given(bad), None, "{bad:?}");
        }
        let (a, b) = (fresh_id(), fresh_id());
        assert_ne!(a, b);
        assert_eq!((a.len(), a.is_heap_allocated()), (22, false));
    }
}
