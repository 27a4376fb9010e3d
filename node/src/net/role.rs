//! Who a process is, as its certificate says: a [`Role`] and a name, carried as DNS names and read back from
//! the peer's certificate.
//!
//! A certificate of node `rack0-3` holds two subject alternative names: `node.railyard`, which a dialler asks
//! for (so that only a node can answer where a node is expected), and `rack0-3.node.railyard`, which tells
//! the two ends who the other is.

use rustls::pki_types::CertificateDer;
use std::fmt;

/// Top-level label of every name in a certificate of the cluster.
const DOMAIN: &str = "railyard";

/// What a process may be in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Hosts ranks; dials and accepts.
    Node,
    /// Forms the cluster and drives it; dials and accepts.
    Coordinator,
    /// Submits work and reads results; dials only: its certificate cannot serve.
    Client,
}

/// Why a name or a certificate identifies nobody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// A name that is not one DNS label.
    #[error(
        "`{0}` cannot name a process: use 1 to 63 lower-case letters, digits and inner hyphens, for example `rack0-3`"
    )]
    Name(String),
    /// A certificate that cannot be parsed.
    #[error("the certificate cannot be parsed: {0}")]
    Unreadable(#[from] webpki::Error),
    /// A certificate without the names of a role, for instance one made by another tool.
    #[error(
        "the certificate names no process of a railyard cluster; make certificates with `railyard certs DIR`"
    )]
    Nobody,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Node, Self::Coordinator, Self::Client];

    /// The role's label in certificates: `node`, `coordinator` or `client`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Coordinator => "coordinator",
            Self::Client => "client",
        }
    }

    /// The DNS name that every certificate of the role holds, for example `node.railyard`.
    pub fn server_name(self) -> String {
        format!("{}.{DOMAIN}", self.label())
    }

    /// Whether a process of the role accepts connections.
    pub fn serves(self) -> bool {
        self != Self::Client
    }

    /// The DNS names of the certificate of process `name`.
    ///
    /// # Errors
    /// [`RoleError::Name`] if `name` is not one DNS label.
    pub(super) fn dns_names(self, name: &str) -> Result<[String; 2], RoleError> {
        check_name(name)?;
        Ok([self.server_name(), format!("{name}.{}", self.server_name())])
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Checks that `name` is one DNS label, and therefore also a harmless file name.
///
/// # Errors
/// [`RoleError::Name`] otherwise.
pub(super) fn check_name(name: &str) -> Result<(), RoleError> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = (1..=63).contains(&name.len())
        && name.bytes().all(good)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if label { Ok(()) } else { Err(RoleError::Name(name.to_owned())) }
}

/// Reads role and name from a certificate. It does not verify the certificate: TLS has done that.
///
/// # Errors
/// [`RoleError::Unreadable`] or [`RoleError::Nobody`].
pub fn identify(certificate: &CertificateDer<'_>) -> Result<(Role, String), RoleError> {
    let parsed = webpki::EndEntityCert::try_from(certificate)?;
    parsed
        .valid_dns_names()
        .find_map(|dns| Role::ALL.into_iter().find_map(|role| Some((role, name_within(dns, role)?))))
        .ok_or(RoleError::Nobody)
}

/// The `NAME` of `NAME.ROLE.railyard`, if `dns` is such a name.
fn name_within(dns: &str, role: Role) -> Option<String> {
    let name = dns.strip_suffix(&role.server_name())?.strip_suffix('.')?;
    check_name(name).ok().map(|()| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_dns_label() {
        let longest = "a".repeat(63);
        for good in ["a", "node", "rack0-3", longest.as_str()] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "a-", "a.b", "A", "a b", "../ca", "é", too_long.as_str()] {
            let error = check_name(bad).unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains("lower-case"), "{error}");
        }
    }

    #[test]
    fn the_name_is_read_from_the_longer_dns_name_only() {
        assert_eq!(name_within("n1.node.railyard", Role::Node).as_deref(), Some("n1"));
        for other in ["node.railyard", "n1.client.railyard", "x.n1.node.railyard", "n1.node.railyard.org"] {
            assert_eq!(name_within(other, Role::Node), None, "{other}");
        }
    }
}
