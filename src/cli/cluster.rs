//! The flags of a cluster: who makes it, who joins it, who asks it.

use clap::Args;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use study::gauge::Gauging;
use study::layer::LayerArgs;

/// A host, or its address (of version 6 in brackets), and a port.
fn host_port(text: &str) -> Result<String, String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty()
            && (bracketed || !host.contains(':'))
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if good {
        Ok(text.to_owned())
    } else {
        Err("give a host and a port, as in coordinator:7000, 10.0.0.7:7000 or [fd00::7]:7000".to_owned())
    }
}

/// A cluster that is running.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Run on the cluster of this coordinator
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_parser = host_port,
        env = "RAILYARD_CLUSTER",
        requires = "certs",
        help_heading = "Run"
    )]
    pub(crate) cluster: Option<String>,
    /// Directory with ca.pem and this client's certificate (with --cluster)
    #[arg(long, value_name = "DIR", env = "RAILYARD_CERTS", help_heading = "Run")]
    pub(crate) certs: Option<PathBuf>,
    /// Name of the client's certificate (with --cluster)
    #[arg(long, value_name = "NAME", default_value = "cli", help_heading = "Run")]
    pub(crate) name: String,
    /// Datagram size; 1452 for networks with an MTU of 1500 (with --cluster)
    #[arg(
        long,
        value_name = "BYTES",
        env = "RAILYARD_DATAGRAM_BYTES",
        default_value_t = 1452,
        help_heading = "Run"
    )]
    pub(crate) datagram_bytes: u16,
    /// Seconds to look for the coordinator again once it is gone; 0: fail then (with --cluster)
    #[arg(long, value_name = "S", default_value_t = 120, help_heading = "Run")]
    pub(crate) rejoin_limit: u32,
}

/// How fast rows go where a comparison starts its own workers.
#[derive(Debug, Args)]
pub(crate) struct GaugeArgs {
    /// Whether this host is measured for a second before rows are paced for it: `auto`, unless it was within a day; `new`, again;
    /// `assumed`, never
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        env = "RAILYARD_GAUGE",
        default_value = "auto",
        help_heading = "Run"
    )]
    pub(crate) gauge: Gauging,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard certs ./certs                                a coordinator, client `cli`, nodes rack0-0 .. rack1-7
  railyard certs ./certs --racks 4 --ranks-per-rack 4
  railyard certs ./certs --node extra-0 --client alice
  railyard certs ./authority --each ./certs             one directory a process: nobody has another's key
  railyard certs ./certs --renew                        new certificates for all that have one
  railyard certs ./certs --remove rack0-3               nobody of this name is let in any more
  railyard certs ./certs --node rack0-3                 ... but with the certificate that it gets now

An authority that is already there is kept, and so are certificates that last 30 days more; new names are added. Running processes take up what changes in their directories within seconds, without a restart; where certificates are copied to other machines, copy them, and ca-removed.pem, again.")]
pub(crate) struct CertsArgs {
    /// Directory to write to
    pub(crate) dir: PathBuf,
    /// Racks whose nodes get certificates, named rack0-0 and so on [default: 2; with --node or --client 0]
    #[arg(long, value_name = "N")]
    pub(crate) racks: Option<u32>,
    /// Nodes in each of them
    #[arg(long, default_value_t = 8, value_name = "N")]
    pub(crate) ranks_per_rack: u32,
    /// A further node; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Vec<String>,
    /// A client besides `cli`; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) client: Vec<String>,
    /// Keep the authority alone in DIR, and give each process a directory of its own in EACH: EACH/NAME has its certificate and key
    #[arg(long, value_name = "EACH")]
    pub(crate) each: Option<PathBuf>,
    /// Days that new certificates are valid
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3653))]
    pub(crate) days: u32,
    /// Renew all certificates that are there
    #[arg(long)]
    pub(crate) renew: bool,
    /// Remove a name from the cluster; may be repeated
    #[arg(long, value_name = "NAME", conflicts_with_all = ["renew", "node", "client", "racks", "ranks_per_rack", "days"])]
    pub(crate) remove: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  railyard certs ./certs
  railyard coordinator --nodes 16 --certs ./certs --out ./out
  railyard node --coordinator localhost:7000 --certs ./certs --name rack0-0     (and 15 more)")]
pub(crate) struct CoordinatorArgs {
    /// UDP address to listen on
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:7000")]
    pub(crate) listen: SocketAddr,
    /// Nodes to wait for before the first comparison
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) nodes: u32,
    /// Directory with ca.pem and coordinator.pem
    #[arg(long, value_name = "DIR", env = "RAILYARD_CERTS")]
    pub(crate) certs: PathBuf,
    /// Directory for results: compare-N.json and compare-N.txt, manifest.json and report.html
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Directory for jobs, finished rows and answers, from which a coordinator that is started again goes on [default: that of --out;
    /// without it they are kept in memory]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Seconds to wait for the nodes
    #[arg(long, value_name = "S", default_value_t = 120)]
    pub(crate) forming_limit: u32,
    /// Seconds to wait for a node that takes a lost seat, before the run fails
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=86_400))]
    pub(crate) return_limit: u32,
    /// Steps in succession after which a node that computes more slowly than the others is left out, if there is a spare; 0: never
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) slow_steps: u32,
    /// Datagram size; 1452 for networks with an MTU of 1500
    #[arg(long, value_name = "BYTES", env = "RAILYARD_DATAGRAM_BYTES", default_value_t = 1452)]
    pub(crate) datagram_bytes: u16,
    #[command(flatten)]
    pub(crate) ui: UiArgs,
    /// Serve clients without a comparison first
    #[arg(long)]
    pub(crate) no_first_run: bool,
    #[command(flatten)]
    pub(crate) spec: LayerArgs,
}

/// The page of a cluster, its API and its metrics.
#[derive(Debug, Args)]
pub(crate) struct UiArgs {
    /// Serve the yard's page, its API and its metrics over HTTP at this address [default with --ui alone: 127.0.0.1:7080]
    #[arg(
        long,
        value_name = "IP:PORT",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:7080",
        help_heading = "Page"
    )]
    pub(crate) ui: Option<SocketAddr>,
    /// A name by which the page is asked for, beside localhost and addresses; may be repeated
    #[arg(long, value_name = "NAME", requires = "ui", help_heading = "Page")]
    pub(crate) ui_host: Vec<String>,
    /// Let other machines read /metrics without the token
    #[arg(long, requires = "ui", help_heading = "Page")]
    pub(crate) ui_open_metrics: bool,
    /// The token of the page, better told by the variable RAILYARD_UI_TOKEN [default: one that is drawn, and printed]
    #[arg(long, value_name = "TOKEN", requires = "ui", help_heading = "Page")]
    pub(crate) ui_token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// The coordinator
    #[arg(long, value_name = "HOST:PORT", env = "RAILYARD_CLUSTER", value_parser = host_port)]
    pub(crate) coordinator: String,
    /// Directory with ca.pem and this node's certificate
    #[arg(long, value_name = "DIR", env = "RAILYARD_CERTS")]
    pub(crate) certs: PathBuf,
    /// Name of the node and of its certificate; seats go by it: rack0-0, rack0-1, ...
    #[arg(long, value_name = "NAME", env = "RAILYARD_NODE")]
    pub(crate) name: String,
    /// Address to bind [default: 0.0.0.0, with --leave-with-stdin 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub(crate) bind: Option<IpAddr>,
    /// UDP port that the other nodes dial, for firewalls that let one through [default: any free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    pub(crate) port: u16,
    /// Address that the other nodes dial, if it is another one
    #[arg(long, value_name = "IP")]
    pub(crate) advertise: Option<IpAddr>,
    /// Seconds to look for the coordinator
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub(crate) connect_limit: u32,
    /// Seconds to look for it again once it is gone; 0: leave then
    #[arg(long, value_name = "S", default_value_t = 600)]
    pub(crate) rejoin_limit: u32,
    /// Datagram size, as the coordinator's [default: 1452, with --leave-with-stdin 6500]
    #[arg(long, value_name = "BYTES", env = "RAILYARD_DATAGRAM_BYTES")]
    pub(crate) datagram_bytes: Option<u16>,
    /// Serve metrics for Prometheus over HTTP at this address; whoever reaches it may read [default with --metrics alone: 127.0.0.1:9464]
    #[arg(long, value_name = "IP:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:9464")]
    pub(crate) metrics: Option<SocketAddr>,
    /// End when stdin does, as a local coordinator asks of its workers
    #[arg(long)]
    pub(crate) leave_with_stdin: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  railyard health --coordinator localhost:7000 --certs /certs                   does it serve?
  railyard health --coordinator localhost:7000 --certs /certs --nodes 16        are 16 nodes there?
  railyard health --coordinator localhost:7000 --certs /certs --nodes 16 --wait 60    and wait until they are
  railyard health --coordinator coordinator:7000 --certs /certs --node rack0-3  is this node there?")]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// Least number of nodes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) nodes: u32,
    /// Seconds to ask again for, as long as the answer is not ok
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) wait: u32,
    /// A node that must be there
    #[arg(long, value_name = "NAME", env = "RAILYARD_NODE")]
    pub(crate) node: Option<String>,
}

/// A coordinator, and who asks it.
#[derive(Debug, Args)]
pub(crate) struct ClientArgs {
    /// The coordinator
    #[arg(long, value_name = "HOST:PORT", env = "RAILYARD_CLUSTER", value_parser = host_port)]
    pub(crate) coordinator: String,
    /// Directory with ca.pem and a client's certificate
    #[arg(long, value_name = "DIR", env = "RAILYARD_CERTS")]
    pub(crate) certs: PathBuf,
    /// Name of the client's certificate; where `health` finds none, it asks with the node's own, or the coordinator's
    #[arg(long, value_name = "NAME", default_value = "cli")]
    pub(crate) name: String,
    /// Datagram size; 1452 for networks with an MTU of 1500
    #[arg(long, value_name = "BYTES", env = "RAILYARD_DATAGRAM_BYTES", default_value_t = 1452)]
    pub(crate) datagram_bytes: u16,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  railyard drain rack0-3 --coordinator localhost:7000 --certs /certs

A spare takes the node's seat between two steps; where there is none, the comparison under way is finished first. Then the node is told to leave, and no step is lost.")]
pub(crate) struct DrainArgs {
    /// The node
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
}
