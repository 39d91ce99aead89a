//! The message of `serve` when it listens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use feedkit_core::{Error, Result, UserId, access};
use feedkit_server::settings::{Secret, Value};

use super::gateway::{self, Bearer};
use crate::config::Config;
use feedkit_server::output;

/// The user as whom the page acts at first.
pub const USER: &str = "you";

/// How long the page's token is valid.
const TTL: Duration = Duration::from_secs(12 * 3600);

/// Prints where the page is, what to try, and how to stop. The page gets the token of a moderator
/// who may write for every user, so the token is shown only if no other machine can reach the
/// address.
pub fn welcome(config: &Config, data: &Path, address: SocketAddr, secret: Option<&Secret>) -> Result<()> {
    let url = format!("http://{}", reachable(address));
    let (program, data) = (program(), word(&data.to_string_lossy()));
    output::line(&format!("feedkit serves {data} on {url}\n"))?;
    match secret {
        Some(secret) if address.ip().is_loopback() => {
            let token = page_token(config, secret)?;
            output::line(&format!("  Page     {url}/#token={token}"))?;
            let ttl = TTL.show().unwrap_or_default();
            output::line(&format!(
                "           the token is for the user \"{USER}\", a moderator who may write for every user; it is valid for {ttl}"
            ))?;
        }
        Some(_) => {
            output::line(&format!("  Page     {url}/"))?;
            output::line(
                "           other machines can reach this address, so no token is shown; to create one:",
            )?;
            output::line(&format!("           {program} token --data {data} --sub {USER} --role moderator"))?;
        }
        None => {
            output::line(&format!("  Page     {url}/"))?;
            output::line("           the owner of the private key signs tokens")?;
        }
    }
    if secret.is_some() {
        output::line(&format!(
            "  Try      curl {url}/api/events -H 'Content-Type: application/json' \\\n             \
             -H \"Authorization: Bearer $({program} token --data {data} --sub ann)\" \\\n             \
             -d '{{\"userId\":\"ann\",\"postId\":\"hello\",\"type\":\"like\"}}'"
        ))?;
    }
    output::line(&format!("  API      {url}/docs"))?;
    output::line("  Stop     Ctrl-C")
}

fn page_token(config: &Config, secret: &Secret) -> Result<String> {
    let user = UserId::new(USER).map_err(|e| Error::fatal(format!("{USER} {e}")))?;
    let (roles, scopes) = (["moderator".to_owned()], [access::WRITE_ANY.to_owned()]);
    gateway::sign(&config.jwt, secret, &Bearer { user: &user, roles: &roles, scopes: &scopes }, TTL)
}

/// The address at which this machine reaches itself.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        false => address,
    }
}

/// The program's name as it was called.
fn program() -> String {
    word(&std::env::args().next().unwrap_or_else(|| "feedkit".to_owned()))
}

/// A word, quoted for a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-~:@+".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        for (text, quoted) in
            [("a/b-c.d", "a/b-c.d"), ("my data", "'my data'"), ("it's", r"'it'\''s'"), ("", "''")]
        {
            assert_eq!(word(text), quoted);
        }
    }

    #[test]
    fn an_address_of_all_is_reached_on_this_machine() {
        let shown = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(shown("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(shown("[::]:80"), "127.0.0.1:80");
        assert_eq!(shown("10.1.2.3:80"), "10.1.2.3:80");
    }
}
