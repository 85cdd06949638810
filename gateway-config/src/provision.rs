//! From a checked configuration to what each domain reads at boot.

use std::collections::BTreeMap;

use ipc::provision::{
    Backend, ClientRights, Gateway, Keyrings, KeystoreData, Listener, LogFormat, Network,
    NetworkRights, ShimRights,
};
use ipc::tls::{Label, Mode};
use tls::Role;

use crate::Config;
use crate::chain;
use crate::seal::{self, SealError};

/// The gateway's number in its badges, as in `image/system.toml`.
pub const GATEWAY_CLIENT: u16 = 1;

impl Config {
    /// What the gateway may ask of the network stack: to listen and connect where the
    /// configuration says, and nowhere else; other applications listen alone.
    pub fn network(&self) -> Network {
        let connect = self.listeners.iter().filter_map(|l| match &l.backend {
            Backend::Connect(upstream) => Some(upstream.address),
            Backend::Status => None,
        });
        Network {
            address: self.address.clone(),
            mtu: self.mtu,
            router_advertisements: self.router_advertisements,
            rights: [NetworkRights {
                client: GATEWAY_CLIENT,
                listen: self.listeners.iter().map(|l| l.port).collect(),
                connect: distinct(connect),
            }]
            .into_iter()
            .chain(self.applications.iter().map(|application| NetworkRights {
                client: application.client,
                listen: application.listen.clone(),
                connect: Vec::new(),
            }))
            .collect(),
        }
    }

    /// What the gateway may ask of the shim: what its listeners and backends need; and
    /// each other application, what its table says.
    pub fn shim_rights(&self) -> ShimRights {
        let handshakes = || self.listeners.iter().flat_map(Listener::handshakes);
        let keyrings = handshakes().flat_map(|tls| tls.parameters.keyrings.to_vec());
        let others = self.applications.iter().map(|application| ClientRights {
            client: application.client,
            keyrings: application.keyrings.clone(),
            roles: vec![Role::Server],
            modes: application.modes.clone(),
            expose_keys: false,
            static_rsa: false,
            audit: self.audit,
            refused_steps: self.refused_steps.clone(),
        });
        let gateway = ClientRights {
            client: GATEWAY_CLIENT,
            keyrings: distinct::<Label>(keyrings),
            roles: distinct::<Role>(handshakes().map(|tls| tls.role)),
            modes: distinct::<Mode>(handshakes().map(|tls| tls.mode)),
            expose_keys: handshakes().any(|tls| tls.parameters.expose_keys),
            static_rsa: handshakes().any(|tls| tls.parameters.allow_static_rsa),
            audit: self.audit,
            refused_steps: self.refused_steps.clone(),
        };
        ShimRights([gateway].into_iter().chain(others).collect())
    }

    /// Whether some handshake may be directed: an image for another configuration needs
    /// no director.
    pub fn has_directed(&self) -> bool {
        let ShimRights(clients) = self.shim_rights();
        clients
            .iter()
            .any(|rights| rights.modes.contains(&Mode::Directed))
    }

    /// What the gateway serves.
    pub fn gateway(&self) -> Gateway {
        Gateway {
            listeners: self.listeners.clone(),
            log: self.log,
        }
    }

    /// What the key store reads.
    fn keystore(&self) -> Result<KeystoreData<&Keyrings>, SealError> {
        Ok(KeystoreData {
            rings: seal::rings(&self.keyrings, self.kek.as_ref())?,
            signer: self.signer,
        })
    }

    /// All of it encoded, by the names in `image/system.toml`. The blob
    /// `keyrings` has the private keys in it, sealed if there is a key for that.
    ///
    /// # Errors
    /// [`ProvisionError`].
    pub fn provisions(&self) -> Result<BTreeMap<String, Vec<u8>>, ProvisionError> {
        Ok(BTreeMap::from([
            ("keyrings".into(), postcard::to_allocvec(&self.keystore()?)?),
            ("network".into(), postcard::to_allocvec(&self.network())?),
            ("rights".into(), postcard::to_allocvec(&self.shim_rights())?),
            (
                "gateway-config".into(),
                postcard::to_allocvec(&self.gateway())?,
            ),
            (
                "built-after".into(),
                self.built_after().to_le_bytes().to_vec(),
            ),
            (
                "json-log".into(),
                vec![u8::from(self.log.format == LogFormat::Json)],
            ),
        ]))
    }

    /// The image is built when all its certificates are valid: not before the newest of
    /// them becomes valid. Seconds since 1970; the root task compares the clock with it.
    fn built_after(&self) -> u64 {
        let rings = self.keyrings.0.iter();
        let certificates = rings.flat_map(|ring| ring.chain.iter().chain(&ring.trust));
        let newest = certificates.filter_map(|der| chain::valid_from(der)).max();
        newest.unwrap_or(0)
    }
}

/// Why there is nothing for the domains to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvisionError {
    /// The key rings can't be sealed.
    Seal(SealError),
    /// None is known: the types can be encoded, and memory is not bounded.
    Encoding,
}

impl From<SealError> for ProvisionError {
    fn from(error: SealError) -> Self {
        Self::Seal(error)
    }
}

impl From<postcard::Error> for ProvisionError {
    fn from(_: postcard::Error) -> Self {
        Self::Encoding
    }
}

impl std::fmt::Display for ProvisionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seal(error) => write!(f, "sealing the key rings: {error}"),
            Self::Encoding => f.write_str("the configuration can't be encoded"),
        }
    }
}

impl std::error::Error for ProvisionError {}

/// The items without repetition, in the order of their first appearance.
fn distinct<T: PartialEq>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut list = Vec::new();
    for item in items {
        if !list.contains(&item) {
            list.push(item);
        }
    }
    list
}
