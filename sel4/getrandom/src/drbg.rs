//! CTR_DRBG with AES-256 and without a derivation function (NIST SP 800-90A
//! rev. 1 §10.2.1).

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes256Enc, Block};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a key, of a block, and of a seed: a key and a block (table 3).
const KEY: usize = 32;
const BLOCK: usize = 16;
pub(crate) const SEED: usize = KEY + BLOCK;
/// Bytes of one request at most: 2^19 bits (table 3).
const REQUEST: usize = 1 << 16;
/// Blocks that are made together.
const BLOCKS: usize = 4;

/// Entropy, or the state that follows from it.
pub(crate) type Seed = [u8; SEED];

/// The generator's state. It does not reveal past output: a later reader can't find out
/// what was drawn before.
#[derive(ZeroizeOnDrop)]
pub(crate) struct Drbg {
    /// Clears itself when it is replaced.
    #[zeroize(skip)]
    cipher: Aes256Enc,
    counter: u128,
}

impl Drbg {
    /// Instantiates it (§10.2.1.3.1).
    pub(crate) fn new(entropy: &Seed, personalization: &Seed) -> Self {
        let mut drbg = Self {
            cipher: Aes256Enc::new(&Array::from([0; KEY])),
            counter: 0,
        };
        let mut material = *entropy;
        add(&mut material, personalization);
        drbg.update(&material);
        material.zeroize();
        drbg
    }

    /// Mixes new entropy in (§10.2.1.4.1). What its state held before keeps its
    /// worth, whatever the entropy is.
    pub(crate) fn reseed(&mut self, entropy: &Seed) {
        self.update(entropy);
    }

    /// Fills `dest` (§10.2.1.5.1), a long one as several requests.
    pub(crate) fn generate(&mut self, dest: &mut [u8]) {
        for request in dest.chunks_mut(REQUEST) {
            self.output(request);
            self.update(&[0; SEED]);
        }
    }

    /// CTR_DRBG_Update (§10.2.1.2).
    fn update(&mut self, provided: &Seed) {
        let mut next = [0; SEED];
        self.output(&mut next);
        add(&mut next, provided);
        let (key, counter) = next.split_at(KEY);
        if let (Ok(key), Ok(counter)) = (<&[u8; KEY]>::try_from(key), counter.try_into()) {
            self.cipher = Aes256Enc::new(key.into());
            self.counter = u128::from_be_bytes(counter);
        }
        next.zeroize();
    }

    /// The cipher's blocks after the counter.
    fn output(&mut self, dest: &mut [u8]) {
        for part in dest.chunks_mut(BLOCKS * BLOCK) {
            let mut blocks = [Block::default(); BLOCKS];
            let count = part.len().div_ceil(BLOCK);
            let used = blocks.get_mut(..count).unwrap_or_default();
            for block in &mut *used {
                self.counter = self.counter.wrapping_add(1);
                *block = self.counter.to_be_bytes().into();
            }
            self.cipher.encrypt_blocks(used);
            for (to, from) in part.chunks_mut(BLOCK).zip(&*used) {
                to.copy_from_slice(from.get(..to.len()).unwrap_or_default());
            }
            for block in &mut *used {
                block.zeroize();
            }
        }
    }
}

fn add(to: &mut Seed, other: &Seed) {
    for (to, other) in to.iter_mut().zip(other) {
        *to ^= other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST's CAVP vectors for CTR_DRBG, AES-256, no derivation function, no
    /// prediction resistance, no additional input: entropy, personalization,
    /// entropy of the reseed, and the second output of 64 bytes.
    const VECTORS: &[[&str; 4]] = &[
        [
            "e4bc23c5089a19d86f4119cb3fa08c0a4991e0a1def17e101e4c14d9c323460a\
             7c2fb58e0b086c6c57b55f56cae25bad",
            "",
            "fd85a836bba85019881e8c6bad23c9061adc75477659acaea8e4a01dfe07a183\
             2dad1c136f59d70f8653a5dc118663d6",
            "b2cb8905c05e5950ca31895096be29ea3d5a3b82b269495554eb80fe07de43e1\
             93b9e7c3ece73b80e062b1c1f68202fbb1c52a040ea2478864295282234aaada",
        ],
        [
            "edfdb55e77d418a63e4414dfd42225ed257cf74e99325fba26e8f3a4524a71bc\
             80a731af23256908cb4675a9c253ea6f",
            "",
            "a9372fea93d607fbbc75a97b7f65f2d4ae8c06bd184981572e888a35c5794d2b\
             b380a4ae04bba27f2efcc9e7914b96dc",
            "11b1a0f0bb935ec0c54e089e0cd20832d1f00e7069f30e9ea2e35b7f15ecf057\
             7d0e90035bf0f91ffd9e8a1fa8a507503739afbec19393e02c9b7c230cdea36f",
        ],
        [
            "df588bff3a1fc97a908067da6a7fef08c889ac29ad7d639bd047157bacab4dbd\
             ee3dffe575f37d071af94cbd7628d398",
            "548715cfb28c1bc56453b8c39e24cfd64077c0f6e9d959d51b9f0667b97d3c4e\
             1a179d1a554df845b24c26daec85845a",
            "f8c165b5ebd8347a2ffef2218f993877027e977598b4fdac2f65d8d994c74329\
             00f8407ab5aed1885dee5aa2458f5998",
            "deed18220bd8f72a34559924f3cad925ee717690f76bc223d5ffeebbb554b61b\
             9d9eb6ac5697b06331e236672677e2e01d6e3fd581a4fa1ebad289797b68955f",
        ],
        [
            "98555093e443fe8e2bc8d2eb4d3a7abb8eba00b25683a6b31191fff7c043665e\
             c2cad3e99e55bbc241b8edc699dbc9ed",
            "5627a0a55457db05e3903d4b69ce15f55f933168d6eb374c044e8f1040f61ed7\
             eb24f87f91c68cde050f504b8965dd81",
            "18d17e1b68378801f83e7aa9a6d4b84d3960022c740e6c845869a5db553d2e02\
             479cd92f3c0d8abd3e92fc9c9fbc6a3f",
            "7a7f0ab07a540b4e9a3eda3f8bd1262015d8ea6d512dbea05942421f5a73242a\
             c236009ef083bf2e51b19c40d1a019367a6b96fb52d254e4d881550aef0549ed",
        ],
    ];

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let mut bytes = [0; N];
        for (at, byte) in bytes.iter_mut().enumerate().take(hex.len() / 2) {
            *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        }
        bytes
    }

    #[test]
    fn the_vectors_of_nist() {
        for [entropy, personalization, reseed, expected] in VECTORS {
            let mut drbg = Drbg::new(&bytes(entropy), &bytes(personalization));
            drbg.reseed(&bytes(reseed));
            let mut output = [0; 64];
            drbg.generate(&mut output);
            drbg.generate(&mut output);
            assert_eq!(output, bytes(expected));
        }
    }

    #[test]
    fn what_was_given_is_not_given_again() {
        let mut drbg = Drbg::new(&[1; SEED], &[0; SEED]);
        let (mut first, mut second) = ([0; 40], [0; 40]);
        drbg.generate(&mut first);
        drbg.generate(&mut second);
        assert_ne!(first, second);
    }

    /// What a generator gives first, of that start and reseeded by `entropy`.
    fn first(seed: u8, entropy: u8) -> [u8; 32] {
        let mut drbg = Drbg::new(&[1; SEED], &[seed; SEED]);
        drbg.reseed(&[entropy; SEED]);
        let mut output = [0; 32];
        drbg.generate(&mut output);
        output
    }

    #[test]
    fn the_seed_and_the_entropy_count_each_by_itself() {
        assert_eq!(first(2, 9), first(2, 9));
        assert_ne!(first(2, 9), first(3, 9));
        assert_ne!(first(2, 9), first(2, 8));
    }

    #[test]
    fn a_long_request_is_several() {
        let (mut whole, mut parts) = (vec![0; REQUEST + 100], vec![0; REQUEST + 100]);
        let drbg = || Drbg::new(&[1; SEED], &[2; SEED]);
        drbg().generate(&mut whole);
        let mut same = drbg();
        let (first, second) = parts.split_at_mut(REQUEST);
        same.generate(first);
        same.generate(second);
        assert!(whole == parts);
    }
}
