//! Steps that the policy refuses: each in every state machine, a real shim,
//! offload component and key store on each side.

use crate::world::director::audit;
use crate::world::{World, parameters};
use ipc::bounded::{List, Text};
use ipc::control::{HandshakeError, Parameters, PeerError, PolicyError};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::provision::RefusedSteps;
use ipc::segment::Step;
use ipc::stats;
use ipc::tls::PeerAuthentication;
use tls::{Alert, CipherSuite, Group, HandshakeType, Role, Scheme, Version};

const SLOT: u16 = 0;
const REFUSED: HandshakeError = HandshakeError::Policy(PolicyError::Step);

/// By what a peer proves who it is (RFC 8446 §4.4.2, §4.4.3, RFC 5246 §7.4.3). Whoever refuses
/// it after one of these sends access_denied: "a valid certificate or PSK was received, but
/// when access control was applied, the sender decided not to proceed" (RFC 8446 §6.2, the same
/// in RFC 5246 §7.2.2). Anything else that is refused leaves no "acceptable set of security
/// parameters": handshake_failure.
const PROOFS: [HandshakeType; 3] = [
    HandshakeType::CERTIFICATE,
    HandshakeType::SERVER_KEY_EXCHANGE,
    HandshakeType::CERTIFICATE_VERIFY,
];

/// The message that a side received last, by its lines of the audit log.
fn received_last<'a>(lines: impl Iterator<Item = &'a String>) -> Option<HandshakeType> {
    let kinds = lines.filter_map(|line| {
        let (_, message) = line.split_once(" message ")?;
        message.split(' ').next()?.parse().ok()
    });
    kinds.last().map(HandshakeType)
}

/// One kind of handshake, in which both sides prove who they are.
struct Case {
    version: Version,
    key: KeyKind,
    suites: &'static [CipherSuite],
    groups: &'static [Group],
    /// What the server may sign by; all of its key's without one.
    schemes: &'static [Scheme],
    name: &'static str,
}

impl Case {
    const fn of(version: Version) -> Self {
        Self {
            version,
            key: KeyKind::EcdsaP256,
            suites: &[],
            groups: &[],
            schemes: &[],
            name: "localhost",
        }
    }

    fn worlds(&self, role: Role, step: Step) -> [World; 2] {
        let rings = [("ring", self.name, self.key)];
        [Role::Server, Role::Client].map(|side| {
            let keyring = Text::from_text("ring").unwrap();
            let steps = vec![step];
            let rules = (side == role).then_some(RefusedSteps { keyring, steps });
            World::refusing(&rings, rules.into_iter().collect())
        })
    }

    /// With a classical key exchange, which has fewer steps.
    fn classical(version: Version) -> Self {
        Self {
            groups: &[Group::X25519, Group::Secp256r1],
            ..Self::of(version)
        }
    }

    fn asked(&self) -> Parameters {
        let mut asked = parameters(&["ring"]);
        asked.versions = List::from_items([self.version]).unwrap();
        asked.groups = List::from_items(self.groups.iter().copied()).unwrap();
        asked.suites = List::from_items(self.suites.iter().copied()).unwrap();
        asked.allow_static_rsa = !self.suites.is_empty();
        asked
    }

    /// What server and client report, as far as they report anything.
    fn meet(&self, [server, client]: &mut [World; 2]) -> [Option<Completion>; 2] {
        let mut by_server = self.asked();
        if self.suites.is_empty() {
            by_server.peer_authentication = PeerAuthentication::Require;
        }
        let mut by_client = self.asked();
        by_client.server_name = Text::from_text(self.name).ok();
        by_client.peer_schemes = List::from_items(self.schemes.iter().copied()).unwrap();
        server.start(SLOT, by_server);
        client.start_client(SLOT, by_client);
        let (mut of_server, mut of_client) = (None, None);
        let mut said = Vec::new();
        for _ in 0..20 {
            let answer = client.exchange(SLOT, &said);
            of_client = of_client.or_else(|| client.completion());
            said = server.exchange(SLOT, &answer);
            of_server = of_server.or_else(|| server.completion());
            if of_client.is_some() && of_server.is_some() {
                break;
            }
        }
        [of_server, of_client]
    }

    /// Whether the rule refuses anything in this role: if so, that is said to the peer, in
    /// the audit log, and nothing is left. If not, both sides have a session.
    fn concerns(&self, role: Role, step: Step) -> bool {
        let case = format!("{role:?} {:?} {step:?}", self.version);
        let mut worlds = self.worlds(role, step);
        audit();
        let [of_server, of_client] = self.meet(&mut worlds);
        let (own, peer) = match role {
            Role::Server => (of_server, of_client),
            Role::Client => (of_client, of_server),
        };
        match own {
            Some(Completion::Failed { error, .. }) => assert_eq!(error, REFUSED, "{case}"),
            Some(Completion::Established { .. }) => {
                let is_established = matches!(peer, Some(Completion::Established { .. }));
                assert!(is_established, "{case}");
                return false;
            }
            None => panic!("{case}: neither refused nor established"),
        }
        let ending = format!(" refused policy {}", step.name());
        let lines = audit();
        let refused = |line: &String| line.ends_with(&ending);
        let count = lines.iter().filter(|line| refused(line)).count();
        assert_eq!(count, 1, "{case}: {lines:#?}");
        let before = lines.iter().take_while(|line| !refused(line));
        let (is_proof, alert) = match received_last(before) {
            Some(kind) if PROOFS.contains(&kind) => (true, Alert::ACCESS_DENIED),
            _ => (false, Alert::HANDSHAKE_FAILURE),
        };
        let is_last = matches!(step, Step::ValidateMac | Step::InstallKeys);
        match peer {
            Some(Completion::Failed { error, .. }) => {
                let received = HandshakeError::Peer(PeerError::AlertReceived(alert));
                assert_eq!(error, received, "{case}");
            }
            // Done before the alert could arrive.
            Some(_) => assert!(is_last || is_proof, "{case}"),
            // What would have been in the first hello: there was none.
            None => {
                let is_in_hello = step == Step::Random
                    || (step == Step::KeyShare && self.version == Version::Tls13);
                assert!(role == Role::Client && is_in_hello, "{case}");
            }
        }
        let world = &worlds[usize::from(role == Role::Client)];
        assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 0, "{case}");
        let installed = &world.installed.borrow();
        assert!(installed.values().all(Vec::is_empty), "{case}: keys");
        true
    }

    fn refuses(&self, role: Role, step: Step) {
        let is_refused = self.concerns(role, step);
        assert!(is_refused, "{role:?} {:?} {step:?}", self.version);
    }

    /// The rule does not concern this handshake.
    fn allows(&self, role: Role, step: Step) {
        let is_refused = self.concerns(role, step);
        assert!(!is_refused, "{role:?} {:?} {step:?}", self.version);
    }
}

const STATIC: Case = Case {
    version: Version::Tls12,
    key: KeyKind::Rsa,
    suites: &[CipherSuite::RsaAes128GcmSha256],
    groups: &[],
    schemes: &[],
    name: "localhost",
};

/// Steps of every handshake.
const ALWAYS: [Step; 12] = [
    Step::Random,
    Step::KeyShare,
    Step::ShowCertificate,
    Step::DecodeCertificate,
    Step::AcceptCertificate,
    Step::Agree,
    Step::DeriveKeys,
    Step::Sign,
    Step::VerifySignature,
    Step::ComputeMac,
    Step::ValidateMac,
    Step::InstallKeys,
];

#[test]
fn r11_each_step_can_be_refused_in_each_role_and_version() {
    for version in [Version::Tls13, Version::Tls12] {
        for role in [Role::Server, Role::Client] {
            for step in ALWAYS {
                Case::of(version).refuses(role, step);
            }
        }
    }
}

#[test]
fn r11_every_step_is_refused_in_a_handshake_that_does_it() {
    let unnamed = Case {
        name: "127.0.0.1",
        ..Case::of(Version::Tls13)
    };
    let by_pkcs1 = Case {
        key: KeyKind::Rsa,
        schemes: &[Scheme::RsaPkcs1Sha256],
        ..Case::of(Version::Tls12)
    };
    let [newer, older] = [Version::Tls13, Version::Tls12].map(Case::of);
    let cases = [newer, older, STATIC, unnamed, by_pkcs1];
    for step in Step::ALL {
        let mut cases = cases.iter();
        let is_refused = cases
            .any(|case| case.concerns(Role::Server, step) || case.concerns(Role::Client, step));
        assert!(is_refused, "{step:?}");
    }
}

#[test]
fn an_encapsulation_and_a_decapsulation_can_be_refused() {
    let hybrid = Case::of(Version::Tls13);
    hybrid.refuses(Role::Server, Step::Encapsulate);
    hybrid.refuses(Role::Client, Step::Decapsulate);
    for classical in [Version::Tls13, Version::Tls12].map(Case::classical) {
        classical.allows(Role::Server, Step::Encapsulate);
        classical.allows(Role::Client, Step::Decapsulate);
    }
}

#[test]
fn r18_r20_an_encryption_and_a_decryption_can_be_refused() {
    STATIC.refuses(Role::Client, Step::EncryptPreMaster);
    STATIC.refuses(Role::Server, Step::DecryptPreMaster);
    for version in [Version::Tls13, Version::Tls12] {
        Case::of(version).allows(Role::Client, Step::EncryptPreMaster);
        Case::of(version).allows(Role::Server, Step::DecryptPreMaster);
    }
}

#[test]
fn r24_no_signature_for_a_client_that_names_no_server() {
    for version in [Version::Tls13, Version::Tls12] {
        let named = Case::of(version);
        // RFC 6066 §3: an address is no name, and is not sent.
        let unnamed = Case {
            name: "127.0.0.1",
            ..Case::of(version)
        };
        unnamed.refuses(Role::Server, Step::SignWithoutServerName);
        named.allows(Role::Server, Step::SignWithoutServerName);
    }
}

#[test]
fn r24_signatures_by_pss_pass_where_those_by_pkcs1_are_refused() {
    for version in [Version::Tls13, Version::Tls12] {
        let rsa = Case {
            key: KeyKind::Rsa,
            ..Case::of(version)
        };
        rsa.allows(Role::Server, Step::SignRsaPkcs1);
    }
}

#[test]
fn r09_a_thousand_refusals_leave_every_slot_free() {
    for role in [Role::Server, Role::Client] {
        let case = Case::of(Version::Tls13);
        let mut worlds = case.worlds(role, Step::Sign);
        for _ in 0..1000 {
            let both = case.meet(&mut worlds);
            for side in both {
                assert!(matches!(side, Some(Completion::Failed { .. })));
            }
        }
        audit();
        for world in &mut worlds {
            assert_eq!(world.stats.read(stats::offload::FAILED), 1000);
            assert_eq!(world.stats.read(stats::offload::IN_PROGRESS), 0);
            // All four slots are free still.
            for slot in 0..4 {
                world.start(slot, case.asked());
            }
        }
    }
}
