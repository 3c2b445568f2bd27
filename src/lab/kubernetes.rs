//! A Kubernetes API server over the rack: nodes whose kubelets are the rack's machines, pods that are scheduled, evicted and restarted,
//! budgets, leases, watches. A subset, but what it answers is what an API server answers; `kubectl` works with it.
pub mod addons;
mod api;
mod content;
mod control;
mod discovery;
mod evict;
mod nmo;
mod patch;
mod store;

use super::{rack::Rack, tls::Tls};
use addons::Addons;
use base64::Engine as _;
use control::Control;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use store::Store;
use tokio::net::TcpListener;

/// What every request and the controllers share.
#[derive(Clone)]
struct Server {
    rack: Rack,
    /// Node name and machine name.
    nodes: Arc<Vec<(String, String)>>,
    store: Arc<Mutex<Store>>,
    token: Arc<str>,
    addons: Addons,
}

impl Server {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("BUG: a holder of the store panicked")
    }
    fn machine(&self, node: &str) -> &str {
        self.nodes.iter().find(|(n, _)| n == node).map_or("", |(_, m)| m)
    }
}

/// Serves until dropped. `nodes`: each node's name in this cluster, and the machine it runs on.
pub async fn serve(rack: Rack, nodes: Vec<(String, String)>, listener: TcpListener, tls: &Tls, token: &str) -> io::Result<()> {
    serve_with(rack, nodes, listener, tls, token, Addons::default()).await
}

/// The same, with operators installed.
pub async fn serve_with(rack: Rack, nodes: Vec<(String, String)>, listener: TcpListener, tls: &Tls, token: &str, addons: Addons) -> io::Result<()> {
    let mut store = Store::default();
    content::fill(&mut store, &rack, &nodes);
    if addons.node_maintenance {
        content::namespace(&mut store, nmo::NAMESPACE);
    }
    let server = Server { rack, nodes: Arc::new(nodes), store: Arc::new(Mutex::new(store)), token: token.into(), addons };
    let mut operator = nmo::Operator::default();
    let mut control = Control::new(&server);
    control.tick(&server);
    let controllers = {
        let server = server.clone();
        async move {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                control.tick(&server);
                operator.tick(&server);
            }
        }
    };
    let router = axum::Router::new().fallback(api::handle).with_state(server);
    tokio::select! {
        served = super::tls::serve(listener, router, tls) => served,
        () = controllers => Ok(()),
    }
}

/// A kubeconfig for the server at `address`; its context is called `cluster`.
pub fn kubeconfig(cluster: &str, address: SocketAddr, tls: &Tls, token: &str) -> String {
    let ca = base64::engine::general_purpose::STANDARD.encode(tls.ca_pem());
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {cluster}\n\
         clusters:\n- name: {cluster}\n  cluster:\n    server: https://{address}\n    certificate-authority-data: {ca}\n\
         users:\n- name: pitstop\n  user:\n    token: {token}\n\
         contexts:\n- name: {cluster}\n  context:\n    cluster: {cluster}\n    user: pitstop\n"
    )
}

/// As the API writes instants: whole seconds.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
/// And as it writes them in leases.
fn now_micro() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
