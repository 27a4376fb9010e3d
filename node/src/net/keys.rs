//! What an endpoint shows and trusts now: certificate, key and list of removed names are taken up from their files when those change, for
//! all connections that begin after that.
//!
//! The files are looked at once a second, not when a connection begins: so strangers cause no reading, a process without new connections
//! is warned of its certificate's end too, and connections of a name that was removed can be closed.

use super::identity::{Identity, verify};
use super::pem_files::days;
use super::tls::{self, TlsError};
use super::validity::RENEW_WITHIN;
use quinn::{ClientConfig, Endpoint, ServerConfig, TransportConfig};
use rustls::pki_types::{CertificateDer, UnixTime};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// First packets that wait for their token.
const INCOMING_MAX: usize = 1024;
/// Bytes that may follow one of them meanwhile.
const INCOMING_BYTES_MAX: u64 = 16 << 10;

/// Both sides of a handshake.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) client: ClientConfig,
    /// None for a client, which only dials.
    pub(super) server: Option<ServerConfig>,
    identity: Identity,
    transport: Arc<TransportConfig>,
}

/// The keys in use, and the task that renews them; it ends with this.
#[derive(Debug)]
pub(super) struct KeysInUse {
    now: watch::Receiver<Keys>,
    task: JoinHandle<()>,
}

/// When a file was written, and how long it is; `None` where it is not there.
type Stamp = Option<(SystemTime, u64)>;

impl Keys {
    /// As its files say now, where `identity` has some that can be used; else as it is.
    pub(super) fn new(identity: &Identity, transport: Arc<TransportConfig>) -> Result<Self, TlsError> {
        let identity = identity.again().unwrap_or_else(|_| identity.clone());
        let mut server = None;
        if identity.role().serves() {
            server
                .insert(ServerConfig::with_crypto(Arc::new(tls::server_config(&identity)?)))
                .transport_config(Arc::clone(&transport))
                .max_incoming(INCOMING_MAX)
                .incoming_buffer_size(INCOMING_BYTES_MAX)
                .incoming_buffer_size_total(INCOMING_BYTES_MAX * INCOMING_MAX as u64);
        }
        Ok(Self { client: client(&identity, &transport)?, server, identity, transport })
    }

    /// The same with another certificate. The key of tokens stays: who was just given one may come with it.
    fn with(mut self, identity: Identity) -> Result<Self, TlsError> {
        if let Some(server) = &mut self.server {
            server.crypto = Arc::new(tls::server_config(&identity)?);
        }
        Ok(Self { client: client(&identity, &self.transport)?, identity, ..self })
    }

    /// Whether `shown` is of a name that was removed.
    fn refuses(&self, shown: &CertificateDer<'_>) -> bool {
        let (trusted, removed) = (self.identity.trusted(), self.identity.removed());
        matches!(verify(shown, trusted, removed, UnixTime::now()), Err(webpki::Error::CertRevoked))
    }
}

fn client(identity: &Identity, transport: &Arc<TransportConfig>) -> Result<ClientConfig, TlsError> {
    let mut client = ClientConfig::new(Arc::new(tls::client_config(identity)?));
    client.transport_config(Arc::clone(transport));
    Ok(client)
}

impl KeysInUse {
    /// Has `quic` take up what the files of `keys` say, as long as this is there.
    pub(super) fn renewing(keys: Keys, quic: Endpoint) -> Self {
        let (renewed, now) = watch::channel(keys);
        Self { now, task: tokio::spawn(renew(renewed, quic)) }
    }

    pub(super) fn client(&self) -> ClientConfig {
        self.now.borrow().client.clone()
    }

    /// Returns once other keys were taken up.
    #[cfg(test)]
    pub(super) async fn renewed(&self) {
        let mut now = self.now.clone();
        let before = now.borrow().identity.state();
        now.wait_for(|keys| keys.identity.state() != before).await.expect("the task goes on");
    }

    /// Returns once the name in `shown` is removed. Cancel safe.
    pub(super) async fn removed(&self, shown: &CertificateDer<'_>) {
        let mut now = self.now.clone();
        while !now.borrow_and_update().refuses(shown) {
            if now.changed().await.is_err() {
                // There will be no other list.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for KeysInUse {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks at the files again and again.
async fn renew(renewed: watch::Sender<Keys>, quic: Endpoint) {
    let files = renewed.borrow().identity.files();
    if files.is_empty() {
        return;
    }
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What was read last, whether or not it could be used, and what was found at the look before.
    let (mut taken, mut before) = (Vec::new(), Vec::new());
    loop {
        look.tick().await;
        warn_of_end(&renewed.borrow().identity);
        let found = stamps(&files).await;
        // Key and certificate are two files: they are read once neither has changed for a while.
        if found != taken && found == before {
            let keys = renewed.borrow().clone();
            match take_up(&keys).await {
                Ok(None) => {}
                Ok(Some(keys)) => {
                    quic.set_server_config(keys.server.clone());
                    renewed.send_replace(keys);
                }
                Err(problem) => {
                    if keys.identity.is_news("problem", problem.clone()) {
                        tracing::error!("{problem}; going on with the certificate as it was");
                    }
                }
            }
            taken.clone_from(&found);
        }
        before = found;
    }
}

/// Keys as the files say, if they say something new.
async fn take_up(keys: &Keys) -> Result<Option<Keys>, String> {
    let before = keys.identity.clone();
    let read = tokio::task::spawn_blocking(move || before.again()).await;
    let found = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    if found.is_same(&keys.identity) {
        return Ok(None);
    }
    let what = if found.chain() == keys.identity.chain() { "list of removed names" } else { "certificate" };
    let renewed = keys.clone().with(found).map_err(|error| error.to_string())?;
    if renewed.identity.is_news("taken up", renewed.identity.state()) {
        tracing::info!(
            "the new {what} of {} is taken up: connections go by it from now on",
            renewed.identity.name()
        );
    }
    Ok(Some(renewed))
}

async fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let mut stamps = Vec::new();
    for file in files {
        let metadata = tokio::fs::metadata(file).await;
        stamps.push(metadata.and_then(|found| Ok((found.modified()?, found.len()))).ok());
    }
    stamps
}

/// Says once a day that a certificate is about to end.
fn warn_of_end(identity: &Identity) {
    let name = identity.name();
    let warning = match identity.left() {
        Ok(left) if left > RENEW_WITHIN => return,
        Ok(left) => format!("the certificate of {name} ends in {}", days(left)),
        Err(ago) => format!(
            "the certificate of {name} ended {} ago: no new connection will be made with it",
            days(ago)
        ),
    };
    if identity.is_news("end", warning.clone()) {
        tracing::warn!("{warning}; renew it with `railyard certs DIR --renew` where the authority's key is");
    }
}
