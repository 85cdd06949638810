//! Where the fuzzer starts from: made of the tests' own handshakes and files.

mod messages;
mod said;

use std::fs;

use ipc::bounded::{Blob, Bytes, Text};
use ipc::control;
use ipc::keystore::{self, CertificateList, KeyKind, KeyringIndex};
use ipc::net;
use ipc::provision::{KeystoreData, Network, NetworkRights, Rings, Update};
use ipc::record::{self};
use ipc::sample::Sampled;
use ipc::segment::{Agreed, Segment, Stage, Verdict};
use rustls::version::{TLS12, TLS13};
use tls::{CipherSuite, RecordLimit};

use messages::{
    direct, directed_segment, directed_verdict, encoded, failed, of_protocol, order,
    post_handshake, rings, segment, sign, vector, write,
};
use said::{Said, message_of};

use crate::frames;
use crate::wire::world::{World, key_of};

/// One input.
pub struct Seed {
    /// The target's name.
    pub target: &'static str,
    /// Its own name.
    pub name: String,
    /// What the target is given.
    pub bytes: Vec<u8>,
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Seed> {
    let mut seeds = Seeds(Vec::new());
    seeds.handshakes();
    seeds.messages();
    seeds.samples();
    seeds.segments();
    seeds.keystore();
    seeds.records();
    seeds.files();
    seeds.frames();
    for length in [0, 16, 100] {
        seeds.add("tickets", length, vec![7; length]);
    }
    seeds.0
}

/// One for each operation and each directive, the same whenever they are made.
#[must_use]
pub fn of_samples() -> Vec<Seed> {
    let mut seeds = Seeds(Vec::new());
    seeds.samples();
    seeds.0
}

struct Seeds(Vec<Seed>);

impl Seeds {
    fn add(&mut self, target: &'static str, name: impl ToString, bytes: Vec<u8>) {
        let name = name.to_string();
        self.0.push(Seed {
            target,
            name,
            bytes,
        });
    }

    fn handshakes(&mut self) {
        for (name, version, choice) in [("12", &TLS12, 0), ("13", &TLS13, 1)] {
            for has_certificate in [false, true] {
                let name = format!("{name}-{has_certificate}");
                let said = Said::of(version, has_certificate);
                for mode in [0, 0x80] {
                    let flights = said
                        .client
                        .iter()
                        .flat_map(|flight| vector(flight))
                        .collect();
                    let bytes = [vec![mode | choice], flights].concat();
                    self.add("server_wire", format!("{name}-{mode}"), bytes);
                }
                let flights: Vec<u8> = said.server.iter().flat_map(|f| vector(f)).collect();
                self.add("client_wire", &name, [vec![choice], flights].concat());
                self.add("first_bytes", &name, said.client[0].clone());
                let server = said.shim_server(version, has_certificate);
                self.add("shim_server", &name, server);
                let client = said.shim_client(version, has_certificate);
                self.add("shim_client", &name, client);
            }
        }
        self.static_rsa();
        let world = World::new(&[("web", "localhost", KeyKind::EcdsaP256)]);
        self.add("certificates", "authority", world.authority.to_vec());
        let client = rcgen::CertificateParams::new(vec!["a.test".into(), "10.0.2.15".into()])
            .expect("names")
            .signed_by(&key_of(KeyKind::Ed25519), &world.issuer)
            .expect("a certificate");
        self.add("certificates", "names", client.der().to_vec());
    }

    /// Static RSA, as the shim sees it: the second ring has the key.
    fn static_rsa(&mut self) {
        // Extended master secret is all that has to be there.
        let hello = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0, 0x9c, 1, 0]].concat();
        let hello = [&hello[..], &[0, 4, 0, 23, 0, 0]].concat();
        let exchange = [&[1, 0][..], &[7; 256]].concat();
        let part = |kind: u8, body: &[u8]| [vec![kind], vector(body)].concat();
        let server = [
            vec![4 | 2],
            part(1, &hello),
            part(16, &exchange),
            part(20, &[]),
            vec![0],
        ];
        self.add("shim_server", "static-rsa", server.concat());
        let mut hello = [&[3, 3][..], &[9; 32], &[0, 0, 0x9c, 0]].concat();
        hello.extend([0, 4, 0, 23, 0, 0]);
        let client = [
            vec![4],
            part(2, &hello),
            part(11, &[]),
            vec![1],
            part(14, &[]),
            part(20, &[]),
            vec![0],
        ];
        self.add("shim_client", "static-rsa", client.concat());
        let wire =
            |kind: u8, body: &[u8]| [&[22, 3, 3][..], &vector(&message_of(kind, body))].concat();
        let mut hello = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0, 0x9c, 1, 0]].concat();
        hello.extend([0, 4, 0, 23, 0, 0]);
        let flights = [
            vec![128 | 8],
            vector(&wire(1, &hello)),
            vector(&wire(16, &exchange)),
        ];
        self.add("server_wire", "static-rsa", flights.concat());
    }

    fn messages(&mut self) {
        let mut add = |which: u8, name: &str, encoded: Vec<u8>| {
            self.add("messages", name, [vec![which], encoded].concat());
        };
        add(4, "direct", encoded(&direct()));
        add(5, "failed", encoded(&failed()));
        add(6, "message", encoded(&post_handshake()));
        let message = Verdict::Message {
            kind: 1,
            length: 3,
            part: Blob::from_slice(&[1, 2, 3]).expect("a part"),
        };
        add(8, "message-verdict", encoded(&message));
        let network = Network {
            address: ipc::provision::AddressConfig::Dhcp,
            mtu: Some(1400),
            router_advertisements: true,
            rights: vec![NetworkRights {
                client: 1,
                listen: vec![443],
                connect: vec![],
            }],
        };
        add(9, "network", encoded(&network));
        add(10, "keyrings", encoded(&rings()));
        add(11, "order", encoded(&order()));
        add(12, "directed-segment", encoded(&directed_segment()));
        add(13, "directed-verdict", encoded(&directed_verdict()));
        for (which, name, message) in [
            (0, "direct", encoded(&direct())),
            (1, "failed", encoded(&failed())),
            (2, "message", encoded(&post_handshake())),
            (3, "order", encoded(&order())),
            (4, "directed-verdict", encoded(&directed_verdict())),
            (5, "directed-segment", encoded(&directed_segment())),
        ] {
            let length = u16::try_from(message.len()).expect("a short message");
            let framed = [&[which][..], &length.to_le_bytes(), &message].concat();
            self.add("queues", name, framed);
        }
    }

    fn samples(&mut self) {
        let mut messages = Vec::new();
        messages.extend(of_protocol::<control::Request>(0, "control"));
        messages.extend(of_protocol::<keystore::Request>(1, "keystore"));
        messages.extend(of_protocol::<net::Request>(2, "net"));
        messages.extend(of_protocol::<record::Request>(3, "record"));
        messages.extend(of_protocol::<Segment>(7, "segment"));
        for (name, bytes) in messages {
            self.add("messages", name, bytes);
        }
        for (sample, _) in Segment::samples() {
            let name = sample.facts().name;
            self.add("segments", name, [vec![0], segment(&sample)].concat());
        }
    }

    fn segments(&mut self) {
        let said = Said::of(&TLS12, false);
        let receive = Segment::Receive {
            limit: 16000,
            show: 4096,
        };
        let negotiate = Segment::Negotiate {
            suite: CipherSuite::EcdheEcdsaAes128GcmSha256,
            peer_random: [7; 32],
        };
        let share = Segment::Agree {
            share: Bytes::from_slice(&[9; 32]).expect("a share"),
        };
        let steps = [
            receive,
            negotiate,
            write(),
            share,
            Segment::Derive(Stage::Master, RecordLimit::NONE),
            Segment::WriteChangeCipherSpec,
            Segment::ReceiveChangeCipherSpec,
        ];
        let steps: Vec<u8> = steps.iter().flat_map(segment).collect();
        let hello = [&[0, 0][..], &vector(&said.client[0])].concat();
        self.add("segments", "server", [&hello[..], &steps].concat());
        let certificates = [&[1, 0][..], &vector(&said.server[0])].concat();
        let steps = [
            Segment::Receive {
                limit: 9000,
                show: 0,
            },
            Segment::Receive {
                limit: 9000,
                show: 0,
            },
            Segment::DecodeCertificate,
            Segment::ValidateChain {
                server_name: Text::from_text("localhost").ok().map(Box::new),
            },
            Segment::Receive {
                limit: 9000,
                show: 0,
            },
            Segment::VerifySignature { offset: 36 },
            Segment::ValidateMac,
            Segment::Finish(Box::new(Agreed {
                group: None,
                alpn: None,
                server_name: None,
                ring: 0,
            })),
        ];
        let negotiate = Segment::Negotiate {
            suite: CipherSuite::EcdheEcdsaAes128GcmSha256,
            peer_random: [7; 32],
        };
        let steps: Vec<u8> = [negotiate].iter().chain(&steps).flat_map(segment).collect();
        self.add("segments", "client", [&certificates[..], &steps].concat());
    }

    fn keystore(&mut self) {
        let part = keystore::Request::Certificate {
            keyring: KeyringIndex(0),
            from: CertificateList::Trust,
            index: 0,
            offset: 900,
        };
        let transcript = keystore::Request::Transcript {
            is_first: true,
            part: Blob::from_slice(&[1, 0, 0, 0]).expect("a part"),
        };
        let decrypt = keystore::Request::Decrypt {
            keyring: KeyringIndex(2),
            client_version: 0x0303,
            encrypted: Bytes::from_slice(&[7; 256]).expect("a ciphertext"),
        };
        let calls = [
            keystore::Request::Keyring(KeyringIndex(0)),
            part,
            transcript,
            sign(),
            decrypt,
        ];
        let calls: Vec<u8> = calls.iter().flat_map(|c| vector(&encoded(c))).collect();
        self.add("keyrings", "calls", [vec![1], calls].concat());
        let image = encoded(&KeystoreData::open(rings()));
        self.add("keyrings", "rings", [vec![0], image].concat());
        let update = Update {
            version: 1,
            rings: Rings::Open(rings()),
        };
        self.add("keyrings", "update", [vec![2], encoded(&update)].concat());
    }

    fn records(&mut self) {
        let operation = |choice: u8, part: &[u8]| [vec![choice], vector(part)].concat();
        let sealed = |kind: u8, part: &[u8]| operation(kind << 2 | 1, part);
        let proceed = encoded(&record::Request::Proceed { generation: 3 });
        for suite in [0, 1] {
            let bytes = [
                vec![suite],
                sealed(23, b"hello"),
                operation(2, b"answer"),
                sealed(22, &[24, 0, 0, 1, 1]),
                operation(3, &proceed),
                sealed(21, &[1, 0]),
            ];
            self.add("records", suite, bytes.concat());
        }
        let raw = [
            vec![1],
            operation(0, &[23, 3, 3, 0, 40]),
            operation(0, &[0; 40]),
        ];
        self.add("records", "raw", raw.concat());
    }

    fn files(&mut self) {
        let workspace = image::workspace::root().expect("the workspace");
        let read = |path: &str| fs::read(workspace.join(path)).expect(path);
        for name in ["client", "everything", "issue", "rules"] {
            let text = read(&format!("gateway-config/tests/good/{name}.toml"));
            self.add("configuration", name, text);
        }
        for (chain, key) in [
            ("p256-chain", "p256-key"),
            ("p256", "p256-sec1"),
            ("p384", "p384-sec1"),
            ("ed25519", "ed25519-key"),
            ("rsa2048", "rsa2048-pkcs1"),
        ] {
            let pem = |name| read(&format!("gateway-config/tests/material/{name}.pem"));
            let files = [vector(&pem(chain)), vector(&pem(key)), pem("ca")];
            self.add("key_files", key, files.concat());
        }
        for (which, name) in [(0, "system"), (1, "policy")] {
            let text = read(&format!("image/{name}.toml"));
            self.add("description", name, [vec![which], text].concat());
        }
    }

    fn frames(&mut self) {
        let mut world = frames::world::World::new();
        let (_, connection) = world.connected();
        world.attach(connection);
        world.run(4);
        let log = std::mem::take(&mut world.to_stack.borrow_mut().log);
        let whole = log
            .iter()
            .flat_map(|frame| [vec![0], vector(frame)].concat());
        self.add("frames", "connection", whole.collect());
        // DHCP: the answer to what the stack asks without an address is UDP.
        let mut udp = vec![0x02, 0, 0, 0, 0, 15, 2, 0, 0, 0, 0, 2, 8, 0];
        udp.extend([
            0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15,
        ]);
        udp.extend([0, 67, 0, 68, 0, 12, 0, 0, 2, 1, 6, 0]);
        self.add("frames", "udp", [vec![0], vector(&udp)].concat());
        let mut ping = udp[..14].to_vec();
        ping.extend([
            0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15,
        ]);
        ping.extend([8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
        self.add("frames", "ping", [vec![0], vector(&ping)].concat());
        self.link();
    }

    /// What neighbours, routers and servers of DHCP say.
    fn link(&mut self) {
        use crate::frames::world::frames::{
            advertisement, arp, fragmentation_needed, icmpv6, ipv4, ipv6, neighbour, prefix,
        };
        use crate::frames::world::{PEER_IP, PEER_MAC, STACK_IP};
        use core::net::Ipv6Addr;
        let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
        let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let network = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0);
        let discovery = |message: &[u8]| ipv6(router, all, 58, 255, &icmpv6(router, all, message));
        let mut add = |name, control: u8, frame: &[u8]| {
            self.add("frames", name, [vec![control], vector(frame)].concat());
        };
        let options = [prefix(64, network), prefix(129, all)].concat();
        add("router", 6, &discovery(&advertisement(1800, &options)));
        add(
            "neighbour",
            0,
            &discovery(&neighbour(0x20, router, PEER_MAC)),
        );
        let mut question = vec![130, 0, 0, 0, 0, 9];
        question.resize(28, 0);
        let question = icmpv6(router, all, &question);
        let alert = [58, 0, 5, 2, 0, 0, 1, 0];
        let more = [&alert[..], &question].concat();
        add("groups", 0, &ipv6(router, all, 0, 1, &more));
        let header = [58, 0, 1, 4, 0, 0, 0, 0];
        let hidden = [&header[..], &advertisement(1800, &prefix(129, network))].concat();
        add("hidden", 6, &ipv6(router, all, 0, 255, &hidden));
        add("arp", 0, &arp(2, PEER_MAC, PEER_IP, PEER_IP, [0xff; 6]));
        let sent = ipv4(STACK_IP, PEER_IP, 6, &[1, 0xbb, 78, 33, 0, 0, 0, 0]);
        add("too-big", 0, &fragmentation_needed(PEER_IP, &sent, 1400));
    }
}

#[cfg(test)]
mod tests {
    use tls::Role;

    use super::*;
    use crate::shim::drive;

    #[test]
    fn the_handshakes_of_the_shim_come_to_their_end() {
        for seed in all() {
            let role = match seed.target {
                "shim_server" => Role::Server,
                "shim_client" => Role::Client,
                _ => continue,
            };
            assert_eq!(
                drive(role, &seed.bytes),
                "finish",
                "{} {}",
                seed.target,
                seed.name
            );
        }
    }
}
