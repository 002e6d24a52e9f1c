//! Where to listen: `[proto:]addr[:port]`, with addresses, host names and names of interfaces made into sockets.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use super::{ListenerSetting, parse_address};
use crate::script::ast::SocketLiteral;
use crate::transport::endpoint::Transport;

/// `[proto:]host[:port]`, split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressText<'a> {
    /// The transport, when given.
    pub transport: Option<Transport>,
    /// The host as written, brackets included.
    pub host: &'a str,
    /// The port, when given.
    pub port: Option<u16>,
}

/// What names and interfaces stand for: the world, given from outside so that tests bring their own.
pub trait Resolver {
    /// Addresses of the interface of this name; empty when there is none.
    fn interface(&self, name: &str) -> Vec<IpAddr>;
    /// Addresses of every interface.
    fn every_interface(&self) -> Vec<IpAddr>;
    /// Addresses of a host.
    fn host(&self, name: &str) -> Vec<IpAddr>;
}

/// The machine this runs on.
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn interface(&self, name: &str) -> Vec<IpAddr> {
        let addresses = crate::sys::interfaces::addresses().unwrap_or_default();
        addresses
            .into_iter()
            .filter(|one| one.name == name && is_bindable(one.address))
            .map(|one| one.address)
            .collect()
    }

    fn every_interface(&self) -> Vec<IpAddr> {
        let addresses = crate::sys::interfaces::addresses().unwrap_or_default();
        addresses.into_iter().map(|one| one.address).filter(|&address| is_bindable(address)).collect()
    }

    fn host(&self, name: &str) -> Vec<IpAddr> {
        let found = (name, 0).to_socket_addrs();
        found.map(|addresses| addresses.map(|address| address.ip()).collect()).unwrap_or_default()
    }
}

/// Every name is this machine's loopback.
pub struct LoopbackResolver;

impl Resolver for LoopbackResolver {
    fn interface(&self, _: &str) -> Vec<IpAddr> {
        self.every_interface()
    }

    fn every_interface(&self) -> Vec<IpAddr> {
        vec![IpAddr::from([127, 0, 0, 1])]
    }

    fn host(&self, _: &str) -> Vec<IpAddr> {
        self.every_interface()
    }
}

/// Loopback of the same family, at a port the kernel chooses.
pub fn loopback_of(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
        SocketAddr::V6(_) => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)),
    }
}

/// Link-local IPv6 addresses need a scope to be bound; the original leaves them out too.
fn is_bindable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}

/// Splits `[proto:]host[:port]`.
pub fn split_address(text: &str) -> Result<AddressText<'_>, String> {
    let text = text.trim();
    let (transport, rest) = split_transport(text)?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (_, after) =
                inner.split_once(']').ok_or_else(|| format!("\"{text}\" lacks a closing bracket"))?;
            (
                &rest[..rest.len() - after.len()],
                after.strip_prefix(':').or((!after.is_empty()).then_some(after)),
            )
        }
        // More than one colon without brackets: an IPv6 address as it stands.
        None if rest.matches(':').count() > 1 => (rest, None),
        None => match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        },
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(format!("\"{text}\" has no host"));
    }
    let port = port.map(|port| port.parse().map_err(|_| format!("\"{port}\" in \"{text}\" is not a port")));
    Ok(AddressText { transport, host: if host == "*" { "0.0.0.0" } else { host }, port: port.transpose()? })
}

fn split_transport(text: &str) -> Result<(Option<Transport>, &str), String> {
    let Some((word, rest)) = text.split_once(':') else { return Ok((None, text)) };
    match word.to_ascii_lowercase().as_str() {
        "udp" => Ok((Some(Transport::Udp), rest)),
        "tcp" => Ok((Some(Transport::Tcp), rest)),
        "tls" => Ok((Some(Transport::Tls), rest)),
        "sctp" => Err("sctp is not supported here".to_string()),
        _ => Ok((None, text)),
    }
}

/// A listen line of the command line, `[proto:]addr[:port][/advertise[:port]][/name]`, as the script would write it.
pub fn parse_command_line(text: &str) -> Result<SocketLiteral, String> {
    let mut parts = text.split('/');
    let bind = parts.next().unwrap_or_default().trim();
    let mut more = || parts.next().map(str::trim).filter(|part| !part.is_empty()).map(str::to_string);
    let literal =
        SocketLiteral { bind: bind.to_string(), advertise: more(), name: more(), is_virtual: false };
    if parts.next().is_some() {
        return Err(format!("\"{text}\" has more than address, advertised address and name"));
    }
    split_address(&literal.bind)?;
    Ok(literal)
}

/// What a socket literal stands for: one listener per address. Without a transport it is UDP.
pub fn resolve(
    literal: &SocketLiteral,
    receivers: Option<u32>,
    default_port: u16,
    resolver: &dyn Resolver,
) -> Result<Vec<ListenerSetting>, String> {
    let text = split_address(&literal.bind)?;
    let port = text.port.unwrap_or(default_port);
    let advertise = literal.advertise.as_deref().map(split_advertise).transpose()?;
    let addresses = addresses_of(text.host, resolver)?;
    let listener = |address| ListenerSetting {
        transport: text.transport.unwrap_or(Transport::Udp),
        address: SocketAddr::new(address, port),
        advertise: advertise.clone(),
        name: literal.name.clone(),
        receivers,
    };
    Ok(addresses.into_iter().map(listener).collect())
}

fn split_advertise(text: &str) -> Result<(String, Option<u16>), String> {
    let text = split_address(text)?;
    Ok((text.host.to_string(), text.port))
}

fn addresses_of(host: &str, resolver: &dyn Resolver) -> Result<Vec<IpAddr>, String> {
    if let Some(address) = parse_address(host.as_bytes()) {
        return Ok(vec![address]);
    }
    let of_interface = resolver.interface(host);
    if !of_interface.is_empty() {
        return Ok(of_interface);
    }
    let of_host = resolver.host(host);
    let best = of_host.iter().find(|address| address.is_ipv4()).or(of_host.first());
    best.map(|&address| vec![address])
        .ok_or_else(|| format!("could not resolve \"{host}\": no such address, interface or host"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A machine with two interfaces and two hosts.
    pub(crate) struct TestMachine;

    impl Resolver for TestMachine {
        fn interface(&self, name: &str) -> Vec<IpAddr> {
            match name {
                "eth0" => addresses(&["10.0.0.1", "2001:db8::1"]),
                "lo" => addresses(&["127.0.0.1"]),
                _ => vec![],
            }
        }

        fn every_interface(&self) -> Vec<IpAddr> {
            addresses(&["127.0.0.1", "10.0.0.1", "2001:db8::1"])
        }

        fn host(&self, name: &str) -> Vec<IpAddr> {
            match name {
                "dual.example" => addresses(&["::1", "192.0.2.7"]),
                "six.example" => addresses(&["2001:db8::9"]),
                _ => vec![],
            }
        }
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn check(bind: &str, expected: Result<&[&str], &str>) {
        let literal = SocketLiteral { bind: bind.to_string(), ..SocketLiteral::default() };
        let resolved = resolve(&literal, None, 5060, &TestMachine);
        let shown = resolved.map(|all| {
            all.iter().map(|one| format!("{}:{}", one.transport.name(), one.address)).collect::<Vec<_>>()
        });
        match (shown, expected) {
            (Ok(shown), Ok(expected)) => assert_eq!(shown, expected, "{bind}"),
            (Err(reason), Err(expected)) => assert_eq!(reason, expected, "{bind}"),
            (shown, expected) => panic!("{bind}: {shown:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn every_form_becomes_sockets() {
        check("127.0.0.1", Ok(&["udp:127.0.0.1:5060"]));
        check("udp:127.0.0.1:5070", Ok(&["udp:127.0.0.1:5070"]));
        check("UDP:127.0.0.1:0", Ok(&["udp:127.0.0.1:0"]));
        check("tcp:10.0.0.1", Ok(&["tcp:10.0.0.1:5060"]));
        check("[::1]", Ok(&["udp:[::1]:5060"]));
        check("udp:[2001:db8::1]:5080", Ok(&["udp:[2001:db8::1]:5080"]));
        check("::1", Ok(&["udp:[::1]:5060"]));
        check("eth0", Ok(&["udp:10.0.0.1:5060", "udp:[2001:db8::1]:5060"]));
        check("tls:eth0:5061", Ok(&["tls:10.0.0.1:5061", "tls:[2001:db8::1]:5061"]));
        check("dual.example:5062", Ok(&["udp:192.0.2.7:5062"]));
        check("six.example", Ok(&["udp:[2001:db8::9]:5060"]));
        check("*:5060", Ok(&["udp:0.0.0.0:5060"]));
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused_with_the_reason() {
        check(
            "nowhere.example",
            Err("could not resolve \"nowhere.example\": no such address, interface or host"),
        );
        check("127.0.0.1:port", Err("\"port\" in \"127.0.0.1:port\" is not a port"));
        check("127.0.0.1:70000", Err("\"70000\" in \"127.0.0.1:70000\" is not a port"));
        check("[::1", Err("\"[::1\" lacks a closing bracket"));
        check("[::1]x", Err("\"x\" in \"[::1]x\" is not a port"));
        check("udp::5060", Err("\"udp::5060\" has no host"));
        check("", Err("\"\" has no host"));
        check("sctp:127.0.0.1", Err("sctp is not supported here"));
    }

    #[test]
    fn the_command_line_names_address_advertised_and_name() {
        let literal = |bind: &str, advertise: Option<&str>, name: Option<&str>| SocketLiteral {
            bind: bind.to_string(),
            advertise: advertise.map(str::to_string),
            name: name.map(str::to_string),
            is_virtual: false,
        };
        let rows = [
            ("udp:127.0.0.1:5060", Some(literal("udp:127.0.0.1:5060", None, None))),
            ("127.0.0.1/a.example:5070", Some(literal("127.0.0.1", Some("a.example:5070"), None))),
            ("127.0.0.1/a.example/s1", Some(literal("127.0.0.1", Some("a.example"), Some("s1")))),
            ("127.0.0.1//s1", Some(literal("127.0.0.1", None, Some("s1")))),
            ("127.0.0.1/a/b/c", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_command_line(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn advertised_address_and_name_stay_with_the_socket() {
        let literal = SocketLiteral {
            bind: "127.0.0.1".to_string(),
            advertise: Some("udp:public.example:5099".to_string()),
            name: Some("s1".to_string()),
            is_virtual: false,
        };
        let listeners = resolve(&literal, Some(3), 5060, &TestMachine).unwrap();
        assert_eq!(listeners[0].advertise, Some(("public.example".to_string(), Some(5099))));
        assert_eq!((listeners[0].name.as_deref(), listeners[0].receivers), (Some("s1"), Some(3)));
    }
}
