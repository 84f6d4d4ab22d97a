//! Balancing: the servers behind a client's addresses, in turn, those that are healthy first.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::Error;
use crate::address::Address;
use crate::connection::{Connection, Credentials, Place};
use crate::retry::backoff;

/// The least time between two resolutions of the names among the addresses.
const RESOLUTION_INTERVAL: Duration = Duration::from_secs(5);
/// How long a server that a call found unavailable comes after the others.
const AVOIDANCE: Duration = Duration::from_secs(1);
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The servers of a client. Names are resolved at the first call, and again after a failure.
pub(crate) struct Balancer {
    addresses: Vec<Address>,
    credentials: Credentials,
    turn: AtomicUsize,
    servers: RwLock<Arc<[Arc<Server>]>>,
    resolved: tokio::sync::Mutex<Option<Instant>>,
    /// Whether a server was unavailable since the last resolution.
    suspect: AtomicBool,
}

/// One server that an address resolves to.
pub(crate) struct Server {
    pub(crate) connection: Connection,
    address: Address,
    place: Place,
    down: Arc<AtomicBool>,
    avoided_until: Mutex<Instant>,
    watcher: Mutex<Option<AbortHandle>>,
}

impl Balancer {
    pub(crate) fn new(addresses: Vec<Address>, credentials: Credentials) -> Self {
        Self {
            addresses,
            credentials,
            turn: AtomicUsize::new(0),
            servers: RwLock::new(Arc::new([])),
            resolved: tokio::sync::Mutex::new(None),
            suspect: AtomicBool::new(false),
        }
    }

    /// The server whose turn it is. Those that are down come after all others, and among equals the one to
    /// avoid, which is where the last attempt failed, comes last.
    pub(crate) async fn pick(&self, avoid: Option<&Arc<Server>>) -> Result<Arc<Server>, Error> {
        let servers = self.servers().await?;
        let start = self.turn.fetch_add(1, Ordering::Relaxed);
        (0..servers.len())
            .map(|step| &servers[start.wrapping_add(step) % servers.len()])
            .min_by_key(|server| {
                let avoided = avoid.is_some_and(|one| Arc::ptr_eq(one, server));
                (server.is_down(), avoided)
            })
            .cloned()
            .ok_or_else(|| Error::new(Code::Unavailable, "the name of the server has no address"))
    }

    /// Notes that a call found a server unavailable. Its name may have moved, too.
    pub(crate) fn suspect(&self, server: &Server) {
        self.suspect.store(true, Ordering::Relaxed);
        *server.avoided_until.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + AVOIDANCE;
    }

    /// Whether a server other than this one is up.
    pub(crate) fn has_another(&self, server: &Server) -> bool {
        self.known().iter().any(|one| !std::ptr::eq(&**one, server) && !one.is_down())
    }

    async fn servers(&self) -> Result<Arc<[Arc<Server>]>, Error> {
        let known = self.known();
        if !known.is_empty() && !self.suspect.load(Ordering::Relaxed) {
            return Ok(known);
        }
        let mut resolved = self.resolved.lock().await;
        let known = self.known(); // another call may have resolved in the meantime
        if !known.is_empty() && resolved.is_some_and(|then| then.elapsed() < RESOLUTION_INTERVAL) {
            return Ok(known);
        }
        self.suspect.store(false, Ordering::Relaxed);
        let fresh = match self.resolve(&known).await {
            Ok(fresh) => fresh,
            Err(_) if !known.is_empty() => known,
            Err(error) => return Err(error),
        };
        *resolved = Some(Instant::now());
        *self.servers.write().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        Ok(fresh)
    }

    fn known(&self) -> Arc<[Arc<Server>]> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Resolves every address; servers that are known already keep their connections. An address that
    /// does not resolve is an error only where no other one does.
    async fn resolve(&self, known: &[Arc<Server>]) -> Result<Arc<[Arc<Server>]>, Error> {
        let mut servers: Vec<Arc<Server>> = Vec::new();
        let mut failed = None;
        for address in &self.addresses {
            let places = match address {
                Address::Host(host, port) => match tokio::net::lookup_host((host.as_str(), *port)).await {
                    Ok(places) => places.map(Place::Tcp).collect(),
                    Err(error) => {
                        let told = format!("{} does not resolve: {error}", address.authority());
                        failed = Some(Error::new(Code::Unavailable, told));
                        continue;
                    }
                },
                #[cfg(unix)]
                Address::Unix(path) => vec![Place::Unix(path.clone())],
            };
            for place in places {
                let same = |one: &&Arc<Server>| one.place == place && one.address == *address;
                if servers.iter().any(|one| same(&one)) {
                    continue;
                }
                servers.push(match known.iter().find(same) {
                    Some(server) => server.clone(),
                    None => Arc::new(Server::new(address, place, &self.credentials)?),
                });
            }
        }
        if let Some(error) = failed.filter(|_| servers.is_empty()) {
            return Err(error);
        }
        if servers.len() > 1 {
            servers.iter().for_each(|server| server.watch());
        }
        Ok(servers.into())
    }
}

impl Server {
    fn new(address: &Address, place: Place, credentials: &Credentials) -> Result<Self, Error> {
        Ok(Self {
            connection: Connection::lazy(address, place.clone(), credentials)?,
            address: address.clone(),
            place,
            down: Arc::new(AtomicBool::new(false)),
            avoided_until: Mutex::new(Instant::now()),
            watcher: Mutex::new(None),
        })
    }

    fn is_down(&self) -> bool {
        let avoided_until = *self.avoided_until.lock().unwrap_or_else(PoisonError::into_inner);
        self.down.load(Ordering::Relaxed) || Instant::now() < avoided_until
    }

    /// Watches the server's health until the server is dropped.
    fn watch(&self) {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if watcher.is_none() {
            let task = tokio::spawn(watch(self.connection.clone(), self.down.clone()));
            *watcher = Some(task.abort_handle());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let watcher = self.watcher.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = watcher.take() {
            task.abort();
        }
    }
}

/// Follows the health of a server. One that cannot be reached, or that says that it does not serve, is
/// down; one that does not tell its health is not.
async fn watch(connection: Connection, down: Arc<AtomicBool>) {
    let mut failures = 0;
    loop {
        let ended = follow(&connection, &down, &mut failures).await;
        match ended.map(|status| (status.code(), Error::from(status).code())) {
            Some((Code::Unimplemented, _)) => return down.store(false, Ordering::Relaxed),
            Some((_, Code::Unavailable)) | None => down.store(true, Ordering::Relaxed),
            Some(_) => down.store(false, Ordering::Relaxed),
        }
        failures += 1;
        tokio::time::sleep(backoff(failures)).await;
    }
}

/// Reads one stream of healths, and gives the status that ended it.
async fn follow(connection: &Connection, down: &AtomicBool, failures: &mut u32) -> Option<Status> {
    let whole = HealthCheckRequest::default(); // no name: the server as a whole
    let mut healths = match connection.watch::<_, HealthCheckResponse>(WATCH, whole).await {
        Ok(healths) => healths,
        Err(status) => return Some(status),
    };
    loop {
        match healths.message().await {
            Ok(Some(health)) => {
                down.store(health.status() != ServingStatus::Serving, Ordering::Relaxed);
                *failures = 0;
            }
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}
