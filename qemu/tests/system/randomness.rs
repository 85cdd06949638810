//! Random numbers: no system without a sound source.

use std::fs;
use std::time::Duration;

use crate::harness::site::Prepared;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn c06_without_a_random_number_generator_the_boot_stops() {
    let sound = Prepared::build("randomness", false).unwrap().machine;
    let mut deprived = sound.clone();
    deprived.lacks = vec!["rdrand".into(), "rdseed".into()];

    let mut guest = deprived.start(PATIENCE).unwrap();
    guest
        .wait_line(PATIENCE, |line| {
            line == "init: no random numbers: the processor has no RDRAND"
        })
        .unwrap();
    // Long enough for a boot that goes on to tell so.
    let went_on = guest.wait_line(Duration::from_secs(10), |line| {
        line.contains(" domains, ") || line.starts_with("policy: ")
    });
    let log = fs::read_to_string(guest.log_file()).unwrap();
    assert!(went_on.is_err(), "{log}");
    guest.stop();

    // The same image goes on where the generator is there.
    let mut guest = sound.start(PATIENCE).unwrap();
    let told = guest
        .wait_line(PATIENCE, |line| line.starts_with("init: random numbers: "))
        .unwrap();
    assert!(told.ends_with(", sound"), "{told}");
    guest
        .wait_line(PATIENCE, |line| line.contains(" domains, "))
        .unwrap();
}
