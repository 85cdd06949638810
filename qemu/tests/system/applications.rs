//! Two applications: the gateway, and `examples/echo` beside it.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::PATIENCE;
use crate::harness::client::{Session, Wish};
use crate::harness::site::{Prepared, Site, port};

/// Where the example listens.
const EXAMPLE: u16 = 7443;
/// Sessions and handshakes that it has at once, by its description.
const SHARE: usize = 16;
/// Its part of the configuration.
const RIGHTS: &str = "
[[keyring]]
label = \"localhost\"
chain = \"p256-chain.pem\"
key = \"p256-key.pem\"

[[application]]
client = 2
listen = [7443]
keyring = \"localhost\"
mode = \"autonomous\"
";

fn echoed(site: &Site, port: u16, bytes: &[u8]) -> Session {
    let wish = Wish::tls13(&site.material);
    let mut session = wish.connect(site.address(port)).unwrap();
    assert!(session.echo(bytes).unwrap() == bytes);
    session
}

#[test]
fn a_second_application_has_sessions_of_its_own_and_takes_none_from_the_gateway() {
    let prepared = Prepared::build_example("echo", RIGHTS).unwrap();
    let site = prepared.boot().unwrap();
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    // Both at the same time, bytes there and back.
    thread::scope(|scope| {
        for port in [EXAMPLE, port::ECHO, EXAMPLE, port::ECHO] {
            let (site, bytes) = (&site, &bytes);
            scope.spawn(move || {
                let mut session = echoed(site, port, bytes);
                session.end().unwrap();
                // close_notify, and nothing before it.
                assert_eq!(session.0.read(&mut [0; 16]).unwrap(), 0);
            });
        }
    });
    // As many sessions as it may have, held, and one more.
    let start = site.mark();
    let held: Vec<_> = (0..SHARE).map(|_| settled(&site)).collect();
    assert!(
        Wish::tls13(&site.material)
            .connect(site.address(EXAMPLE))
            .is_err()
    );
    // The gateway has room for its own, all along.
    let others: Vec<_> = (0..40)
        .map(|_| echoed(&site, port::ECHO, b"still"))
        .collect();
    let lines = site.said_since(start);
    let in_slots = lines
        .iter()
        .filter(|line| line.starts_with("echo: session "));
    assert!(in_slots.count() >= SHARE);
    drop((held, others));
    settled(&site);
    site.assert_unharmed();
}

/// A session of the example, when there is room for one.
fn settled(site: &Site) -> Session {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Wish::tls13(&site.material).connect(site.address(EXAMPLE)) {
            Ok(mut session) => {
                assert_eq!(session.echo(b"there").unwrap(), b"there");
                return session;
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
}
