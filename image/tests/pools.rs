//! Pools and windows that do not suit the shipped system, each with the error that it gives.

use image::check;
use image::workspace;

#[test]
fn a_pool_that_can_not_serve_its_channel_is_refused() {
    let shipped = std::fs::read_to_string(workspace::description().unwrap()).unwrap();
    let plaintext = "a_to_b_pool = { guaranteed = \"2K\", lent = { session = 512, fixed = \"1280K\" } }\nb_to_a_pool = { guaranteed = \"2K\", lent = { session = 512, fixed = \"1280K\" } }\n\n# From a";
    assert!(shipped.contains(plaintext));
    let with = |guaranteed: &str, lent: &str| {
        let pool =
            format!("a_to_b_pool = {{ guaranteed = {guaranteed}, lent = {lent} }}\n\n# From a");
        let error = check::parse(&shipped.replacen(plaintext, &pool, 1)).unwrap_err();
        format!("{error:#}")
    };
    for (guaranteed, lent, bytes) in [
        (
            "\"1K\"",
            "\"3M\"",
            "1024 bytes and all together 3145728 more",
        ),
        ("2049", "\"3M\"", "2049 bytes and all together 3145728 more"),
        ("\"64K\"", "0", "65536 bytes and all together 0 more"),
        ("\"2K\"", "1", "2048 bytes and all together 1 more"),
        (
            "\"2K\"",
            "\"8193K\"",
            "2048 bytes and all together 8389632 more",
        ),
    ] {
        let error = with(guaranteed, lent);
        assert!(
            error.starts_with("channel plaintext: a pool guarantees each slot 2K to 4K"),
            "{error}"
        );
        assert!(error.ends_with(bytes), "{error}");
    }
    // Messages have to be whole.
    let handshake = "name = \"handshake\"\n";
    assert!(shipped.contains(handshake));
    let pool = format!("{handshake}a_to_b_pool = {{ guaranteed = \"2K\", lent = 0 }}\n");
    let error = check::parse(&shipped.replacen(handshake, &pool, 1)).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.starts_with("channel handshake: it carries messages"),
        "{error}"
    );
    // Its reader goes on with what the writer forgets.
    let restarts = "restarts = [\"kernel-shim\", \"director\", \"offload-server\", \"gateway\"]";
    let without = "restarts = [\"kernel-shim\", \"director\", \"offload-server\"]";
    assert!(shipped.contains(restarts));
    let error = check::parse(&shipped.replacen(restarts, without, 1)).unwrap_err();
    let error = format!("{error:#}");
    assert!(
        error.starts_with("channel plaintext: gateway reads blocks that record-server lends"),
        "{error}"
    );
}

#[test]
fn every_holder_of_sessions_has_a_slot_for_each() {
    let shipped = std::fs::read_to_string(workspace::description().unwrap()).unwrap();
    let window = "holder = \"offload-server\"\nmanager = \"kernel-shim\"\nslots = { session = 1 }";
    assert!(shipped.contains(window));
    let error =
        check::parse(&shipped.replacen(window, &window.replace("{ session = 1 }", "1024"), 1));
    assert_eq!(
        error.unwrap_err().to_string(),
        "the window \"install\" has 1024 slots for 1536 sessions"
    );
}
