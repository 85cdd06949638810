//! Which secrets a handshake has, and how a step makes the next ones (R22, R23).

use alloc::boxed::Box;

use ipc::keystore::PRE_MASTER;
use ipc::segment::Stage;
use rustls::crypto::SharedSecret;
use tls::protection::Key;
use tls::schedule12::Master;
use tls::schedule13::{Schedule, TrafficSecrets};
use tls::{Exporter, Role, Secret, Version};

use super::{Directed, Fault};

/// The secrets of a handshake, as far as it has come.
pub(super) enum Keys {
    None,
    /// The pre-master secret (TLS 1.2), or the shared secret of TLS 1.3.
    Agreed(SharedSecret),
    /// The same of static RSA.
    PreMaster(Box<Secret<PRE_MASTER>>),
    /// TLS 1.3, after ServerHello.
    Handshake {
        schedule: Schedule,
        traffic: TrafficSecrets,
    },
    /// TLS 1.3, after the server's Finished: `traffic` is still that of the
    /// handshake, in which the client's Finished comes.
    Application {
        traffic: TrafficSecrets,
        application: TrafficSecrets,
        exporter: Box<Exporter>,
        master: Schedule,
    },
    /// TLS 1.2.
    Master(Master),
}

impl Directed {
    /// Derives what the director says, from what the step before it left.
    pub(super) fn derive(&mut self, stage: Stage) -> Result<(), Fault> {
        self.absorb();
        let suite = self.suite().ok_or(Fault::INTERNAL)?;
        let hash = self.transcript.hash().ok_or(Fault::INTERNAL)?;
        let hash = hash.as_ref();
        let keys = core::mem::replace(&mut self.keys, Keys::None);
        self.keys = match (stage, keys, suite.version()) {
            (Stage::Handshake, Keys::Agreed(shared), Version::Tls13) => {
                let early = self.early.take();
                let early = early.unwrap_or_else(|| Schedule::new(suite.hash()));
                let schedule = early.into_handshake(shared.secret_bytes());
                let schedule = schedule.ok_or(Fault::INTERNAL)?;
                let traffic = schedule.handshake_traffic(suite, hash);
                let traffic = traffic.ok_or(Fault::INTERNAL)?;
                self.outbound
                    .protect(self.protection(&traffic, self.role)?)?;
                let protection = self.protection(&traffic, self.peer_role())?;
                self.inbound.protect(protection)?;
                Keys::Handshake { schedule, traffic }
            }
            (Stage::Application, Keys::Handshake { schedule, traffic }, _) => {
                let master = schedule.into_master().ok_or(Fault::INTERNAL)?;
                let application = master.application_traffic(suite, hash);
                let application = application.ok_or(Fault::INTERNAL)?;
                let exporter = master.exporter(hash).ok_or(Fault::INTERNAL)?;
                // Each side uses the server's at once: it has said all it has to
                // say in the handshake, and the client has not.
                let server = self.protection(&application, Role::Server)?;
                match self.role {
                    Role::Server => self.outbound.protect(server)?,
                    Role::Client => self.inbound.protect(server)?,
                }
                Keys::Application {
                    traffic,
                    application,
                    exporter: Box::new(exporter),
                    master,
                }
            }
            // A resumed session's.
            (Stage::Master, Keys::Master(master), _) if self.is_resumed => {
                self.expand(&master)?;
                Keys::Master(master)
            }
            (Stage::Master, Keys::Agreed(shared), Version::Tls12) => {
                let master = Master::new(suite, shared.secret_bytes(), hash);
                self.expand(&master)?;
                Keys::Master(master)
            }
            (Stage::Master, Keys::PreMaster(secret), Version::Tls12) => {
                let master = Master::new(suite, secret.expose(), hash);
                self.expand(&master)?;
                Keys::Master(master)
            }
            _ => return Err(Fault::INTERNAL),
        };
        Ok(())
    }

    fn protection(&self, traffic: &TrafficSecrets, sender: Role) -> Result<Key, Fault> {
        let suite = self.suite().ok_or(Fault::INTERNAL)?;
        traffic
            .key(sender)
            .and_then(|key| Key::new(suite, &key).ok())
            .ok_or(Fault::INTERNAL)
    }

    /// The client's random, and the server's.
    pub(super) const fn randoms(&self) -> (&[u8; 32], &[u8; 32]) {
        match self.role {
            Role::Client => (&self.own_random, &self.peer_random),
            Role::Server => (&self.peer_random, &self.own_random),
        }
    }

    /// The key block of TLS 1.2.
    fn expand(&mut self, master: &Master) -> Result<(), Fault> {
        let suite = self.suite().ok_or(Fault::INTERNAL)?;
        let (client, server) = self.randoms();
        let (client, server) = master
            .keys(client, server, self.role)
            .ok_or(Fault::INTERNAL)?;
        let (tx, rx) = match self.role {
            Role::Client => (client, server),
            Role::Server => (server, client),
        };
        self.pending = (Key::new(suite, &tx).ok(), Key::new(suite, &rx).ok());
        self.traffic = Some((tx, rx));
        Ok(())
    }
}
