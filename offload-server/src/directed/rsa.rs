//! Static RSA (RFC 5246 §7.4.7.1): the client encrypts a pre-master secret with
//! the key in the server's certificate (R18); the server has the key store
//! decrypt it (R20).

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use der::asn1::UintRef;
use der::{Decode, Reader, SliceReader};
use ipc::keystore::PRE_MASTER;
use ipc::segment::RingPlace;
use ring::rand::{SecureRandom, SystemRandom};
use tls::codec::{Message, Writer};
use tls::{Alert, Role, Secret};
use x509_cert::Certificate;
use x509_cert::ext::pkix::KeyUsage;
use zeroize::{Zeroize, Zeroizing};

use super::{Context, Directed, Fault, Keys};

/// What the ClientHello said, which the secret repeats.
const VERSION: [u8; 2] = [3, 3];
/// rsaEncryption (RFC 8017 §A.1).
const RSA: der::asn1::ObjectIdentifier =
    der::asn1::ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// Bits of a modulus that is used.
const MODULUS_BITS: core::ops::RangeInclusive<u32> = 2048..=4096;
/// Bits of the longest public exponent that is used.
const EXPONENT_BITS: u32 = 64;
/// A certificate whose key can't be used for this.
const UNSUPPORTED: Fault = Fault::Refused(Alert::UNSUPPORTED_CERTIFICATE);

impl Directed {
    /// Has the key store decrypt what is after `offset` in the message
    /// received last. Whatever it is, the handshake goes on.
    pub(super) fn decrypt(
        &mut self,
        ring: RingPlace,
        client_version: u16,
        offset: usize,
        context: &Context<'_>,
    ) -> Result<(), Fault> {
        let keyring = self.settle(ring)?.index;
        let message = self.message.as_ref().ok_or(Fault::INTERNAL)?;
        let encrypted = message.body().get(offset..).ok_or(Fault::INTERNAL)?;
        let secret = context
            .keystore
            .decrypt(keyring, client_version, encrypted)
            .ok_or(Fault::INTERNAL)?;
        self.keys = Keys::PreMaster(secret);
        Ok(())
    }

    /// Makes a pre-master secret, and appends it encrypted.
    pub(super) fn encrypt(&mut self, out: &mut Message) -> Result<(), Fault> {
        if self.role != Role::Client {
            return Err(Fault::INTERNAL);
        }
        let certificate = self.peer.validated_key().ok_or(Fault::INTERNAL)?;
        let key = PublicKey::certified(certificate).ok_or(UNSUPPORTED)?;
        let mut secret = Zeroizing::new([0; PRE_MASTER]);
        let random = SystemRandom::new();
        random.fill(&mut *secret).map_err(|_| Fault::INTERNAL)?;
        for (to, from) in secret.iter_mut().zip(VERSION) {
            *to = from;
        }
        let encrypted = key.encrypt(&secret, &random).ok_or(Fault::INTERNAL)?;
        out.bytes(&encrypted);
        let secret = Secret::from_slice(&*secret).map_err(|_| Fault::INTERNAL)?;
        self.keys = Keys::PreMaster(Box::new(secret));
        self.is_encrypted_to_peer = true;
        Ok(())
    }
}

/// An RSA key to encrypt with.
struct PublicKey {
    /// Bytes of the modulus.
    length: usize,
    modulus: BoxedMontyParams,
    exponent: BoxedUint,
}

impl PublicKey {
    /// The key in a certificate, if it is of RSA, of a size that is used, and
    /// meant for this (RFC 5246 §7.4.2: keyEncipherment).
    fn certified(certificate: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let certificate = certificate.tbs_certificate();
        if let Some((_, usage)) = certificate.get_extension::<KeyUsage>().ok()?
            && !usage.key_encipherment()
        {
            return None;
        }
        let info = certificate.subject_public_key_info();
        if info.algorithm.oid != RSA {
            return None;
        }
        Self::parse(info.subject_public_key.as_bytes()?)
    }

    /// RSAPublicKey (RFC 8017 §A.1.1).
    fn parse(der: &[u8]) -> Option<Self> {
        let mut reader = SliceReader::new(der).ok()?;
        let (modulus, exponent) = reader
            .sequence(|key| {
                let modulus: UintRef<'_> = key.decode()?;
                let exponent: UintRef<'_> = key.decode()?;
                Ok::<_, der::Error>((modulus, exponent))
            })
            .ok()?;
        let bytes = modulus.as_bytes();
        let precision = u32::try_from(bytes.len().checked_next_multiple_of(8)? * 8).ok()?;
        let modulus = BoxedUint::from_be_slice(bytes, precision).ok()?;
        let bits = modulus.bits_vartime();
        if !MODULUS_BITS.contains(&bits) {
            return None;
        }
        Some(Self {
            length: usize::try_from(bits.div_ceil(8)).ok()?,
            modulus: BoxedMontyParams::new_vartime(Odd::new(modulus).into_option()?),
            exponent: BoxedUint::from_be_slice(exponent.as_bytes(), EXPONENT_BITS).ok()?,
        })
    }

    /// RSAES-PKCS1-v1_5 (RFC 8017 §7.2.1). The time depends on the public
    /// exponent alone.
    fn encrypt(&self, secret: &[u8; PRE_MASTER], random: &SystemRandom) -> Option<Vec<u8>> {
        let mut padded = Zeroizing::new(vec![0; self.length]);
        let (padding, message) = padded.split_last_chunk_mut::<PRE_MASTER>()?;
        *message = *secret;
        let (start, padding) = padding.split_first_chunk_mut::<2>()?;
        *start = [0, 2];
        let (_zero, padding) = padding.split_last_mut()?;
        random.fill(padding).ok()?;
        for byte in padding.iter_mut().filter(|byte| **byte == 0) {
            *byte = not_zero(random)?;
        }
        let precision = self.modulus.bits_precision();
        let mut number = BoxedUint::from_be_slice(&padded, precision).ok()?;
        let mut form = BoxedMontyForm::new(number.clone(), &self.modulus);
        number.zeroize();
        let encrypted = form.pow_bounded_exp(&self.exponent, self.exponent.bits_vartime());
        form.zeroize();
        let bytes = encrypted.retrieve().to_be_bytes();
        let start = bytes.len().checked_sub(self.length)?;
        bytes.get(start..).map(Vec::from)
    }
}

fn not_zero(random: &SystemRandom) -> Option<u8> {
    let mut byte = [0];
    while byte == [0] {
        random.fill(&mut byte).ok()?;
    }
    let [byte] = byte;
    Some(byte)
}
