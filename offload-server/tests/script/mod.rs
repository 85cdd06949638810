//! A client that sends what a test scripts: the offload component's own
//! executor in the client's role, with a test for its shim.
#![allow(dead_code, reason = "each test file uses a part")]

use ipc::bounded::{Bytes, List};
use ipc::control::{HandshakeError, PeerError};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use ipc::segment::{Fill, Hole, MAX_PART, Segment, Stage, Template, Verdict};
use tls::{Alert, CipherSuite, Group, RecordLimit, Role};

use super::world::{World, parameters};

/// The slot of both sides.
pub const SLOT: u16 = 0;

/// RFC 8446 §4: the numbers of messages that exist.
pub const KINDS: [u8; 14] = [0, 1, 2, 4, 5, 8, 11, 12, 13, 14, 15, 16, 20, 24];

pub struct Script {
    pub world: World,
    role: Role,
    /// What the server said and the client did not read yet.
    pub inbox: Vec<u8>,
    /// All that it said while something of it was waited for.
    pub heard: Vec<u8>,
}

impl Script {
    pub fn new() -> Self {
        Self::in_role(Role::Client, "client")
    }

    /// The same as a server, with a certificate for `server.test`.
    pub fn server() -> Self {
        Self::in_role(Role::Server, "server.test")
    }

    fn in_role(role: Role, name: &'static str) -> Self {
        let mut script = Self {
            world: World::new(&[("me", name, KeyKind::EcdsaP256)]),
            role,
            inbox: Vec::new(),
            heard: Vec::new(),
        };
        script.begin();
        script
    }

    /// Begins a handshake.
    pub fn begin(&mut self) {
        let mut asked = parameters(&["me"]);
        asked.expose_keys = true;
        asked.resumption = true;
        self.inbox.clear();
        self.world.begin(SLOT, self.role, asked);
        let begun = self.world.verdict();
        assert!(matches!(begun, Some(Verdict::Begun { .. })));
    }

    /// Sends a segment; its verdict may come later.
    pub fn send(&mut self, segment: Segment) {
        self.world.perform(SLOT, segment);
    }

    /// A segment that is answered at once.
    pub fn tell(&mut self, segment: Segment) -> Verdict {
        self.send(segment);
        if let Some(Completion::Failed { error, .. }) = self.world.completion() {
            panic!("the script failed: {error:?}");
        }
        self.world.verdict().unwrap_or_else(|| panic!("no verdict"))
    }

    pub fn done(&mut self, segment: Segment) {
        assert_eq!(self.tell(segment.clone()), Verdict::Done, "{segment:?}");
    }

    pub fn write(&mut self, kind: u8, body: &[u8], holes: &[Hole]) {
        let mut message = vec![kind, 0, 0, 0];
        message.extend_from_slice(body);
        let template = Template {
            message: ipc::bounded::Blob::from_slice(&message).unwrap(),
            holes: List::from_items(holes.iter().copied()).unwrap(),
        };
        self.done(Segment::Write(template));
    }

    /// Reads one message of the server: its type and body.
    pub fn read(&mut self, server: &mut World) -> (u8, Vec<u8>) {
        let segment = Segment::Receive {
            limit: 16000,
            show: MAX_PART as u16,
        };
        match self.wait(segment, server) {
            Ok(Verdict::Message { kind, part, .. }) => (kind, part.to_vec()),
            Ok(other) => panic!("no message but {other:?}"),
            Err(error) => panic!("no message but {error:?}"),
        }
    }

    /// A segment that waits for the server.
    pub fn wait(
        &mut self,
        segment: Segment,
        server: &mut World,
    ) -> Result<Verdict, HandshakeError> {
        self.send(segment);
        for _ in 0..10 {
            if let Some(verdict) = self.world.verdict() {
                return Ok(verdict);
            }
            match self.world.completion() {
                Some(Completion::Failed { error, .. }) => return Err(error),
                Some(Completion::Established { .. }) => panic!("established"),
                None => {}
            }
            let inbox = std::mem::take(&mut self.inbox);
            let said = self.world.exchange(SLOT, &inbox);
            self.inbox = server.exchange(SLOT, &said);
            self.heard.extend_from_slice(&self.inbox);
        }
        panic!("the server says nothing");
    }

    /// Sends what was written, and reads the server's last message.
    pub fn last_word(&mut self, server: &mut World) -> HandshakeError {
        let segment = Segment::Receive {
            limit: 16000,
            show: 0,
        };
        match self.wait(segment, server) {
            Err(error) => error,
            Ok(verdict) => panic!("the server goes on: {verdict:?}"),
        }
    }

    pub fn finish(&mut self) {
        let agreed = ipc::segment::Agreed {
            group: None,
            alpn: None,
            server_name: None,
            ring: 0,
        };
        self.send(Segment::Finish(Box::new(agreed)));
    }

    pub fn say(&mut self, server: &mut World) {
        let said = self.world.exchange(SLOT, &[]);
        self.inbox.extend(server.exchange(SLOT, &said));
    }

    pub fn completion(&mut self) -> Option<Completion> {
        self.world.completion()
    }

    // ---- TLS 1.3 ----

    /// ClientHello, and all that the server says after it: up to the state in
    /// which the server waits for the client's flight. Returns the types of
    /// the server's protected messages.
    pub fn hello13(&mut self, server: &mut World) -> Vec<u8> {
        let (body, holes) = client_hello(&[0x1301], &[0x0304], true);
        self.write(1, &body, &holes);
        self.answered13(server, false)
    }

    /// The server's flight after a ClientHello; the types of its messages.
    pub fn answered13(&mut self, server: &mut World, resumes: bool) -> Vec<u8> {
        let (kind, hello) = self.read(server);
        assert_eq!(kind, 2);
        // The share is before supported_versions.
        let share = hello.len() - 6 - 32..hello.len() - 6;
        self.done(Segment::Negotiate {
            suite: CipherSuite::Aes128GcmSha256,
            peer_random: hello[2..34].try_into().unwrap(),
        });
        if resumes {
            self.done(Segment::Resume { binder: None });
        }
        self.done(Segment::Agree {
            share: Bytes::from_slice(&hello[share]).unwrap(),
        });
        self.done(Segment::Derive(Stage::Handshake, RecordLimit::NONE));
        let mut kinds = Vec::new();
        while kinds.last() != Some(&20) {
            kinds.push(self.read(server).0);
        }
        self.done(Segment::ValidateMac);
        self.done(Segment::Derive(Stage::Application, RecordLimit::NONE));
        kinds
    }

    pub fn certificate13(&mut self) {
        self.write(11, &[0], &[hole(5, 3, Fill::Chain(0))]);
    }

    pub fn signature13(&mut self) {
        let scheme = tls::Scheme::EcdsaSecp256r1Sha256;
        let fill = Fill::Signature { ring: 0, scheme };
        self.write(15, &scheme.number().to_be_bytes(), &[hole(6, 2, fill)]);
    }

    pub fn finished(&mut self) {
        self.write(20, &[], &[hole(4, 0, Fill::VerifyData)]);
    }

    /// As server: ClientHello to the keys after ServerHello.
    pub fn server_hello13(&mut self, client: &mut World) {
        let (kind, hello) = self.read(client);
        assert_eq!(kind, 1);
        self.done(Segment::Negotiate {
            suite: CipherSuite::Aes128GcmSha256,
            peer_random: hello[2..34].try_into().unwrap(),
        });
        let mut body = [&[3, 3], session_id_of(&hello)].concat();
        body.extend([0x13, 1, 0, 0, 46, 0, 43, 0, 2, 3, 4]);
        body.extend([0, 51, 0, 36, 0, 0x1d]);
        let random = hole(6, 0, Fill::Random { downgraded: false });
        let share = hole(4 + body.len() as u16, 2, Fill::KeyShare(Group::X25519));
        self.write(2, &body, &[random, share]);
        self.done(Segment::Agree {
            share: Bytes::from_slice(share_of(&hello)).unwrap(),
        });
        self.done(Segment::Derive(Stage::Handshake, RecordLimit::NONE));
    }

    // ---- TLS 1.2 ----

    /// As server: ClientHello and ServerHello.
    pub fn server_hello12(&mut self, client: &mut World) {
        let (kind, hello) = self.read(client);
        assert_eq!(kind, 1);
        self.negotiate12(&hello);
        let body = [3, 3, 0, 0xc0, 0x2b, 0, 0, 9, 0, 23, 0, 0, 0xff, 1, 0, 1, 0];
        let random = hole(6, 0, Fill::Random { downgraded: false });
        self.write(2, &body, &[random]);
    }

    pub fn certificate12(&mut self) {
        self.write(11, &[], &[hole(4, 3, Fill::Chain(0))]);
    }

    pub fn server_key_exchange12(&mut self) {
        let scheme = tls::Scheme::EcdsaSecp256r1Sha256;
        let share = hole(7, 1, Fill::KeyShare(Group::X25519));
        let signature = hole(9, 2, Fill::Signature { ring: 0, scheme });
        self.write(12, &[3, 0, 0x1d, 4, 3], &[share, signature]);
    }

    /// As server: ServerHelloDone, and the client's flight to its Finished.
    pub fn client_flight12(&mut self, client: &mut World) {
        self.write(14, &[], &[]);
        let (kind, exchange) = self.read(client);
        assert_eq!(kind, 16);
        self.done(Segment::Agree {
            share: Bytes::from_slice(&exchange[1..]).unwrap(),
        });
        self.done(Segment::Derive(Stage::Master, RecordLimit::NONE));
        let changed = self.wait(Segment::ReceiveChangeCipherSpec, client);
        assert_eq!(changed, Ok(Verdict::Done));
        assert_eq!(self.read(client).0, 20);
        self.done(Segment::ValidateMac);
    }

    /// ClientHello to ServerHelloDone; returns the server's public key.
    pub fn hello12(&mut self, server: &mut World) -> Vec<u8> {
        let (body, holes) = client_hello(&[0xc02b], &[0x0303], true);
        self.write(1, &body, &holes);
        self.negotiated12(server)
    }

    /// ServerHello to ServerHelloDone; returns the server's public key.
    pub fn negotiated12(&mut self, server: &mut World) -> Vec<u8> {
        let (kind, hello) = self.read(server);
        assert_eq!(kind, 2);
        self.negotiate12(&hello);
        self.flight12(server)
    }

    /// Decides on the suite, with the random of the peer's hello.
    pub fn negotiate12(&mut self, hello: &[u8]) {
        self.done(Segment::Negotiate {
            suite: CipherSuite::EcdheEcdsaAes128GcmSha256,
            peer_random: hello[2..34].try_into().unwrap(),
        });
    }

    /// The server's flight after its hello; returns its public key.
    pub fn flight12(&mut self, server: &mut World) -> Vec<u8> {
        let mut share = Vec::new();
        loop {
            match self.read(server) {
                (12, body) => share = body[4..36].to_vec(),
                (14, _) => return share,
                _ => {}
            }
        }
    }

    pub fn key_exchange12(&mut self, share: &[u8]) {
        // The hello's placeholder has made the share already, and its public part is
        // needed again: make another.
        self.write(16, &[], &[hole(4, 1, Fill::KeyShare(Group::X25519))]);
        self.done(Segment::Agree {
            share: Bytes::from_slice(share).unwrap(),
        });
        self.done(Segment::Derive(Stage::Master, RecordLimit::NONE));
    }
}

/// Both sides end with this alert of the side under test.
pub fn ends_with(script: &mut Script, tested: &mut World, alert: Alert, case: &str) {
    let heard = script.last_word(tested);
    let received = HandshakeError::Peer(PeerError::AlertReceived(alert));
    assert_eq!(heard, received, "{case}");
    match tested.completion() {
        Some(Completion::Failed { error, .. }) => {
            let sent = HandshakeError::Peer(PeerError::AlertSent(alert));
            assert_eq!(error, sent, "{case}");
        }
        _ => panic!("{case}: no failure"),
    }
}

/// The session identifier of a ClientHello, with its length: a server of TLS 1.3 says it
/// again (RFC 8446 §4.1.3).
pub fn session_id_of(hello: &[u8]) -> &[u8] {
    &hello[34..35 + usize::from(hello[34])]
}

/// The share of X25519 in a ClientHello.
pub fn share_of(hello: &[u8]) -> &[u8] {
    let header = [0, 0x1d, 0, 32];
    let mut windows = hello.windows(header.len());
    let at = windows.position(|window| window == header).unwrap() + header.len();
    &hello[at..at + 32]
}

pub fn hole(offset: u16, prefix: u8, fill: Fill) -> Hole {
    Hole {
        offset,
        prefix,
        fill,
    }
}

/// The body of a ClientHello and its placeholders: random, and a share of X25519.
pub fn client_hello(suites: &[u16], versions: &[u16], ems: bool) -> (Vec<u8>, Vec<Hole>) {
    let mut body = vec![3, 3];
    let random = hole(4 + 2, 0, Fill::Random { downgraded: false });
    body.push(0);
    body.extend((suites.len() as u16 * 2).to_be_bytes());
    body.extend(suites.iter().flat_map(|s| s.to_be_bytes()));
    body.extend([1, 0]);
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, content: &[u8]| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend((content.len() as u16).to_be_bytes());
        extensions.extend(content);
    };
    // The second is the curve of certificates (RFC 8422 §5.3).
    extension(10, &[0, 4, 0, 0x1d, 0, 0x17]);
    extension(13, &[0, 2, 4, 3]);
    if ems {
        extension(23, &[]);
    }
    let mut list = vec![versions.len() as u8 * 2];
    list.extend(versions.iter().flat_map(|v| v.to_be_bytes()));
    extension(43, &list);
    extensions.extend([0, 51, 0, 38, 0, 36, 0, 0x1d]);
    body.extend((extensions.len() as u16 + 34).to_be_bytes());
    body.extend(extensions);
    let share = hole(4 + body.len() as u16, 2, Fill::KeyShare(Group::X25519));
    (body, vec![random, share])
}
