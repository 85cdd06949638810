//! The log: its moments, and where it goes.

use std::fs;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use qemu::log::{Cursor, session, without_time};
use serde_json::{Map, Value};
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

#[test]
fn each_line_is_a_json_object_where_the_configuration_says_so() {
    let began = SystemTime::now();
    let site = Prepared::build_json("logs-json").unwrap().boot().unwrap();
    let start = site.guest.log().end();
    let mut client = Wish::any(&site.material)
        .connect(site.address(port::ECHO))
        .unwrap();
    assert_eq!(client.echo(b"hello").unwrap(), b"hello");
    client.end().unwrap();
    drop(client);
    // And one that speaks no TLS.
    let mut other = crate::harness::client::tcp(site.address(port::ECHO)).unwrap();
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    for end in ["session ended ", "handshake failed "] {
        let line = site
            .guest
            .log()
            .find(start, PATIENCE, |line| line.contains(end));
        assert!(line.is_some(), "{}", site.guest.log().tail(30));
    }
    // The file has a line later than whoever asks for it.
    let until = Instant::now() + PATIENCE;
    let text = loop {
        let text = fs::read_to_string(site.guest.log_file()).unwrap();
        if text.contains("handshake failed") && text.ends_with('\n') || Instant::now() > until {
            break text;
        }
        thread::sleep(Duration::from_millis(20));
    };
    // The boot is told before.
    let lines = text.lines().skip_while(|line| !line.starts_with('{'));
    let objects: Vec<Map<String, Value>> = lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    for object in &objects {
        let time = object["time"].as_str().unwrap();
        let at = OffsetDateTime::parse(time, &Rfc3339)
            .unwrap()
            .unix_timestamp();
        assert!(at.unsigned_abs() + 2 >= seconds(began), "{time}");
        assert!(object["domain"].is_string() && object["message"].is_string());
    }
    let of = |message: &str| {
        let mut found = objects.iter().filter(|object| object["message"] == message);
        found.next_back().unwrap()
    };
    let ended = of("session ended");
    assert_eq!(ended["domain"], "gateway");
    assert_eq!(ended["listener"], format!("at-{}", port::ECHO));
    assert_eq!((&ended["up"], &ended["down"]), (&5.into(), &5.into()));
    assert_eq!(
        (&ended["by"], &ended["why"]),
        (&"client".into(), &"closed".into())
    );
    assert_eq!(
        (&ended["version"], &ended["resumed"]),
        (&"TLSv1.3".into(), &false.into())
    );
    assert_eq!(of("handshake failed")["reason"], "not_tls");
    let is_ready =
        |object: &Map<String, Value>| object["message"] == "ready" && object["domain"] == "gateway";
    assert!(objects.iter().any(is_ready));
}
