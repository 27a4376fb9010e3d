//! `railyard certs`: the cluster's authority, and a certificate for each process.

use crate::cli::CertsArgs;
use crate::failure::Failure;
use crate::output;
use ::coordinator::local::rack_names;
use node::net::{CertError, ClusterCa, Identity, Role};
use topology::Cluster;

/// The coordinator's name, and that of the client that every cluster has.
pub(crate) const COORDINATOR: &str = "coordinator";
const CLIENT: &str = "cli";

pub(crate) fn run(args: &CertsArgs) -> Result<(), Failure> {
    let cluster = Cluster::uniform(args.racks, args.ranks_per_rack).map_err(Failure::usage)?;
    let nodes = rack_names(&cluster).into_iter().chain(args.node.iter().cloned());
    let clients = std::iter::once(CLIENT.to_owned()).chain(args.client.iter().cloned());
    let wanted = std::iter::once((COORDINATOR.to_owned(), Role::Coordinator))
        .chain(nodes.map(|name| (name, Role::Node)))
        .chain(clients.map(|name| (name, Role::Client)));
    let authority = ClusterCa::load_or_create(&args.dir).map_err(Failure::failed)?;
    let (mut made, mut kept) = (0, 0);
    for (name, role) in wanted {
        let dir = args.each.as_ref().map_or_else(|| args.dir.clone(), |each| each.join(&name));
        match Identity::load(&dir, &name) {
            Ok(identity) if identity.role() == role => kept += 1,
            Ok(identity) => {
                return Err(Failure::Usage(anyhow::anyhow!(
                    "`{name}` is a {} in {} already; give the {role} another name",
                    identity.role(),
                    dir.display()
                )));
            }
            Err(CertError::Missing { .. }) => {
                let identity = authority.issue(&name, role).map_err(Failure::usage)?;
                identity.save(&dir).map_err(Failure::failed)?;
                made += 1;
            }
            Err(error @ (CertError::Role(_) | CertError::Reserved)) => return Err(Failure::usage(error)),
            Err(error) => return Err(Failure::failed(error)),
        }
    }
    let dir = args.each.as_ref().unwrap_or(&args.dir);
    output::print(&format!("{}: {made} certificates made, {kept} kept\n", dir.display()))
}
