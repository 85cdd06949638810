//! Whether a TLS client has shown its whole ClientHello: what a listener may wait for
//! before anybody is told of a connection, as FreeBSD's accept filters do
//! (accept_filter(9)).

use crate::codec::MESSAGE_HEADER;
use crate::names::{ContentType, HandshakeType};
use crate::record::{HEADER, Header, MAX_PLAINTEXT};

/// How far a client's first message has come. Each record is looked at once, however
/// many segments it comes in.
#[derive(Clone, Copy, Debug, Default)]
pub struct HelloScan {
    /// Where the first record begins that has not come whole.
    at: usize,
    /// Bytes of the message in the records before.
    got: usize,
    /// The message's type and length, as far as they have come.
    head: [u8; MESSAGE_HEADER],
}

impl HelloScan {
    /// Looks at all bytes from the connection's first on. True when there is nothing to
    /// wait for: the message is there, or it is no ClientHello, which is for others to
    /// refuse.
    pub fn is_settled(&mut self, bytes: &[u8]) -> bool {
        let header_at = |at| bytes.get(at..).and_then(Header::split_from);
        while let Some((header, _)) = header_at(self.at) {
            let length = header.length();
            if header.content_type() != Some(ContentType::Handshake)
                || length == 0
                || length > MAX_PLAINTEXT
            {
                return true;
            }
            let start = self.at + HEADER;
            let Some(payload) = bytes.get(start..start + length) else {
                return false;
            };
            let head = self.head.iter_mut().skip(self.got);
            head.zip(payload).for_each(|(to, from)| *to = *from);
            self.got += length;
            self.at = start + length;
            let [kind, high, middle, low] = self.head;
            if HandshakeType(kind) != HandshakeType::CLIENT_HELLO {
                return true;
            }
            let whole = u32::from_be_bytes([0, high, middle, low]) as usize + self.head.len();
            if self.got >= self.head.len() && self.got >= whole {
                return true;
            }
        }
        let handshake = ContentType::Handshake.number();
        bytes.get(self.at).is_some_and(|kind| *kind != handshake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(length: usize) -> Vec<u8> {
        let [_, high, middle, low] = (length as u32).to_be_bytes();
        let mut message = vec![1, high, middle, low];
        message.resize(4 + length, 0x55);
        message
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in message.chunks(size) {
            let [high, low] = (part.len() as u16).to_be_bytes();
            bytes.extend([22, 3, 1, high, low]);
            bytes.extend(part);
        }
        bytes
    }

    /// After how many bytes, one at a time, it is settled.
    fn settled_at(bytes: &[u8]) -> Option<usize> {
        let mut scan = HelloScan::default();
        (0..=bytes.len()).find(|count| scan.is_settled(&bytes[..*count]))
    }

    #[test]
    fn a_hello_is_whole_with_its_last_byte_however_it_is_cut() {
        for length in [0, 1, 40, 517, 5000] {
            for size in [1, 2, 3, 4, 5, 100, 16384] {
                let bytes = records(&hello(length), size);
                assert_eq!(settled_at(&bytes), Some(bytes.len()), "{length} by {size}");
                let mut scan = HelloScan::default();
                assert!(scan.is_settled(&bytes));
            }
        }
    }

    #[test]
    fn what_is_no_hello_is_not_waited_for() {
        assert_eq!(settled_at(b"GET / HTTP/1.1"), Some(1));
        // An alert; a record too long, and without bytes; another message.
        assert_eq!(settled_at(&[21, 3, 3, 0, 2, 2, 40]), Some(1));
        assert_eq!(settled_at(&[22, 3, 1, 0x40, 1, 1]), Some(5));
        assert_eq!(settled_at(&[22, 3, 1, 0, 0]), Some(5));
        assert_eq!(settled_at(&records(&[2, 0, 0, 9, 1], 100)), Some(10));
        // Something else in the middle of a message.
        let mut bytes = records(&hello(100)[..50], 50);
        let before = bytes.len();
        bytes.extend([20, 3, 3, 0, 1, 1]);
        assert_eq!(settled_at(&bytes), Some(before + 1));
    }

    #[test]
    fn what_never_ends_never_settles() {
        assert_eq!(settled_at(&[]), None);
        assert_eq!(settled_at(&records(&hello(60_000)[..33_000], 16384)), None);
        assert_eq!(settled_at(&records(&hello(9), 1)[..70]), None);
    }
}
