//! Directed mode: early data of a client that comes from another server with its ticket is
//! skipped, up to a bound (RFC 8446 §4.2.10).

use crate::script::{SLOT, Script, client_hello, ends_with};
use crate::world::{World, parameters};
use ipc::handshake::Completion;
use ipc::keystore::KeyKind;
use tls::Alert;

/// Bytes before the length of the extensions of a hello with one suite.
const EXTENSIONS: usize = 9;

/// A client with keys, before its Finished.
fn client(has_early_data: bool) -> (Script, World) {
    let mut server = World::directed(&[("web", "localhost", KeyKind::EcdsaP256)]);
    server.start(SLOT, parameters(&["web"]));
    let mut script = Script::new();
    let (mut body, mut holes) = client_hello(&[0x1301], &[0x0304], true);
    if has_early_data {
        body.splice(EXTENSIONS + 2..EXTENSIONS + 2, [0, 42, 0, 0]);
        body[EXTENSIONS + 1] += 4;
        holes[1].offset += 4;
    }
    script.write(1, &body, &holes);
    script.answered13(&mut server, false);
    (script, server)
}

/// A record that no key of the handshake opens.
fn early(length: u16) -> Vec<u8> {
    let [high, low] = length.to_be_bytes();
    let mut record = vec![23, 3, 3, high, low];
    record.resize(5 + usize::from(length), 9);
    record
}

#[test]
fn early_data_that_is_not_accepted_is_skipped() {
    let (mut script, mut server) = client(true);
    for length in [17, 1000, 16384 - 17 - 1000] {
        assert_eq!(server.exchange(SLOT, &early(length)), [0; 0]);
    }
    script.finished();
    script.finish();
    script.say(&mut server);
    let end = server.completion();
    assert!(matches!(end, Some(Completion::Established { .. })));
}

#[test]
fn more_early_data_than_there_may_be_is_refused() {
    let (mut script, mut server) = client(true);
    assert_eq!(server.exchange(SLOT, &early(16384)), [0; 0]);
    script.inbox = server.exchange(SLOT, &early(17));
    ends_with(
        &mut script,
        &mut server,
        Alert::UNEXPECTED_MESSAGE,
        "too much",
    );
}

#[test]
fn what_no_key_opens_is_refused_without_early_data() {
    let (mut script, mut server) = client(false);
    script.inbox = server.exchange(SLOT, &early(100));
    ends_with(
        &mut script,
        &mut server,
        Alert::BAD_RECORD_MAC,
        "no early data",
    );
}
