//! One client's connection: its request, the news of its job, the last reply.

use super::jobs::Submitted;
use super::live::Said;
use super::protocol::{Reply, Request};
use super::shared::Service;
use coordinator::RunError;
use coordinator::server::Clients;
use node::net::{MessageError, Peer, recv_message, send_message};
use quinn::SendStream;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{interval, timeout};

/// How long a client may take for its request, and to take its last reply.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);
/// How often a client that waits is told that the coordinator is alive.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(1);

impl Service {
    /// Serves `clients` until the coordinator is shut down.
    pub async fn serve(self: Arc<Self>, mut clients: Clients) {
        while let Some(peer) = clients.recv().await {
            let service = Arc::clone(&self);
            tokio::spawn(async move {
                let name = peer.name.clone();
                if let Err(error) = service.serve_client(peer).await {
                    tracing::warn!("client {name}: {error}");
                }
            });
        }
    }

    async fn serve_client(self: Arc<Self>, peer: Peer) -> Result<(), MessageError> {
        let (connection, name) = (peer.connection, peer.name);
        let greeted = timeout(CLIENT_LIMIT, async {
            let (send, mut recv) = connection.accept_bi().await.ok()?;
            Some((send, recv_message::<Request>(&mut recv).await))
        });
        let Ok(Some((mut send, request))) = greeted.await else { return Ok(()) };
        let Some(request) = request? else { return Ok(()) };
        tokio::select! {
            told = Box::pin(self.tell(&name, request, &mut send)) => told?,
            // Nobody is left to tell; the job waits for a while.
            _ = connection.closed() => return Ok(()),
        }
        let _ = send.finish();
        // The client closes once it has read the reply.
        let _ = timeout(CLIENT_LIMIT, connection.closed()).await;
        Ok(())
    }

    /// Empties a node. Without a spare the job under way has all of its runs first: it would wait in vain for a node between two of them.
    async fn drain(&self, node: &str) -> Result<(), RunError> {
        let first = self.queue.borrow().front().copied();
        if first.is_some() && !self.handle.has_spare() && self.status().nodes.iter().any(|name| name == node)
        {
            // The sender is `self`, which outlives this call.
            let _ = self.queue.subscribe().wait_for(|queue| queue.front().copied() != first).await;
        }
        self.handle.drain(node).await
    }

    async fn tell(
        self: &Arc<Self>,
        name: &str,
        request: Request,
        send: &mut SendStream,
    ) -> Result<(), MessageError> {
        let attached = match request {
            Request::Status => return send_message(send, &Reply::Status(self.status())).await,
            Request::Drain(node) => {
                let drained = match alive(Box::pin(self.drain(&node)), send).await? {
                    Ok(()) => Reply::Drained,
                    Err(error) => Reply::refused(&error, true),
                };
                return send_message(send, &drained).await;
            }
            Request::Withdraw { job } => return send_message(send, &self.withdraw(job, name).await).await,
            Request::Jobs => {
                let listed = self.jobs().map(|jobs| serde_json::to_string(&jobs));
                let reply = match listed {
                    Ok(Ok(json)) => Reply::Jobs(json),
                    Ok(Err(error)) => Reply::refused(&error, false),
                    Err(error) => Reply::refused(&error, false),
                };
                return send_message(send, &reply).await;
            }
            Request::Compare { job, detached: true, .. } => {
                let reply = match self.submit(job, name, &request) {
                    Submitted::Answered(refused @ Reply::Refused { .. }) => refused,
                    _ => Reply::Kept,
                };
                return send_message(send, &reply).await;
            }
            Request::Watch { job } => self.find(job, name),
            Request::Compare { job, .. } | Request::Serve { job, .. } => self.submit(job, name, &request),
        };
        let mut attached = match attached {
            Submitted::Attached(attached) => attached,
            Submitted::Answered(reply) => return send_message(send, &reply).await,
        };
        // A job may be long, and its request is kept.
        drop(request);
        let mut alive = interval(ALIVE_EVERY);
        loop {
            let said = tokio::select! {
                biased;
                _ = alive.tick() => Said::News(Reply::Alive),
                said = attached.next() => said,
            };
            match said {
                Said::News(reply) => send_message(send, &reply).await?,
                Said::Last(reply) => return send_message(send, &reply).await,
            }
        }
    }
}

/// What `work` yields, while whoever waits for it is told that the coordinator is alive.
async fn alive<T>(
    mut work: Pin<Box<impl Future<Output = T>>>,
    send: &mut SendStream,
) -> Result<T, MessageError> {
    let mut alive = interval(ALIVE_EVERY);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            _ = alive.tick() => send_message(send, &Reply::Alive).await?,
        }
    }
}
