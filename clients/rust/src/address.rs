//! Addresses: what a user writes, checked before any call.

use tonic::Code;

use crate::Error;

/// A checked address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host name or IP address (an IPv6 address without its brackets), and a port.
    Host(String, u16),
    /// The path of a unix socket.
    #[cfg(unix)]
    Unix(String),
}

/// The prefixes that other tools write, which say nothing that the client would honour.
const SCHEMES: [&str; 6] = ["http://", "https://", "grpc://", "grpcs://", "tcp://", "dns:"];

impl Address {
    /// Reads `HOST:PORT`, `[IPV6]:PORT` or, on Unix, `unix:PATH`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, with what to write instead.
    pub(crate) fn parse(written: &str) -> Result<Self, Error> {
        let written = written.trim();
        let refuse =
            |why: String| Err(Error::new(Code::InvalidArgument, format!("address {written:?} {why}")));
        if written.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return refuse("has a space or a control character in it".into());
        }
        if let Some(scheme) = SCHEMES.iter().find(|one| written.to_lowercase().starts_with(*one)) {
            let plain = written[scheme.len()..].trim_matches('/');
            return refuse(format!("has a scheme: write {plain}; TLS is asked for with Builder::tls"));
        }
        #[cfg(unix)]
        if let Some(path) = written.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => refuse("has no path: write unix:PATH".into()),
                path => Ok(Self::Unix(path.to_owned())),
            };
        }
        let Some((host, port)) = written.rsplit_once(':').filter(|(_, port)| !port.is_empty()) else {
            return refuse("has no port: write HOST:PORT, such as localhost:50051".into());
        };
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if bracketed.is_none() && host.contains(':') {
            return refuse("has several colons: write an IPv6 address as [IPV6]:PORT".into());
        }
        let host = bracketed.unwrap_or(host);
        if host.is_empty() {
            return refuse("has no host: write HOST:PORT".into());
        }
        if host.contains(['/', '@', '[', ']', '?', '#', '%']) {
            return refuse("has a host with a character that no host name has".into());
        }
        match port.parse() {
            Ok(number) if number > 0 && port.bytes().all(|c| c.is_ascii_digit()) => {
                Ok(Self::Host(host.to_owned(), number))
            }
            _ => refuse(format!("has the port {port:?}, not one from 1 to 65535")),
        }
    }

    /// What HTTP/2 calls the authority, whose host TLS checks by default.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Host(host, port) if host.contains(':') => format!("[{host}]:{port}"),
            Self::Host(host, port) => format!("{host}:{port}"),
            #[cfg(unix)]
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_addresses_are_read() {
        for (written, host, port, authority) in [
            (" localhost:50051\n", "localhost", 50051, "localhost:50051"),
            ("127.0.0.1:1", "127.0.0.1", 1, "127.0.0.1:1"),
            ("[::1]:65535", "::1", 65535, "[::1]:65535"),
        ] {
            let address = Address::parse(written).unwrap();
            assert_eq!(Address::Host(host.into(), port), address);
            assert_eq!(authority, address.authority());
        }
    }

    #[cfg(unix)]
    #[test]
    fn unix_sockets_are_read() {
        for written in ["unix:/run/semserve", "unix:///run/semserve"] {
            assert_eq!(Address::Unix("/run/semserve".into()), Address::parse(written).unwrap());
        }
        assert!(Address::parse("unix:").is_err());
    }

    #[test]
    fn bad_addresses_are_refused_with_what_to_write() {
        for (written, told) in [
            ("", "no port"),
            ("localhost", "no port"),
            ("localhost:", "no port"),
            (":50051", "no host"),
            ("[]:50051", "no host"),
            ("::1:50051", "[IPV6]:PORT"),
            ("localhost:0", "from 1 to 65535"),
            ("localhost:+80", "from 1 to 65535"),
            ("localhost:99999", "from 1 to 65535"),
            ("local host:1", "a space"),
            ("user@host:1", "no host name has"),
            ("HTTPS://host:1/", "write host:1;"),
        ] {
            let error = Address::parse(written).unwrap_err();
            assert_eq!(Code::InvalidArgument, error.code());
            assert!(error.message().contains(told), "{error}");
        }
    }
}
