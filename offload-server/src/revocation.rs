//! Revocation lists (CRLs, RFC 5280 §5) of a key ring.
//!
//! They are read where they lie each time that a peer is judged: what rustls' verifiers
//! make of one is several times as large, and each of them makes its own.

use alloc::sync::Arc;
use alloc::vec::Vec;

use der::Decode;
use der::asn1::AnyRef;
use ipc::tls::{Label, Revocation};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, Error, ExpirationPolicy, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use crate::certified::{items, time};
use crate::keyring::Keyring;

/// The revocation lists of one ring, at least one.
pub(crate) struct Crls {
    revocation: Revocation,
    /// In DER.
    lists: Vec<Vec<u8>>,
    /// When the first of them is out of date, in seconds since 1970.
    next_update: u64,
}

impl Crls {
    /// `None` if one of them is no revocation list that can be used.
    pub(crate) fn new(revocation: Revocation, lists: Vec<Vec<u8>>) -> Option<Self> {
        parsed(&lists).ok()?;
        let next_update = lists.iter().map(|der| next_update(der));
        let next_update = next_update.collect::<Option<Vec<_>>>()?.into_iter().min()?;
        Some(Self {
            revocation,
            lists,
            next_update,
        })
    }

    /// Lets `judge` ask them about a whole path: about each certificate but the trust anchor.
    ///
    /// # Errors
    /// Those of `judge`.
    pub(crate) fn with(
        &self,
        judge: impl FnOnce(RevocationOptions<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let lists = parsed(&self.lists)?;
        let lists: Vec<_> = lists.iter().collect();
        // There is one: it was counted in `new`.
        let options =
            RevocationOptionsBuilder::new(&lists).map_err(|_| Error::UnknownRevocationStatus)?;
        let options = match self.revocation {
            Revocation::Require => options
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce),
            Revocation::WhenKnown => options
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Ignore),
        };
        judge(options.build())
    }

    /// Until when what they say of a peer is enough, in seconds since 1970.
    pub(crate) const fn enough_until(&self) -> u64 {
        match self.revocation {
            Revocation::Require => self.next_update,
            Revocation::WhenKnown => u64::MAX,
        }
    }
}

fn parsed(lists: &[Vec<u8>]) -> Result<Vec<CertRevocationList<'_>>, Error> {
    let parse = |der| BorrowedCertRevocationList::from_der(der).map(Into::into);
    lists.iter().map(|der| parse(der)).collect()
}

/// The second time of a TBSCertList (RFC 5280 §5.1.2.5), which webpki keeps to itself.
fn next_update(der: &[u8]) -> Option<u64> {
    let list = items(AnyRef::from_der(der).ok()?)?.next()??;
    let mut times = items(list)?.flatten().filter_map(|part| time(&part));
    times.nth(1)
}

/// Notices when something of the rings goes out of date: lists, or OCSP responses.
pub(crate) struct Watch {
    /// When one of a ring's does, in seconds since 1970.
    due: fn(&Keyring) -> Option<u64>,
    /// When it looked last, and when another one will be out of date; in seconds since
    /// 1970.
    looked: u64,
    next: u64,
    /// Such rings that nobody was told of.
    untold: Vec<Label>,
}

impl Watch {
    const fn new(due: fn(&Keyring) -> Option<u64>) -> Self {
        Self {
            due,
            looked: 0,
            next: 0,
            untold: Vec::new(),
        }
    }

    /// Whether there is anything to look at, ever.
    pub(crate) const fn is_on(&self) -> bool {
        self.next < u64::MAX
    }

    /// Of revocation lists.
    pub(crate) const fn of_crls() -> Self {
        Self::new(|ring| Some(ring.judge.as_ref()?.crls()?.next_update))
    }

    /// Of OCSP responses.
    pub(crate) const fn of_responses() -> Self {
        Self::new(|ring| Some(ring.stapled.as_ref()?.next_update))
    }

    /// How many rings are out of date; `None` if they are as before.
    pub(crate) fn look(&mut self, rings: &[Arc<Keyring>], now: u64) -> Option<u64> {
        if now < self.next {
            return None;
        }
        let mut count = 0;
        self.next = u64::MAX;
        for ring in rings {
            let Some(due) = (self.due)(ring) else {
                continue;
            };
            if due > now {
                self.next = self.next.min(due);
                continue;
            }
            count += 1;
            if due > self.looked {
                self.untold.push(ring.label.clone());
            }
        }
        self.looked = now;
        Some(count)
    }

    /// One that nobody was told of.
    pub(crate) fn tell(&mut self) -> Option<Label> {
        self.untold.pop()
    }
}
