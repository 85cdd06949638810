//! The application's side of the system, and the peer of its connections:
//! this domain connects to itself.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;

use ipc::channel::{Channel, SlotIndex, Status};
use ipc::clock::{Clock, Instant};
use ipc::control::{self, Control, HandshakeRequest, SessionResult};
use ipc::net::{self, Address, ConnectionId, Net};
use ipc::stats::Page;
use ipc::tls::Mode;
use ipc::transport::Client;
use sel4::runtime::{Bell, Caller, SystemClock, wait_signals};
use tls::Role;

use crate::meter::Meter;
use crate::settings::Case;
use crate::tls::ClientEnd;

/// As in `bench/gateway.toml`.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const BACKLOG: u16 = 128;
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that is moved at once.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Capabilities of the application.
pub(crate) struct Site {
    pub(crate) net: Client<Net, Caller>,
    pub(crate) shim: Client<Control, Caller>,
    pub(crate) session: Box<dyn Fn(SlotIndex) -> Client<Control, Caller>>,
    pub(crate) plain: Channel<Bell>,
    pub(crate) backend: Channel<Bell>,
    /// Counters of network stack, key store, record layer, shim, director and offload
    /// component.
    pub(crate) pages: [&'static Page; 6],
    pub(crate) meter: Meter,
    pub(crate) buffer: Vec<u8>,
}

/// One end of a TCP connection in a slot of the backend channel.
#[derive(Clone, Copy)]
pub(crate) struct End {
    pub(crate) connection: ConnectionId,
    pub(crate) slot: SlotIndex,
}

/// A TCP connection with both of its ends here.
pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
}

/// A TLS session with both of its ends here.
pub(crate) struct Session {
    pub(crate) client: End,
    pub(crate) tls: ClientEnd,
    /// At the record layer.
    pub(crate) slot: SlotIndex,
}

impl Site {
    /// Listens on the port of each case, and has completions announced.
    pub(crate) fn listen(&mut self, cases: &[Case]) {
        self.buffer.resize(CHUNK, 0);
        for case in cases {
            let request = net::Request::Listen {
                port: case.port,
                backlog: BACKLOG,
                ready: net::Ready::Established,
                share: None,
            };
            self.ask(&request);
        }
        let answer = self.shim.call(&control::Request::Subscribe);
        if !matches!(answer, Ok(Ok(control::Answer::Done))) {
            panic!("the shim does not answer");
        }
    }

    // ---- TCP ----

    /// Connects to `port`, and accepts.
    pub(crate) fn connect(&mut self, port: u16) -> (End, ConnectionId) {
        let request = net::Request::Connect {
            to: Address(SocketAddr::from((ADDRESS, port))),
            deadline: deadline(),
        };
        let client = self.attached(&request);
        self.wait_for(|site| {
            let status = site.backend.peer_status(client.slot);
            status.has(Status::ESTABLISHED).then_some(())
        });
        let accepted = self.wait_for(|site| match site.ask(&net::Request::Accept) {
            net::Answer::Accepted { connection, .. } => Some(connection),
            _ => None,
        });
        (client, accepted)
    }

    pub(crate) fn connect_plain(&mut self, case: &Case) -> Pair {
        let (client, connection) = self.connect(case.port);
        let server = self.attached(&net::Request::Attach {
            connection,
            deadline: deadline(),
        });
        Pair { client, server }
    }

    /// Sends the bytes of each flight, by turns.
    pub(crate) fn play(&mut self, pair: &Pair, flights: &[usize]) {
        let mut ends = (pair.client.slot, pair.server.slot);
        for length in flights {
            let (from, to) = ends;
            let flight = self.buffer.get(..*length).unwrap_or_default();
            if self.backend.write(from, flight) != Ok(*length) {
                panic!("no room for a flight");
            }
            let mut got = 0;
            while got < *length {
                got += self.wait_for(|site| {
                    let read = site.backend.read(to, &mut site.buffer);
                    read.ok().filter(|count| *count > 0)
                });
            }
            ends = (to, from);
        }
        self.settle();
    }

    pub(crate) fn close_plain(&mut self, pair: Pair) {
        self.release(pair.server);
        self.release(pair.client);
        self.settle();
    }

    fn release(&mut self, end: End) {
        self.backend.close(end.slot);
        let connection = end.connection;
        self.ask(&net::Request::Release { connection });
    }

    fn attached(&mut self, request: &net::Request) -> End {
        let net::Answer::Connecting { connection, slot } = self.ask(request) else {
            panic!("no slot");
        };
        self.backend.follow(slot);
        End { connection, slot }
    }

    fn ask(&self, request: &net::Request) -> net::Answer {
        match self.net.call(request) {
            Ok(Ok(answer)) => answer,
            failed => panic!("{request:?}: {failed:?}"),
        }
    }

    // ---- TLS ----

    /// Asks for the handshake of an accepted connection.
    pub(crate) fn start(&mut self, case: &Case, mode: Mode, connection: ConnectionId) {
        let request = control::Request::StartHandshake(HandshakeRequest {
            connection,
            role: Role::Server,
            mode,
            parameters: Box::new(case.parameters.clone()),
            tcp_sequence: None,
            deadline: deadline(),
            group: 0,
            standing: control::Standing::New,
        });
        let answer = self.shim.call(&request);
        if !matches!(answer, Ok(Ok(control::Answer::Started(_)))) {
            panic!("the shim does not start");
        }
    }

    /// A whole handshake, from connecting to the collected result.
    pub(crate) fn handshake(&mut self, case: &Case, mode: Mode) -> Session {
        let (client, connection) = self.connect(case.port);
        self.start(case, mode, connection);
        let mut tls = ClientEnd::new(&case.client);
        self.say(client, &mut tls);
        self.finish(client, tls)
    }

    /// The rest of a handshake whose ClientHello has been said.
    pub(crate) fn finish(&mut self, client: End, mut tls: ClientEnd) -> Session {
        while !tls.is_over() {
            let got = self.receive(client);
            tls.receive(self.buffer.get(..got).unwrap_or_default());
            self.say(client, &mut tls);
        }
        let result = self.collect();
        let slot = result.slot;
        self.plain.follow(slot);
        Session { client, tls, slot }
    }

    /// Writes all that the client has to say.
    pub(crate) fn say(&mut self, end: End, tls: &mut ClientEnd) {
        if self.backend.write(end.slot, &tls.outgoing) != Ok(tls.outgoing.len()) {
            panic!("no room for a flight");
        }
        tls.outgoing.clear();
        self.settle();
    }

    /// Waits for bytes, which are at the start of the buffer then.
    pub(crate) fn receive(&mut self, end: End) -> usize {
        self.wait_for(|site| site.received(end))
    }

    /// The same without waiting.
    pub(crate) fn received(&mut self, end: End) -> Option<usize> {
        let read = self.backend.read(end.slot, &mut self.buffer);
        read.ok().filter(|count| *count > 0)
    }

    pub(crate) fn collect(&mut self) -> SessionResult {
        self.wait_for(|site| match site.shim.call(&control::Request::CollectAny) {
            Ok(Ok(control::Answer::Established(_, result))) => Some(result),
            Ok(Ok(control::Answer::Failed(_, error))) => panic!("handshake: {error:?}"),
            _ => None,
        })
    }

    pub(crate) fn close_session(&mut self, session: Session) {
        let capability = (self.session)(session.slot);
        let answer = capability.call(&control::Request::CloseSession);
        if !matches!(answer, Ok(Ok(control::Answer::Done))) {
            panic!("the session can't be closed");
        }
        self.plain.close(session.slot);
        self.release(session.client);
        self.settle();
    }

    // ---- waiting ----

    /// Lets everybody else work. They have higher priorities: when this
    /// returns, they wait.
    pub(crate) fn settle(&mut self) {
        flush(&mut self.plain);
        flush(&mut self.backend);
    }

    /// Tries until there is something, and sleeps between.
    pub(crate) fn wait_for<T>(&mut self, mut what: impl FnMut(&mut Self) -> Option<T>) -> T {
        loop {
            self.settle();
            if let Some(found) = what(self) {
                return found;
            }
            wait_signals();
        }
    }
}

fn flush(channel: &mut Channel<Bell>) {
    while channel.next_event().is_some() {}
    channel.flush();
}

fn deadline() -> Instant {
    SystemClock.now() + PATIENCE
}
