//! Much data each way.

use std::io::{self, Read, Write};

use super::backend::{Pattern, UP, sha256};
use super::client::Wish;
use super::site::{Site, port};

/// So many bytes arrive unchanged each way, in both versions.
pub(crate) fn arrives_unchanged_each_way(site: &Site, bytes: u64) {
    for version in [Wish::tls13, Wish::tls12] {
        let expected = sha256(&mut Pattern::new(bytes)).unwrap();
        let mut session = version(&site.material)
            .connect(site.address(port::BULK))
            .unwrap();
        session.0.write_all(UP.as_bytes()).unwrap();
        io::copy(&mut Pattern::new(bytes), &mut session.0).unwrap();
        session.end().unwrap();
        let mut answer = String::new();
        session.0.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.trim(), expected);
        let mut session = version(&site.material)
            .connect(site.address(port::BULK))
            .unwrap();
        writeln!(session.0, "down {bytes}").unwrap();
        session.0.flush().unwrap();
        assert_eq!(sha256(&mut session.0).unwrap(), expected);
    }
}
