//! The hosts that a server without an access token answers to. A page of another site can make a browser send requests here
//! under a name of its own (DNS rebinding); the name is then that site's, in the header `Host`.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use std::borrow::Cow;
use std::net::IpAddr;

/// Names and addresses of this server.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// The address that the server listens on.
    listening: IpAddr,
    /// Further names, in lower case, without ports.
    named: Vec<String>,
}

impl Hosts {
    /// `named` may have ports, which are ignored.
    pub(crate) fn new(listening: IpAddr, named: &[String]) -> Self {
        let named = named.iter().map(|host| name(host.trim())).filter(|host| !host.is_empty()).collect();
        Self { listening, named }
    }

    /// The first host of a request that is not this server's, from `Host` and from an absolute address. A request without
    /// any comes from no browser.
    pub(crate) fn foreign(&self, headers: &HeaderMap, uri: &Uri) -> Option<String> {
        let headers =
            headers.get_all(header::HOST).iter().map(|host| String::from_utf8_lossy(host.as_bytes()));
        let authority = uri.authority().map(|authority| authority.as_str().into());
        headers.chain(authority).find(|host| !self.is_ours(host)).map(Cow::into_owned)
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = name(host);
        if let Ok(address) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback()
                || address == self.listening.to_canonical()
                || self.named.contains(&name);
        }
        name == "localhost" || name.ends_with(".localhost") || self.named.contains(&name)
    }
}

/// A host without its port and without the dot of a complete name, in lower case; empty if it is none.
fn name(host: &str) -> String {
    let Ok(authority) = host.parse::<Authority>() else { return String::new() };
    let name = authority.host();
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::Hosts;

    #[test]
    fn loopback_names_the_listening_address_and_named_hosts_are_ours() {
        let named = ["Diff-Contrast.example:443".to_owned(), " 10.0.0.7 ".to_owned(), String::new()];
        let hosts = Hosts::new("192.0.2.1".parse().expect("an address"), &named);
        for ours in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "a.localhost:1",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.8.8.8",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:80",
            "192.0.2.1:8080",
            "diff-contrast.example",
            "diff-contrast.example.:8443",
            "10.0.0.7:80",
        ] {
            assert!(hosts.is_ours(ours), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "192.0.2.2",
            "[2001:db8::1]:8080",
            "0.0.0.0:8080",
            "localhost@evil.example",
            "evil.example:80:8080",
            ":8080",
            "127.0.0.1:8080@evil.example",
        ] {
            assert!(!hosts.is_ours(foreign), "{foreign}");
        }
    }
}
