//! One end of a TLS connection, in memory.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, ServerConfig};

/// The name in the certificates.
const SERVER_NAME: &str = "bench";
/// More than a record's header and trailer.
const OVERHEAD: usize = 64;

/// What both roles have in common.
pub(crate) trait Engine {
    type Data;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn is_over(&self) -> bool;
}

impl Engine for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
    fn is_over(&self) -> bool {
        !self.is_handshaking()
    }
}

impl Engine for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, bytes: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(bytes)
    }
    fn is_over(&self) -> bool {
        !self.is_handshaking()
    }
}

/// One end.
pub(crate) struct End<E> {
    engine: E,
    incoming: Vec<u8>,
    /// What it has to say.
    pub(crate) outgoing: Vec<u8>,
}

pub(crate) type ClientEnd = End<UnbufferedClientConnection>;
pub(crate) type ServerEnd = End<UnbufferedServerConnection>;

impl ClientEnd {
    /// A client that has its ClientHello to say.
    pub(crate) fn new(config: &Arc<ClientConfig>) -> Self {
        let Ok(name) = ServerName::try_from(SERVER_NAME) else {
            panic!("no server name");
        };
        let Ok(engine) = UnbufferedClientConnection::new(config.clone(), name) else {
            panic!("no client");
        };
        let mut end = Self::with(engine);
        end.advance();
        end
    }
}

impl ClientEnd {
    /// Has a KeyUpdate to say that asks for one (RFC 8446 §4.6.3).
    pub(crate) fn update_keys(&mut self) {
        let UnbufferedStatus { state, .. } = self.engine.process(&mut []);
        let Ok(ConnectionState::WriteTraffic(traffic)) = state else {
            panic!("not ready for a KeyUpdate");
        };
        if traffic.refresh_traffic_keys().is_err() {
            panic!("no KeyUpdate");
        }
        self.advance();
    }
}

impl ServerEnd {
    pub(crate) fn new(config: &Arc<ServerConfig>) -> Self {
        let Ok(engine) = UnbufferedServerConnection::new(config.clone()) else {
            panic!("no server");
        };
        Self::with(engine)
    }
}

impl<E: Engine> End<E> {
    fn with(engine: E) -> Self {
        Self {
            engine,
            incoming: Vec::new(),
            outgoing: Vec::new(),
        }
    }

    /// Whether the handshake is over.
    pub(crate) fn is_over(&self) -> bool {
        self.engine.is_over()
    }

    /// Takes bytes of the handshake.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
        self.advance();
    }

    fn advance(&mut self) {
        loop {
            let UnbufferedStatus { discard, state } = self.engine.process(&mut self.incoming);
            let goes_on = match state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let start = self.outgoing.len();
                    let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) else {
                        panic!("nothing to encode");
                    };
                    self.outgoing.resize(start + size.required_size, 0);
                    let room = self.outgoing.get_mut(start..).unwrap_or_default();
                    data.encode(room).is_ok()
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    true
                }
                Ok(_) => false,
                Err(error) => panic!("{error:?}"),
            };
            self.incoming.drain(..discard);
            if !goes_on {
                return;
            }
        }
    }

    /// Seals one record of application data after `outgoing`.
    pub(crate) fn seal(&mut self, text: &[u8]) {
        let UnbufferedStatus { state, .. } = self.engine.process(&mut []);
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = state else {
            panic!("not ready for data");
        };
        let start = self.outgoing.len();
        self.outgoing.resize(start + text.len() + OVERHEAD, 0);
        let room = self.outgoing.get_mut(start..).unwrap_or_default();
        let Ok(used) = traffic.encrypt(text, room) else {
            panic!("can't seal");
        };
        self.outgoing.truncate(start + used);
    }

    /// Takes bytes of records and returns how many bytes of application data
    /// were in those that are whole by now.
    pub(crate) fn open(&mut self, bytes: &[u8]) -> usize {
        self.incoming.extend_from_slice(bytes);
        let mut opened = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.engine.process(&mut self.incoming);
            let mut goes_on = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let Ok(record) = record else {
                            panic!("a record that can't be opened");
                        };
                        opened += record.payload.len();
                        discard += record.discard;
                        goes_on = true;
                    }
                }
                Ok(_) => {}
                Err(error) => panic!("{error:?}"),
            }
            self.incoming.drain(..discard);
            if !goes_on {
                return opened;
            }
        }
    }
}
