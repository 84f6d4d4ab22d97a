//! The client and how it is made.

use std::sync::Arc;
use std::time::Duration;

use tonic::Code;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::ClientTlsConfig;

use crate::Error;
use crate::address::Address;
use crate::balance::Balancer;
use crate::connection::Credentials;
use crate::retry::Throttle;
use crate::stream::DEFAULT_IN_FLIGHT;

/// The deadline of a call that sets none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of semserve. Clones share its connections; one is enough for a program.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) balancer: Balancer,
    pub(crate) throttle: Throttle,
    pub(crate) timeout: Duration,
    pub(crate) in_flight: usize,
}

impl Client {
    /// Makes a client for the server at the address: `HOST:PORT`, `[IPV6]:PORT`, or `unix:PATH`. It does
    /// not wait for the server: the first call connects.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`: the address cannot be used.
    pub fn new(address: impl Into<String>) -> Result<Self, Error> {
        Self::builder([address]).build()
    }

    /// Makes a client for one server or for several that serve the same: calls go to each in turn, those
    /// that are healthy first.
    pub fn builder(addresses: impl IntoIterator<Item = impl Into<String>>) -> Builder {
        Builder {
            addresses: addresses.into_iter().map(Into::into).collect(),
            tls: None,
            key: String::new(),
            timeout: DEFAULT_TIMEOUT,
            in_flight: DEFAULT_IN_FLIGHT,
        }
    }
}

/// What a client is made of.
#[must_use = "a builder does nothing until it is built"]
pub struct Builder {
    addresses: Vec<String>,
    tls: Option<ClientTlsConfig>,
    key: String,
    timeout: Duration,
    in_flight: usize,
}

impl Builder {
    /// Encrypts the connections. Without it the client speaks plain text.
    pub fn tls(mut self, config: ClientTlsConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Sends an API key with every call, without the white space that a file has around it; an empty key
    /// is none. Without [`Builder::tls`] the network can read it.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// The deadline of calls that set none; [`DEFAULT_TIMEOUT`] if left out.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The most requests of one stream that have no answer yet, from 1; [`DEFAULT_IN_FLIGHT`] if left
    /// out. They are kept to be sent again.
    pub fn in_flight(mut self, requests: usize) -> Self {
        self.in_flight = requests;
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`: an address, the key or a number cannot be used; the message says why.
    pub fn build(self) -> Result<Client, Error> {
        let refuse = |why| Err(Error::new(Code::InvalidArgument, why));
        if self.addresses.is_empty() {
            return refuse("there is no address");
        }
        if self.in_flight == 0 {
            return refuse("in_flight is 0, not 1 or more");
        }
        if self.timeout.is_zero() {
            return refuse("timeout is 0, which no call can meet");
        }
        let addresses = self.addresses.iter().map(|one| Address::parse(one)).collect::<Result<_, _>>()?;
        let credentials = Credentials { tls: self.tls, authorization: bearer(&self.key)? };
        Ok(Client(Arc::new(Shared {
            balancer: Balancer::new(addresses, credentials),
            throttle: Throttle::new(),
            timeout: self.timeout,
            in_flight: self.in_flight,
        })))
    }
}

/// The header of a key.
fn bearer(key: &str) -> Result<Option<MetadataValue<Ascii>>, Error> {
    let key = key.trim();
    if key.is_empty() {
        return Ok(None);
    }
    let unusable = "the key has a character that is not printable ASCII, or a space";
    let refused = || Error::new(Code::InvalidArgument, unusable);
    if !key.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(refused());
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {key}").parse().map_err(|_| refused())?;
    value.set_sensitive(true); // kept out of logs and of header compression
    Ok(Some(value))
}
