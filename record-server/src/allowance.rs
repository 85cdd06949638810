//! What a peer may ask for without bringing data.

use ipc::clock::Instant;
use tls::Role;

/// Consecutive records without content, as in BoringSSL (`kMaxEmptyRecords`).
const MAX_EMPTY: u16 = 32;
/// Consecutive alerts that are warnings, as in BoringSSL (`kMaxWarningAlerts`).
const MAX_WARNINGS: u16 = 4;
/// Consecutive records of any kind that bring no data, of a client: a server has nothing
/// long to hear.
const MAX_QUIET: u16 = 256;
/// The same of a server: two tickets of the longest kind that is kept
/// ([`MAX_POST_HANDSHAKE`]), in records of one byte. BoringSSL and OpenSSL have no such
/// bound.
///
/// [`MAX_POST_HANDSHAKE`]: ipc::record::MAX_POST_HANDSHAKE
const MAX_QUIET_TICKETS: u16 = 8192;
/// Messages after the handshake at once, as in BoringSSL (`kMaxKeyUpdates`) and
/// rustls (`allowed_key_update_requests`).
const BURST: u64 = 32;
/// After those, one message a second, ...
const SECOND: u64 = 1_000_000_000;
/// ... or one for each record of data, as long as records can be (RFC 8446 §5.1).
const DATA: u64 = 1 << 14;

/// Counts what a session's peer has asked for.
pub(crate) struct Allowance {
    most_quiet: u16,
    empty: u16,
    warnings: u16,
    quiet: u16,
    /// Messages taken, and messages earned by data and time.
    messages: u64,
    earned: u64,
    data: u64,
    since: Option<Instant>,
}

impl Allowance {
    /// For the peer of a session in which this side is `role`.
    pub(crate) const fn new(role: Role) -> Self {
        Self {
            most_quiet: match role {
                Role::Server => MAX_QUIET,
                Role::Client => MAX_QUIET_TICKETS,
            },
            empty: 0,
            warnings: 0,
            quiet: 0,
            messages: 0,
            earned: 0,
            data: 0,
            since: None,
        }
    }

    /// A record with `length` bytes of data arrived.
    pub(crate) fn data(&mut self, length: usize) -> bool {
        if length == 0 {
            self.empty = self.empty.saturating_add(1);
            return self.empty <= MAX_EMPTY && self.quiet();
        }
        (self.empty, self.warnings, self.quiet) = (0, 0, 0);
        self.data += length as u64;
        self.earned += self.data / DATA;
        self.data %= DATA;
        true
    }

    /// A warning arrived; false when it is one too many.
    pub(crate) fn warning(&mut self) -> bool {
        self.warnings = self.warnings.saturating_add(1);
        self.warnings <= MAX_WARNINGS && self.quiet()
    }

    /// A record without data arrived; false when it is one too many.
    pub(crate) fn quiet(&mut self) -> bool {
        self.quiet = self.quiet.saturating_add(1);
        self.quiet <= self.most_quiet
    }

    /// A message is passed on; false when it is one too many.
    pub(crate) fn message(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let seconds = (now - since).as_nanos() / u128::from(SECOND);
        if let Ok(seconds @ 1..) = u64::try_from(seconds) {
            self.earned = self.earned.saturating_add(seconds);
            self.since = Some(now);
        }
        // What was earned and not used is kept up to one burst.
        self.messages = self
            .messages
            .saturating_sub(core::mem::take(&mut self.earned));
        self.messages += 1;
        self.messages <= BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * SECOND)
    }

    #[test]
    fn empty_records_and_warnings_count_until_data_comes() {
        let mut allowance = Allowance::new(Role::Server);
        for _ in 0..10 {
            assert!((0..MAX_EMPTY).all(|_| allowance.data(0)));
            assert!((0..MAX_WARNINGS).all(|_| allowance.warning()));
            assert!(allowance.data(1));
        }
        assert!((0..MAX_WARNINGS).all(|_| allowance.warning()));
        assert!(!allowance.warning());
        let mut allowance = Allowance::new(Role::Server);
        assert_eq!((0..1000).take_while(|_| allowance.data(0)).count(), 32);
        let mut allowance = Allowance::new(Role::Server);
        assert_eq!((0..1000).take_while(|_| allowance.quiet()).count(), 256);
        let mut allowance = Allowance::new(Role::Client);
        let two_tickets = 2 * ipc::record::MAX_POST_HANDSHAKE;
        assert!((0..two_tickets).all(|_| allowance.quiet()));
        let more = (0..10_000).take_while(|_| allowance.quiet()).count();
        assert_eq!(more + two_tickets, usize::from(MAX_QUIET_TICKETS));
    }

    #[test]
    fn messages_come_in_a_burst_then_with_time_or_data() {
        let mut allowance = Allowance::new(Role::Server);
        let burst = (0..1000).take_while(|_| allowance.message(at(5))).count();
        assert_eq!(burst as u64, BURST);
        let mut allowance = Allowance::new(Role::Server);
        for second in 0..10_000 {
            assert!(allowance.message(at(second)), "{second}");
        }
        let mut allowance = Allowance::new(Role::Server);
        for _ in 0..10_000 {
            allowance.data(1 << 14);
            assert!(allowance.message(at(5)));
        }
        // A byte of data earns nothing.
        let mut allowance = Allowance::new(Role::Server);
        let count = (0..1000).take_while(|_| {
            allowance.data(1);
            allowance.message(at(5))
        });
        assert_eq!(count.count() as u64, BURST);
    }
}
