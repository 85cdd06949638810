//! Clients whose own certificate is longer than is kept are served, resumed or not.

use crate::client::{Client, ClientOptions, complete, established};
use crate::revoking::{BOTH, RING, asked, of_rustls};
use crate::world::World;
use ipc::record::{MAX_PEER_CERTIFICATE, Request};

/// Names of a certificate of some 4 KB, 8 KB, 16 KB and 48 KB: each takes 18 bytes.
const NAMES: [usize; 4] = [190, 430, 890, 2660];

#[test]
fn a_client_whose_certificate_is_longer_than_is_kept_is_served_and_it_is_not_kept() {
    for (mode, version) in BOTH {
        for names in NAMES {
            let mut world = World::in_mode(mode, &[RING]);
            let options = ClientOptions {
                versions: of_rustls(version).to_vec(),
                has_certificate: true,
                more_names: names,
                ..ClientOptions::default()
            };
            let config = Client::config(&world, &options);
            let mut fingerprints = Vec::new();
            for visit in 0..3 {
                let case = format!("{mode:?} {version:?} {names} {visit}");
                world.start(0, asked(version));
                let mut client = Client::with(config.clone(), "localhost");
                let agreed = established(complete(&mut world, 0, &mut client));
                client.receive(&world.exchange(0, &[]));
                assert_eq!(client.error, None, "{case}");
                // A ticket carries no longer one either.
                let is_short = names == NAMES[0];
                assert_eq!(agreed.resumed, is_short && visit > 0, "{case}");
                let peer = agreed.peer.unwrap();
                assert!(
                    peer.names.starts_with("DNS:client DNS:0000.client.test"),
                    "{case}"
                );
                fingerprints.push(peer.fingerprint);
                let installed = world.installed.take().into_values().next().unwrap();
                let kept = installed.iter().map(|request| match request {
                    Request::KeepCertificate { part } => part.len(),
                    _ => 0,
                });
                let kept: usize = kept.sum();
                assert_eq!(kept, usize::from(peer.certificate_len), "{case}");
                assert!(kept <= MAX_PEER_CERTIFICATE, "{case}");
                assert_eq!(kept > 0, is_short, "{case}");
            }
            assert!(fingerprints.windows(2).all(|pair| pair[0] == pair[1]));
        }
    }
}
