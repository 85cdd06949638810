//! Numbers that are the same for the same seed.

/// A xorshift generator (Marsaglia, 2003); for tests only.
pub(crate) struct Random(u64);

impl Random {
    /// Starts from `seed`, which is not zero.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next number below `limit`, which is not zero.
    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
