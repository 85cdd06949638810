//! The script with tickets: a first handshake that gives one, and a second that
//! resumes the session, as far as a test goes with it.

use ipc::bounded::Bytes;
use ipc::control::Established;
use ipc::handshake::Completion;
use ipc::segment::{Binder, Fill, Hole, Place, Segment, Stage, Ticket, Verdict};
use tls::{CipherSuite, Group, RecordLimit, Version};

use super::script::{SLOT, Script, hole, session_id_of, share_of};
use super::tickets::hand_over;
use super::world::World;

/// Generation of each script's session.
const SESSION: u16 = 9;
/// Bytes of a binder, and of the list with it alone, for SHA-256.
const BINDER: u16 = 32;
const BINDERS: u16 = 2 + 1 + BINDER;
/// Bytes of an obfuscated age.
const AGE: u16 = 4;

/// Extensions, and bytes that placeholders in them will take.
#[derive(Default)]
struct Extensions {
    bytes: Vec<u8>,
    /// By their place in `bytes`.
    holes: Vec<(usize, u8, Fill)>,
    missing: u16,
}

impl Extensions {
    fn add(&mut self, kind: u16, content: &[u8]) {
        self.begin(kind, content.len() as u16);
        self.bytes.extend(content);
    }

    fn begin(&mut self, kind: u16, length: u16) {
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend(length.to_be_bytes());
    }

    /// A placeholder of `length` bytes, those of its own length field among them.
    fn hole(&mut self, length: u16, prefix: u8, fill: Fill) {
        self.holes.push((self.bytes.len(), prefix, fill));
        self.missing += length;
    }
}

/// What a handshake established, on the script's side.
fn established(script: &mut Script) -> Box<Established> {
    match script.completion() {
        Some(Completion::Established { established, .. }) => established,
        _ => panic!("not established"),
    }
}

impl Script {
    // ---- As client ----

    /// ClientHello that takes tickets, and offers `ticket`.
    fn resuming_hello(&mut self, version: Version, ticket: Option<&Ticket>) {
        let is_tls13 = version == Version::Tls13;
        let mut extensions = Extensions::default();
        extensions.add(10, &[0, 4, 0, 0x1d, 0, 0x17]);
        extensions.add(13, &[0, 2, 4, 3]);
        extensions.add(23, &[]);
        let length = ticket.map_or(0, |ticket| 2 + ticket.length);
        if is_tls13 {
            extensions.add(43, &[2, 3, 4]);
            extensions.add(45, &[1, 1]);
            extensions.bytes.extend([0, 51, 0, 38, 0, 36, 0, 0x1d]);
            extensions.hole(34, 2, Fill::KeyShare(Group::X25519));
        } else {
            extensions.begin(35, length.saturating_sub(2));
            // The extension's own length is the placeholder's.
            let at = extensions.bytes.len() - 2;
            if ticket.is_some() {
                extensions.bytes.truncate(at);
                extensions.hole(length, 2, Fill::Ticket);
            }
        }
        if let (true, Some(_)) = (is_tls13, ticket) {
            extensions.begin(41, 2 + length + AGE + BINDERS);
            extensions.bytes.extend((length + AGE).to_be_bytes());
            extensions.hole(length, 2, Fill::Ticket);
            extensions.hole(AGE, 0, Fill::TicketAge);
            extensions.hole(BINDERS, 0, Fill::Binders);
        }
        let session_id = match ticket {
            Some(ticket) if !is_tls13 => &ticket.session_id[..],
            _ => &[],
        };
        let mut body = vec![3, 3, session_id.len() as u8];
        body.extend(session_id);
        let suite = if is_tls13 { 0x1301_u16 } else { 0xc02b };
        body.extend([0, 2]);
        body.extend(suite.to_be_bytes());
        body.extend([1, 0]);
        let random = hole(4 + 2, 0, Fill::Random { downgraded: false });
        self.write_with(1, body, random, extensions);
    }

    /// Writes a hello: what is in front of its extensions, and those.
    fn write_with(&mut self, kind: u8, mut body: Vec<u8>, random: Hole, extensions: Extensions) {
        let length = extensions.bytes.len() as u16 + extensions.missing;
        body.extend(length.to_be_bytes());
        let start = 4 + body.len();
        let mut holes = vec![random];
        for (at, prefix, fill) in extensions.holes {
            holes.push(hole((start + at) as u16, prefix, fill));
        }
        body.extend(extensions.bytes);
        self.write(kind, &body, &holes);
    }

    fn take_ticket(&mut self) -> Ticket {
        match self.tell(Segment::TakeTicket) {
            Verdict::Ticket(Some(ticket)) => ticket,
            other => panic!("no ticket but {other:?}"),
        }
    }

    /// A full handshake of TLS 1.3 with a server that gives tickets, then one that
    /// resumes it: up to the state in which the server waits for Finished.
    pub fn resumed13(&mut self, server: &mut World, again: impl Fn(&mut World)) {
        self.resuming_hello(Version::Tls13, None);
        self.answered13(server, false);
        self.finished();
        self.done(Segment::PrepareTicket { server_name: None });
        self.finish();
        self.say(server);
        let (records, ours) = (std::mem::take(&mut self.inbox), established(self));
        let (_, rx) = ours.keys.as_ref().unwrap();
        hand_over(&mut self.world, SLOT, SESSION, ours.suite, rx, &records);
        server.completion().unwrap();

        again(server);
        self.begin();
        let ticket = self.take_ticket();
        self.resuming_hello(Version::Tls13, Some(&ticket));
        assert_eq!(self.answered13(server, true), [8, 20]);
    }

    /// The same with TLS 1.2: up to the state in which the server waits for
    /// ChangeCipherSpec.
    pub fn resumed12(&mut self, server: &mut World, again: impl Fn(&mut World)) {
        self.resuming_hello(Version::Tls12, None);
        let share = self.negotiated12(server);
        self.key_exchange12(&share);
        self.done(Segment::WriteChangeCipherSpec);
        self.finished();
        self.ended12(server);
        self.finish();
        established(self);
        server.completion().unwrap();

        again(server);
        self.begin();
        let ticket = self.take_ticket();
        self.resuming_hello(Version::Tls12, Some(&ticket));
        let (kind, hello) = self.read(server);
        assert_eq!((kind, &hello[35..67]), (2, &ticket.session_id[..]));
        self.done(Segment::Negotiate {
            suite: CipherSuite::EcdheEcdsaAes128GcmSha256,
            peer_random: hello[2..34].try_into().unwrap(),
        });
        self.done(Segment::Resume { binder: None });
        self.done(Segment::Derive(Stage::Master, RecordLimit::NONE));
        self.ended12(server);
    }

    /// The server's new ticket, if there is one, and its Finished.
    fn ended12(&mut self, server: &mut World) {
        assert_eq!(self.read(server).0, 4);
        self.done(Segment::KeepTicket);
        let changed = self.wait(Segment::ReceiveChangeCipherSpec, server);
        assert_eq!(changed, Ok(Verdict::Done));
        assert_eq!(self.read(server).0, 20);
        self.done(Segment::ValidateMac);
    }

    // ---- As server ----

    /// A full handshake of TLS 1.3 with a client, which gets a ticket.
    pub fn gives_ticket13(&mut self, client: &mut World) {
        self.server_hello13(client);
        self.write(8, &[0, 0], &[]);
        self.certificate13();
        self.signature13();
        self.finished();
        self.done(Segment::Derive(Stage::Application, RecordLimit::NONE));
        assert_eq!(self.read(client).0, 20);
        self.done(Segment::ValidateMac);
        self.done(Segment::PrepareTicket { server_name: None });
        let mut body = vec![0, 0, 14, 16];
        body.extend([1, 0, 0, 0]);
        let ticket = hole(4 + 6, 2, Fill::NewTicket { nonce: 0 });
        self.write(4, &body, &[hole(4 + 4, 0, Fill::AgeAdd), ticket]);
        self.finish();
        let records = self.world.exchange(SLOT, &[]);
        established(self);
        let Some(Completion::Established { established, .. }) = client.completion() else {
            panic!("the client is not done");
        };
        let (_, rx) = established.keys.as_ref().unwrap();
        // Its first session.
        hand_over(client, 0, 1, established.suite, rx, &records);
    }

    /// ClientHello with a ticket of TLS 1.3, which is opened, and the keys after
    /// ServerHello.
    pub fn resumes13(&mut self, client: &mut World) {
        let hello = self.opens_ticket13(client);
        self.resumed_hello13(&hello, 0x1301, Some(0));
        self.done(Segment::Derive(Stage::Handshake, RecordLimit::NONE));
    }

    /// ClientHello of TLS 1.3, whatever is in it.
    pub fn reads_hello13(&mut self, client: &mut World) -> Vec<u8> {
        let (kind, hello) = self.read(client);
        assert_eq!(kind, 1);
        self.done(Segment::Negotiate {
            suite: CipherSuite::Aes128GcmSha256,
            peer_random: hello[2..34].try_into().unwrap(),
        });
        hello
    }

    /// ClientHello with a ticket of TLS 1.3, which is opened; the binder is right.
    pub fn opens_ticket13(&mut self, client: &mut World) -> Vec<u8> {
        self.begin();
        let hello = self.reads_hello13(client);
        // It is the last extension: identities, then binders.
        let list = hello.len() as u16 - BINDERS;
        self.opens(Version::Tls13, place_of_ticket(&hello, 41, 2 + 2));
        let binder = Place {
            offset: list + 3,
            length: BINDER,
        };
        let binder = Some(Binder { list, binder });
        self.done(Segment::Resume { binder });
        hello
    }

    /// ServerHello of a suite, with this place in pre_shared_key.
    pub fn resumed_hello13(&mut self, hello: &[u8], suite: u16, place: Option<u16>) {
        let mut extensions = Extensions::default();
        extensions.add(43, &[3, 4]);
        if let Some(place) = place {
            extensions.add(41, &place.to_be_bytes());
        }
        extensions.bytes.extend([0, 51, 0, 36, 0, 0x1d]);
        extensions.hole(34, 2, Fill::KeyShare(Group::X25519));
        let mut body = [&[3, 3], session_id_of(hello)].concat();
        body.extend(suite.to_be_bytes());
        body.push(0);
        let random = hole(6, 0, Fill::Random { downgraded: false });
        self.write_with(2, body, random, extensions);
        self.done(Segment::Agree {
            share: Bytes::from_slice(share_of(hello)).unwrap(),
        });
    }

    fn opens(&mut self, version: Version, ticket: Place) {
        let opened = self.tell(Segment::OpenTicket {
            ring: 0,
            version,
            server_name: None,
            ticket,
        });
        assert!(matches!(opened, Verdict::Ticket(Some(_))), "{opened:?}");
    }

    /// A full handshake of TLS 1.2 up to the ticket that ServerHello promises.
    pub fn promises_ticket12(&mut self, client: &mut World) {
        let (_, hello) = self.read(client);
        self.done(Segment::Negotiate {
            suite: CipherSuite::EcdheEcdsaAes128GcmSha256,
            peer_random: hello[2..34].try_into().unwrap(),
        });
        self.server_hello_of12(&[], 0xc02b);
        self.certificate12();
        self.server_key_exchange12();
        self.client_flight12(client);
    }

    /// The ticket.
    pub fn new_ticket12(&mut self) {
        self.done(Segment::PrepareTicket { server_name: None });
        let ticket = hole(4 + 4, 2, Fill::NewTicket { nonce: 0 });
        self.write(4, &[0, 0, 14, 16], &[ticket]);
    }

    /// The same, and the end.
    pub fn gives_ticket12(&mut self, client: &mut World) {
        self.new_ticket12();
        self.done(Segment::WriteChangeCipherSpec);
        self.finished();
        self.finish();
        self.say(client);
        established(self);
        client.completion().unwrap();
    }

    /// ClientHello with a ticket of TLS 1.2, and the keys after ServerHello, which
    /// promises another one.
    pub fn resumes12(&mut self, client: &mut World, suite: u16) {
        self.begin();
        let (_, hello) = self.read(client);
        self.opens(Version::Tls12, place_of_ticket(&hello, 35, 0));
        self.done(Segment::Negotiate {
            suite: CipherSuite::EcdheEcdsaAes128GcmSha256,
            peer_random: hello[2..34].try_into().unwrap(),
        });
        self.done(Segment::Resume { binder: None });
        assert_eq!(hello[34], 32);
        self.server_hello_of12(&hello[35..67], suite);
        self.done(Segment::Derive(Stage::Master, RecordLimit::NONE));
    }

    /// ServerHello of TLS 1.2 that resumes a session which nobody has.
    pub fn resumes_unoffered12(&mut self, session_id: &[u8]) {
        self.server_hello_of12(session_id, 0xc02b);
    }

    fn server_hello_of12(&mut self, session_id: &[u8], suite: u16) {
        let mut body = vec![3, 3, session_id.len() as u8];
        body.extend(session_id);
        body.extend(suite.to_be_bytes());
        body.push(0);
        let mut extensions = Extensions::default();
        extensions.add(23, &[]);
        extensions.add(0xff01, &[0]);
        extensions.add(35, &[]);
        let random = hole(6, 0, Fill::Random { downgraded: false });
        self.write_with(2, body, random, extensions);
    }
}

/// Where the ticket is: `skip` bytes into the extension of that kind, after two
/// bytes of length if it is in a list.
fn place_of_ticket(hello: &[u8], kind: u16, skip: usize) -> Place {
    // Version, random, session, suites, compression.
    let mut at = 34;
    at += 1 + usize::from(hello[at]);
    at += 2 + usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    at += 1 + usize::from(hello[at]) + 2;
    loop {
        let field = |at: usize| u16::from_be_bytes([hello[at], hello[at + 1]]);
        let (found, length) = (field(at), field(at + 2));
        at += 4;
        if found == kind {
            let offset = (at + skip) as u16;
            let length = match skip {
                0 => length,
                _ => field(at + skip - 2),
            };
            return Place { offset, length };
        }
        at += usize::from(length);
    }
}
