//! `railyard certs`: the cluster's authority, and a certificate for each process.

use crate::cli::CertsArgs;
use crate::failure::Failure;
use crate::output;
use ::coordinator::local::rack_names;
use node::net::{CertError, ClusterCa, Identity, RENEW_WITHIN, Role};
use std::path::PathBuf;
use std::time::Duration;
use topology::Cluster;

/// The coordinator's name, and that of the client that every cluster has.
pub(crate) const COORDINATOR: &str = "coordinator";
const CLIENT: &str = "cli";
/// Racks of a cluster of whose processes none is named.
const RACKS: u32 = 2;

pub(crate) fn run(args: &CertsArgs) -> Result<(), Failure> {
    if !args.remove.is_empty() {
        return remove(args);
    }
    // Where there is nothing to renew, nothing is made.
    let authority =
        if args.renew { ClusterCa::load(&args.dir) } else { ClusterCa::load_or_create(&args.dir) };
    let authority = authority.map_err(Failure::failed)?;
    let mut issuing = Issuing { args, authority, made: 0, renewed: 0, kept: 0, removed: Vec::new() };
    for dir in homes(args)? {
        issuing.authority.save_removed(&dir).map_err(Failure::failed)?;
    }
    let wanted = wanted(args)?;
    if wanted.is_empty() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "there is no certificate to renew in {}; where each process has a directory of its own, give --each EACH",
            args.each.as_ref().unwrap_or(&args.dir).display()
        )));
    }
    for (name, role) in wanted {
        issuing.see_to(&name, role)?;
    }
    output::print(&issuing.told())
}

/// Takes names out of the cluster.
fn remove(args: &CertsArgs) -> Result<(), Failure> {
    let mut authority = ClusterCa::load(&args.dir).map_err(Failure::usage)?;
    let homes = homes(args)?;
    for name in &args.remove {
        authority.remove(name).map_err(Failure::usage)?;
        if !homes.iter().any(|dir| dir.join(format!("{name}.pem")).exists()) {
            output::say(&format!(
                "no certificate of `{name}` is here: removed all the same, if that is its name"
            ));
        }
    }
    // The authority's own copy first: the next one to sign knows it.
    for dir in std::iter::once(args.dir.clone()).chain(homes) {
        authority.save_removed(&dir).map_err(Failure::failed)?;
    }
    let names = args.remove.join(", ");
    output::print(&format!(
        "removed {names}: processes that find ca-removed.pem beside their certificate let nobody of that name in\n"
    ))
}

/// Names and roles that are to have a certificate; with `--renew` all that have one too.
fn wanted(args: &CertsArgs) -> Result<Vec<(String, Role)>, Failure> {
    let mut found = Vec::new();
    if args.renew {
        for dir in homes(args)? {
            found.extend(Identity::names_in(&dir).map_err(Failure::failed)?);
        }
    }
    // Who names a process doesn't ask for sixteen more.
    let named = !args.node.is_empty() || !args.client.is_empty();
    let racks = match args.racks.unwrap_or(if named { 0 } else { RACKS }) {
        0 => Vec::new(),
        _ if args.renew => Vec::new(),
        racks => rack_names(&Cluster::uniform(racks, args.ranks_per_rack).map_err(Failure::usage)?),
    };
    let nodes = racks.into_iter().chain(args.node.iter().cloned());
    let clients = (!args.renew).then(|| CLIENT.to_owned()).into_iter().chain(args.client.iter().cloned());
    let coordinator = (!args.renew).then(|| (COORDINATOR.to_owned(), Role::Coordinator));
    let wanted = coordinator
        .into_iter()
        .chain(nodes.map(|name| (name, Role::Node)))
        .chain(clients.map(|name| (name, Role::Client)));
    for (name, role) in wanted {
        if !found.contains(&(name.clone(), role)) {
            found.push((name, role));
        }
    }
    Ok(found)
}

/// Directories that processes read from, as far as they are there.
fn homes(args: &CertsArgs) -> Result<Vec<PathBuf>, Failure> {
    let Some(each) = &args.each else { return Ok(vec![args.dir.clone()]) };
    let mut homes = Vec::new();
    for entry in each.read_dir().into_iter().flatten() {
        let path = entry.map_err(Failure::failed)?.path();
        if path.is_dir() {
            homes.push(path);
        }
    }
    homes.sort();
    Ok(homes)
}

/// Certificates on their way to their directories.
struct Issuing<'a> {
    args: &'a CertsArgs,
    authority: ClusterCa,
    made: u32,
    renewed: u32,
    kept: u32,
    removed: Vec<String>,
}

impl Issuing<'_> {
    /// Has `name` have a certificate, if it is not removed.
    fn see_to(&mut self, name: &str, role: Role) -> Result<(), Failure> {
        let dir = self.args.each.as_ref().map_or_else(|| self.args.dir.clone(), |each| each.join(name));
        let found = match Identity::load(&dir, name) {
            Ok(identity) if identity.role() != role => {
                return Err(Failure::Usage(anyhow::anyhow!(
                    "`{name}` is a {} in {} already; give the {role} another name",
                    identity.role(),
                    dir.display()
                )));
            }
            Ok(identity) => Some(identity),
            Err(CertError::Missing { .. } | CertError::Removed { .. } | CertError::Ended { .. }) => None,
            Err(error @ (CertError::Role(_) | CertError::Reserved(_))) => return Err(Failure::usage(error)),
            Err(error) => return Err(Failure::failed(error)),
        };
        let lasts = found.is_some_and(|identity| {
            self.authority.accepts(&identity) && identity.left().is_ok_and(|left| left > RENEW_WITHIN)
        });
        let meant = self.args.node.iter().chain(&self.args.client).any(|admitted| admitted == name);
        if !meant && self.authority.has_removed(&dir, name) {
            self.removed.push(name.to_owned());
            return Ok(());
        }
        if lasts && !self.args.renew {
            self.kept += 1;
            return Ok(());
        }
        let validity = Duration::from_secs(u64::from(self.args.days) * 24 * 3600);
        let identity = self.authority.issue_for(name, role, validity).map_err(Failure::usage)?;
        // What it had may have ended.
        let had_one = dir.join(format!("{name}.pem")).exists();
        identity.save(&dir).map_err(Failure::failed)?;
        *(if had_one { &mut self.renewed } else { &mut self.made }) += 1;
        Ok(())
    }

    fn told(&self) -> String {
        let Self { args, made, renewed, kept, removed, .. } = self;
        let dir = args.each.as_ref().unwrap_or(&args.dir).display();
        let renewed = if *renewed > 0 { format!(", {renewed} renewed") } else { String::new() };
        let removed = match &removed[..] {
            [] => String::new(),
            names => format!(", none for removed {}", names.join(", ")),
        };
        format!("{dir}: {made} certificates made{renewed}, {kept} kept{removed}\n")
    }
}
