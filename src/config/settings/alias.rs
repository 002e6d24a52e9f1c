//! Names that are this server: `alias="example.com" "udp:host:5070"`.

use crate::transport::endpoint::Transport;

use super::listen::{AddressText, split_address};

/// A name that is this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Only for this transport, when given.
    pub transport: Option<Transport>,
    /// The host.
    pub host: String,
    /// Only for this port, when given.
    pub port: Option<u16>,
}

impl Alias {
    /// Reads `[proto:]host[:port]`.
    pub fn parse(text: &str) -> Result<Alias, String> {
        let AddressText { transport, host, port } = split_address(text)?;
        Ok(Alias { transport, host: host.to_string(), port })
    }

    /// Whether host and port are meant; without a port of its own it matches all, and port 0 stands for any.
    pub fn matches(&self, host: &[u8], port: u16) -> bool {
        let is_host = self.host.as_bytes().eq_ignore_ascii_case(host);
        is_host && self.port.is_none_or(|mine| port == 0 || mine == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_read() {
        let rows = [
            ("example.com", Some((None, "example.com", None))),
            ("example.com:5070", Some((None, "example.com", Some(5070)))),
            ("tcp:example.com:5070", Some((Some(Transport::Tcp), "example.com", Some(5070)))),
            ("[::1]", Some((None, "[::1]", None))),
            ("", None),
            ("example.com:port", None),
        ];
        for (text, expected) in rows {
            let alias = Alias::parse(text).ok();
            let seen = alias.as_ref().map(|alias| (alias.transport, alias.host.as_str(), alias.port));
            assert_eq!(seen, expected, "{text}");
        }
    }
}
