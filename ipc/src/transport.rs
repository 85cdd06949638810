//! A blocking call with a typed request and a typed reply.
//!
//! Clients and servers are generic over [`Transport`], so that the same code
//! runs on seL4, and inside one host process for tests.

use core::marker::PhantomData;

use postcard::experimental::max_size::MaxSize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroize;

/// The most bytes a request or a reply may have: 120 message registers of 8
/// bytes (seL4 reference manual, IPC buffer).
pub const MAX_MESSAGE: usize = 960;

/// Carries bytes to one server and brings its reply back.
pub trait Transport {
    /// Sends `request` (at most [`MAX_MESSAGE`] bytes) and waits for the reply,
    /// which is put at the start of `reply`; its length is returned.
    ///
    /// # Errors
    /// [`TransportError`] when the server can't be reached.
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError>;

    /// [`Transport::call`] with a typed request and reply. A transport that
    /// has a message buffer of its own encodes there instead.
    ///
    /// # Errors
    /// [`TransportError`] when the server can't be reached or its reply can't
    /// be read.
    fn exchange<P: Protocol>(&self, request: &P::Request) -> Result<P::Reply, TransportError> {
        let mut out = [0; MAX_MESSAGE];
        let mut reply = [0; MAX_MESSAGE];
        let used = postcard::to_slice(request, &mut out)
            .map_err(|_| TransportError::MalformedReply)?
            .len();
        let sent = out.get(..used).unwrap_or_default();
        let answer = self.call(sent, &mut reply).and_then(|length| {
            let bytes = reply.get(..length).ok_or(TransportError::MalformedReply)?;
            decode(bytes).ok_or(TransportError::MalformedReply)
        });
        if answer.as_ref().is_ok_and(P::is_secret) {
            reply.zeroize();
        }
        if P::CARRIES_SECRETS {
            out.get_mut(..used).unwrap_or_default().zeroize();
        }
        answer
    }
}

impl<T: Transport> Transport for &T {
    fn call(&self, request: &[u8], reply: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
        (**self).call(request, reply)
    }

    fn exchange<P: Protocol>(&self, request: &P::Request) -> Result<P::Reply, TransportError> {
        (**self).exchange::<P>(request)
    }
}

/// The server can't be reached; the request had no effect that can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// The capability is gone: it was revoked, or the server has died.
    Gone = 1,
    /// The server sent something that is no reply of this protocol.
    MalformedReply = 2,
}

/// What is asked and answered over one endpoint.
pub trait Protocol {
    /// What a client asks.
    type Request: Serialize + DeserializeOwned + MaxSize;
    /// What the server answers.
    type Reply: Serialize + DeserializeOwned + MaxSize;
    /// The answer to bytes that are no request.
    fn malformed() -> Self::Reply;
    /// Whether a request may carry key material: its bytes are then cleared
    /// after the call.
    const CARRIES_SECRETS: bool = false;
    /// Whether a reply carries key material: its bytes are then cleared after
    /// the call.
    fn is_secret(_: &Self::Reply) -> bool {
        false
    }
    /// Checked at compile time by every client and server.
    const FITS: () = assert!(
        Self::Request::POSTCARD_MAX_SIZE <= MAX_MESSAGE
            && Self::Reply::POSTCARD_MAX_SIZE <= MAX_MESSAGE,
        "a message of this protocol can exceed MAX_MESSAGE"
    );
}

/// The right to call a server by protocol `P`. Holding the value is the
/// permission: it can't be copied.
pub struct Client<P, T> {
    transport: T,
    protocol: PhantomData<fn() -> P>,
}

impl<P: Protocol, T: Transport> Client<P, T> {
    /// A client over `transport`, which must lead to a server of protocol `P`.
    pub const fn new(transport: T) -> Self {
        Self {
            transport,
            protocol: PhantomData,
        }
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// [`TransportError`] when the server can't be reached or its answer can't
    /// be read.
    pub fn call(&self, request: &P::Request) -> Result<P::Reply, TransportError> {
        const { P::FITS };
        self.transport.exchange::<P>(request)
    }
}

/// Server side: decodes `request`, lets `act` answer it, encodes the answer
/// into `reply` and returns its length. Bytes that are no request get
/// [`Protocol::malformed`].
pub fn dispatch<P: Protocol>(
    request: &[u8],
    reply: &mut [u8; MAX_MESSAGE],
    act: impl FnOnce(P::Request) -> P::Reply,
) -> usize {
    const { P::FITS };
    let answer = decode(request).map_or_else(P::malformed, act);
    // FITS says that the encoding has room; an empty reply is malformed to the
    // client, should that ever be wrong.
    postcard::to_slice(&answer, reply).map_or(0, |bytes| bytes.len())
}

/// Decodes exactly one value: bytes after it make it malformed.
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Option<M> {
    // Without a pair in between: messages are large, and would be copied once more.
    let mut rest = postcard::Deserializer::from_bytes(bytes);
    let message = M::deserialize(&mut rest).ok()?;
    match rest.finalize() {
        Ok([]) => Some(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Doubling;
    impl Protocol for Doubling {
        type Request = u32;
        type Reply = Result<u32, u8>;
        fn malformed() -> Self::Reply {
            Err(1)
        }
    }

    struct Direct;
    impl Transport for Direct {
        fn call(
            &self,
            request: &[u8],
            reply: &mut [u8; MAX_MESSAGE],
        ) -> Result<usize, TransportError> {
            Ok(dispatch::<Doubling>(request, reply, |n| Ok(n * 2)))
        }
    }

    #[test]
    fn a_call_reaches_the_server_and_its_answer_comes_back() {
        assert_eq!(Client::<Doubling, _>::new(Direct).call(&21), Ok(Ok(42)));
    }

    #[test]
    fn bytes_that_are_no_request_get_the_malformed_answer() {
        let mut reply = [0; MAX_MESSAGE];
        for bytes in [&[][..], &[0xff; 6], &[1, 2]] {
            let length = dispatch::<Doubling>(bytes, &mut reply, |n| Ok(n * 2));
            assert_eq!(decode::<Result<u32, u8>>(&reply[..length]), Some(Err(1)));
        }
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        struct Silent;
        impl Transport for Silent {
            fn call(&self, _: &[u8], _: &mut [u8; MAX_MESSAGE]) -> Result<usize, TransportError> {
                Ok(MAX_MESSAGE + 1)
            }
        }
        assert_eq!(
            Client::<Doubling, _>::new(Silent).call(&1),
            Err(TransportError::MalformedReply)
        );
    }
}
