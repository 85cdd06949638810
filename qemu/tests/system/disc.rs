//! The bootable disc (C4).

use crate::harness::backend::PAGE;
use crate::harness::program::curl;
use crate::harness::site::{Prepared, port};

#[test]
fn c04_the_disc_boots_and_serves() {
    let site = Prepared::build("disc", true).unwrap().boot().unwrap();
    let ended = curl(site.address(port::HTTP), &site.material, "/", &[""; 0]);
    ended.expect(&["HTTP/1.1 200 OK", PAGE]);
    site.assert_unharmed();
}
