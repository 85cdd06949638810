//! Sub-scripts that prove who this side is: Certificate, CertificateVerify, Finished.

use ipc::segment::{Fill, RingPlace, Segment};
use tls::codec::Writer;
use tls::{HandshakeType, Scheme};

use crate::script::{INTERNAL, Input, Progress, Refusal, Transition};
use crate::template::TemplateWriter;

type Step<S, R> = Result<Progress<S, R>, Refusal>;

/// Signs the transcript with the key of a ring (RFC 8446 §4.4.3, RFC 5246 §7.4.8).
pub(crate) fn certificate_verify(ring: RingPlace, scheme: Scheme) -> Result<Segment, Refusal> {
    let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE_VERIFY);
    writer
        .u16(scheme.number())
        .hole(2, Fill::Signature { ring, scheme });
    writer.finish().map(Segment::Write).ok_or(INTERNAL)
}

fn write_finished() -> Result<Segment, Refusal> {
    let mut writer = TemplateWriter::new(HandshakeType::FINISHED);
    writer.hole(0, Fill::VerifyData);
    writer.finish().map(Segment::Write).ok_or(INTERNAL)
}

/// The end of this side's flight in TLS 1.3 (RFC 8446 §4.4). Over: Finished is written.
#[derive(Debug)]
pub(crate) enum Flight {
    /// Certificate is written; a key of this ring will sign.
    Certificate(RingPlace, Scheme),
    /// Nothing is left to show.
    Shown,
    /// Finished is written.
    Finished,
}

impl Flight {
    /// Shows the chain of a ring, and signs.
    pub(crate) fn with_certificate(ring: RingPlace, scheme: Scheme) -> Transition<Self> {
        Self::with_chain(Fill::Chain(ring), ring, scheme)
    }

    /// The same with the ring's OCSP response.
    pub(crate) fn with_stapled_certificate(ring: RingPlace, scheme: Scheme) -> Transition<Self> {
        Self::with_chain(Fill::StapledChain(ring), ring, scheme)
    }

    fn with_chain(chain: Fill, ring: RingPlace, scheme: Scheme) -> Transition<Self> {
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE);
        writer.vec8(&[]).hole(3, chain);
        let template = writer.finish().ok_or(INTERNAL)?;
        Ok((Self::Certificate(ring, scheme), Segment::Write(template)))
    }

    /// Was asked for a certificate and has none that fits: an empty list (RFC 8446
    /// §4.4.2.3).
    pub(crate) fn with_empty_certificate() -> Transition<Self> {
        let mut writer = TemplateWriter::new(HandshakeType::CERTIFICATE);
        writer.vec8(&[]).bytes(&[0, 0, 0]);
        let template = writer.finish().ok_or(INTERNAL)?;
        Ok((Self::Shown, Segment::Write(template)))
    }

    /// Finished alone.
    pub(crate) fn finished() -> Transition<Self> {
        Ok((Self::Finished, write_finished()?))
    }

    pub(crate) fn next(self, input: Input<'_>) -> Step<Self, ()> {
        input.done()?;
        let (state, segment) = match self {
            Self::Certificate(ring, scheme) => (Self::Shown, certificate_verify(ring, scheme)?),
            Self::Shown => Self::finished()?,
            Self::Finished => return Ok(Progress::Over(())),
        };
        Ok(Progress::Next(state, segment))
    }
}

/// This side's ChangeCipherSpec and Finished in TLS 1.2 (RFC 5246 §7.1, §7.4.9). Over:
/// both are written.
#[derive(Debug)]
pub(crate) enum Finished {
    /// ChangeCipherSpec is written.
    CipherSpecChanged,
    /// Finished is written.
    Written,
}

impl Finished {
    pub(crate) const fn write() -> (Self, Segment) {
        (Self::CipherSpecChanged, Segment::WriteChangeCipherSpec)
    }

    pub(crate) fn next(self, input: Input<'_>) -> Step<Self, ()> {
        input.done()?;
        match self {
            Self::CipherSpecChanged => Ok(Progress::Next(Self::Written, write_finished()?)),
            Self::Written => Ok(Progress::Over(())),
        }
    }
}
