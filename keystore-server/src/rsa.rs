//! The private operation of RSA (RFC 8017 §5.1.2) in constant time: no branch,
//! no index and no length depends on the key or on what is decrypted.
//!
//! The ciphertext is blinded, the exponentiation uses the Chinese remainder theorem, and
//! the result is checked with the public exponent, so that a fault in one half leaks
//! nothing.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingMul, NonZero, Odd, Resize};
use der::asn1::{AnyRef, OctetStringRef, UintRef};
use der::{Reader, SliceReader};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

/// Bits of a modulus that is used.
const MODULUS_BITS: core::ops::RangeInclusive<u32> = 2048..=4096;
/// Bits of the longest public exponent that is used.
const EXPONENT_BITS: u32 = 64;

/// A private key, ready to be used.
pub(crate) struct PrivateKey {
    /// Bytes of the modulus.
    length: usize,
    n: BoxedMontyParams,
    e: BoxedUint,
    p: Half,
    q: Half,
    /// The inverse of q modulo p.
    q_inverse: BoxedMontyForm,
    d: Zeroizing<Vec<u8>>,
}

/// A prime, and the private exponent modulo one less.
struct Half {
    prime: NonZero<BoxedUint>,
    params: BoxedMontyParams,
    exponent: Zeroizing<BoxedUint>,
}

/// The result of the private operation, and whether it is one.
pub(crate) struct Decrypted {
    /// As long as the modulus, big-endian.
    pub(crate) bytes: Zeroizing<Box<[u8]>>,
    pub(crate) is_good: Choice,
}

impl PrivateKey {
    /// Reads a PKCS#8 key (RFC 5958 §2, RFC 8017 §A.1.2); `None` when it is no
    /// RSA key with two primes, or of a size that is not used.
    pub(crate) fn from_pkcs8(pkcs8: &[u8]) -> Option<Self> {
        let mut reader = SliceReader::new(pkcs8).ok()?;
        let inner: &OctetStringRef = reader
            .sequence(|info| {
                let _version: UintRef<'_> = info.decode()?;
                let _algorithm: AnyRef<'_> = info.decode()?;
                let key = info.decode()?;
                info.drain(info.remaining_len())?;
                Ok::<_, der::Error>(key)
            })
            .ok()?;
        let mut reader = SliceReader::new(inner.as_bytes()).ok()?;
        let numbers = reader
            .sequence(|key| {
                let version: UintRef<'_> = key.decode()?;
                let mut numbers = [version; 9];
                for number in numbers.iter_mut().skip(1) {
                    *number = key.decode()?;
                }
                Ok::<_, der::Error>(numbers)
            })
            .ok()?;
        Self::from_numbers(&numbers.map(|number| number.as_bytes()))
    }

    fn from_numbers(numbers: &[&[u8]; 9]) -> Option<Self> {
        let [_, n, e, d, p, q, dp, dq, q_inverse] = *numbers;
        let n = number(n, bits_of(n.len())?)?;
        let bits = n.bits_vartime();
        if !MODULUS_BITS.contains(&bits) || d.len() > n.nlimbs() * 8 {
            return None;
        }
        let length = usize::try_from(bits.div_ceil(8)).ok()?;
        let width = bits_of(p.len().max(q.len()))?;
        let p = Half::new(p, dp, width)?;
        let q = Half::new(q, dq, width)?;
        let q_inverse = BoxedMontyForm::new(number(q_inverse, width)?, &p.params);
        let mut padded = Zeroizing::new(alloc::vec![0; length]);
        let start = length.checked_sub(d.len())?;
        padded.get_mut(start..)?.copy_from_slice(d);
        Some(Self {
            length,
            n: BoxedMontyParams::new(Odd::new(n).into_option()?),
            e: number(e, EXPONENT_BITS)?,
            p,
            q,
            q_inverse,
            d: padded,
        })
    }

    /// Bytes of the modulus.
    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    /// The private exponent, as long as the modulus: known to nobody else.
    pub(crate) fn exponent(&self) -> &[u8] {
        &self.d
    }

    /// Decrypts. What is no number below the modulus takes as long, and is not
    /// good.
    pub(crate) fn decrypt(&self, encrypted: &[u8], random: &SystemRandom) -> Option<Decrypted> {
        let modulus = self.n.modulus().as_nz_ref();
        let precision = self.n.bits_precision();
        let right_length = Choice::from(u8::from(encrypted.len() == self.length));
        let start = encrypted.len().saturating_sub(self.length);
        let encrypted = encrypted.get(start..)?;
        let number = BoxedUint::from_be_slice(encrypted, precision).ok()?;
        let reduced = number.rem(modulus);
        let is_below = equal(&number, &reduced);
        let encrypted = BoxedMontyForm::new(reduced, &self.n);
        let (factor, inverse) = self.blinding(random)?;
        let blinded = encrypted.mul(&factor);
        let mut plain = self.exponentiate(&blinded.retrieve())?;
        let mut blinded_plain = BoxedMontyForm::new(plain.clone(), &self.n);
        plain.zeroize();
        let checked = self.public(&blinded_plain);
        let is_right = equal(&checked.retrieve(), &blinded.retrieve());
        let mut form = blinded_plain.mul(&inverse);
        blinded_plain.zeroize();
        let mut number = form.retrieve();
        form.zeroize();
        let bytes = Zeroizing::new(number.to_be_bytes());
        number.zeroize();
        let start = bytes.len().checked_sub(self.length)?;
        let bytes = Zeroizing::new(Box::from(bytes.get(start..)?));
        Some(Decrypted {
            bytes,
            is_good: right_length & is_below & is_right,
        })
    }

    /// By both primes (RFC 8017 §5.1.2, step 2b).
    fn exponentiate(&self, number: &BoxedUint) -> Option<BoxedUint> {
        let mut of_p = self.p.exponentiate(number);
        let of_q = Zeroizing::new(self.q.exponentiate(number).retrieve());
        let of_q_by_p = BoxedMontyForm::new(of_q.rem(&self.p.prime), &self.p.params);
        let mut difference = of_p.sub(&of_q_by_p).mul(&self.q_inverse);
        of_p.zeroize();
        let factor = Zeroizing::new(difference.retrieve());
        difference.zeroize();
        let precision = self.n.bits_precision();
        let product = factor.concatenating_mul(self.q.prime.as_ref());
        let product = Zeroizing::new(product.try_resize(precision)?);
        let of_q = Zeroizing::new((&*of_q).try_resize(precision)?);
        Some(product.wrapping_add(&*of_q))
    }

    /// The public operation.
    fn public(&self, number: &BoxedMontyForm) -> BoxedMontyForm {
        number.pow_bounded_exp(&self.e, self.e.bits_vartime())
    }

    /// A random number to the public exponent, and its inverse.
    fn blinding(&self, random: &SystemRandom) -> Option<(BoxedMontyForm, BoxedMontyForm)> {
        let modulus = self.n.modulus().as_nz_ref();
        // One that has no inverse would be a prime of the modulus.
        loop {
            let mut bytes = Zeroizing::new(alloc::vec![0; self.length]);
            random.fill(&mut bytes).ok()?;
            let number = BoxedUint::from_be_slice(&bytes, self.n.bits_precision()).ok()?;
            let number = BoxedMontyForm::new(number.rem(modulus), &self.n);
            if let Some(inverse) = number.invert().into_option() {
                return Some((self.public(&number), inverse));
            }
        }
    }
}

impl Half {
    fn new(prime: &[u8], exponent: &[u8], width: u32) -> Option<Self> {
        let prime = number(prime, width)?;
        let params = BoxedMontyParams::new(Odd::new(prime.clone()).into_option()?);
        Some(Self {
            prime: NonZero::new(prime).into_option()?,
            params,
            exponent: Zeroizing::new(number(exponent, width)?),
        })
    }

    fn exponentiate(&self, number: &BoxedUint) -> BoxedMontyForm {
        let reduced = number.rem(&self.prime);
        BoxedMontyForm::new(reduced, &self.params).pow(&self.exponent)
    }
}

/// A number of so many bits; `None` when it is longer.
fn number(bytes: &[u8], bits: u32) -> Option<BoxedUint> {
    BoxedUint::from_be_slice(bytes, bits).ok()
}

/// Bits of as many whole limbs as `bytes` bytes take.
fn bits_of(bytes: usize) -> Option<u32> {
    u32::try_from(bytes.checked_next_multiple_of(8)?.checked_mul(8)?).ok()
}

/// Whether two numbers of one width are equal.
fn equal(a: &BoxedUint, b: &BoxedUint) -> Choice {
    let (a, b) = (
        Zeroizing::new(a.to_be_bytes()),
        Zeroizing::new(b.to_be_bytes()),
    );
    a.ct_eq(&b)
}
