//! What an offload component says of a handshake that is over.

use ipc::bounded::Text;
use ipc::clock::Instant;
use ipc::control::{Established, PeerIdentity};
use ipc::net::TcpPosition;
use tls::{CipherSuite, Version};

pub fn established(tcp: TcpPosition) -> Established {
    Established {
        version: Version::Tls13,
        suite: CipherSuite::Aes128GcmSha256,
        group: None,
        sequence: (0, 0),
        key_check: None,
        keys: None,
        peer: Some(PeerIdentity {
            fingerprint: [5; 32],
            certificate_len: 1000,
            subject: Text::from_text("CN=client").unwrap(),
            common_name: Text::from_text("client").unwrap(),
            names: Text::default(),
        }),
        alpn: None,
        server_name: None,
        keyring: Text::from_text("web").unwrap(),
        resumed: false,
        peer_scheme: None,
        tcp,
        first_byte: Instant::from_millis(101),
        installed: Instant::from_millis(102),
    }
}
