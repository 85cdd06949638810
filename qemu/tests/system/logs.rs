//! The log: its moments, and where it goes.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use qemu::log::{Cursor, session, without_time};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::harness::client::Wish;
use crate::harness::site::{Prepared, Site, port};

const PATIENCE: Duration = Duration::from_secs(30);

/// One session with the echo listener; the line at its end.
fn one_session(site: &Site) -> String {
    let start = site.guest.log().end();
    let mut client = Wish::any(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    assert_eq!(client.echo(b"hello").unwrap(), b"hello");
    client.end().unwrap();
    drop(client);
    let line = site.guest.log().find(start, PATIENCE, |line| {
        session(line).is_some_and(|text| text.starts_with("at-444 "))
    });
    line.unwrap()
}

/// The moments of the lines in the log file, of which each has one from the first on.
fn moments(site: &Site) -> Vec<OffsetDateTime> {
    let text = fs::read_to_string(site.guest.log_file()).unwrap();
    let with_moment = |line: &&str| without_time(line).len() < line.len();
    let lines = text.lines().skip_while(|line| !with_moment(line));
    lines
        .map(|line| {
            let (moment, _) = line.split_once(' ').unwrap();
            OffsetDateTime::parse(moment, &Rfc3339).unwrap()
        })
        .collect()
}

/// Whether lines are in order, and of the time in which this test ran.
fn assert_ordered(site: &Site, began: SystemTime) {
    let moments = moments(site);
    assert!(moments.len() > 4);
    assert!(moments.is_sorted(), "{moments:?}");
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    // The real-time clock tells seconds, and the first may be half over.
    let (first, last) = (seconds(began) - 2, seconds(SystemTime::now()) + 2);
    for moment in moments {
        let at = u64::try_from(moment.unix_timestamp()).unwrap();
        assert!((first..=last).contains(&at), "{moment}");
    }
}

#[test]
fn lines_have_their_moment_and_a_machine_without_a_console_has_them_at_its_serial_port() {
    let began = SystemTime::now();
    for (has_console, has_serial) in [(true, true), (false, true), (true, false)] {
        let mut prepared = Prepared::build("logs", false).unwrap();
        prepared.machine.console = has_console;
        // Without it what is seen comes by the console alone.
        prepared.machine.serial = has_serial;
        let site = prepared.boot().unwrap();
        let line = one_session(&site);
        assert!(line.contains(" up=5 down=5 ms="), "{line}");
        assert!(line.ends_with(" by=client why=closed"), "{line}");
        let lines = site.guest.log().since(Cursor::default());
        let tells = |text: &str| lines.iter().any(|line| line.starts_with(text));
        assert_eq!(tells("init: no virtio console"), !has_console);
        assert_eq!(
            tells("init: clock: "),
            has_serial,
            "the boot is told at the port"
        );
        assert_ordered(&site, began);
    }
}
