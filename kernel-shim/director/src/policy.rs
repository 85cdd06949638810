//! Which steps of a handshake the policy refuses.
//!
//! The one place that is asked: each segment of every state passes
//! [`StepPolicy::refuses`] before it goes out.

use ipc::director::RefusedSteps;
use ipc::segment::{Fill, RingPlace, Segment, Step};
use tls::Scheme;

/// What is refused in one handshake.
pub(crate) struct StepPolicy {
    refused: RefusedSteps,
    /// A hello without a server name arrived.
    is_unnamed: bool,
}

impl StepPolicy {
    /// Steps, each with the place of its key ring among those of the request.
    pub(crate) const fn new(refused: RefusedSteps) -> Self {
        Self {
            refused,
            is_unnamed: false,
        }
    }

    /// Whether it matters which server the client names.
    pub(crate) fn asks_for_name(&self) -> bool {
        let mut steps = self.refused.iter();
        steps.any(|(_, step)| *step == Step::SignWithoutServerName)
    }

    /// The client named no server.
    pub(crate) const fn set_unnamed(&mut self) {
        self.is_unnamed = true;
    }

    /// The rule against this segment, if there is one.
    pub(crate) fn refuses(&self, segment: &Segment) -> Option<Step> {
        let mut rules = self.refused.iter();
        rules
            .find(|(ring, step)| self.applies(*ring, *step, segment))
            .map(|(_, step)| *step)
    }

    /// Steps that use a ring are refused for that ring; all others if any ring
    /// of the request refuses them.
    fn applies(&self, ring: RingPlace, step: Step, segment: &Segment) -> bool {
        if let Segment::Write(template) = segment {
            let mut holes = template.holes.iter();
            return holes.any(|hole| self.applies_to_fill(ring, step, hole.fill));
        }
        let facts = segment.facts();
        facts.steps.contains(&step) && facts.ring.is_none_or(|used| used == ring)
    }

    fn applies_to_fill(&self, ring: RingPlace, step: Step, fill: Fill) -> bool {
        match fill {
            Fill::Random { .. } | Fill::SameRandom => step == Step::Random,
            Fill::KeyShare(_) | Fill::ClassicalShare => step == Step::KeyShare,
            Fill::Chain(used) | Fill::StapledChain(used) | Fill::Ocsp(used) => {
                step == Step::ShowCertificate && used == ring
            }
            Fill::Signature { ring: used, scheme } => {
                used == ring
                    && match step {
                        Step::Sign => true,
                        Step::SignWithoutServerName => self.is_unnamed,
                        Step::SignRsaPkcs1 => is_pkcs1(scheme),
                        _ => false,
                    }
            }
            Fill::VerifyData => step == Step::ComputeMac,
            Fill::EncryptedPreMaster => step == Step::EncryptPreMaster,
            Fill::Ticket
            | Fill::TicketAge
            | Fill::Binders
            | Fill::NewTicket { .. }
            | Fill::AgeAdd
            | Fill::Received(_)
            | Fill::Authorities(_) => false,
        }
    }
}

const fn is_pkcs1(scheme: Scheme) -> bool {
    matches!(
        scheme,
        Scheme::RsaPkcs1Sha256 | Scheme::RsaPkcs1Sha384 | Scheme::RsaPkcs1Sha512
    )
}

#[cfg(test)]
mod tests {
    use ipc::bounded::{Blob, List};
    use ipc::segment::{Hole, Template};

    use super::*;

    fn signature(ring: RingPlace, scheme: Scheme) -> Segment {
        written(Fill::Signature { ring, scheme })
    }

    fn written(fill: Fill) -> Segment {
        let hole = Hole {
            offset: 4,
            prefix: 2,
            fill,
        };
        Segment::Write(Template {
            message: Blob::from_slice(&[15, 0, 0, 0]).unwrap(),
            holes: List::from_items([hole]).unwrap(),
        })
    }

    #[test]
    fn r24_signatures_are_refused_by_ring_and_scheme() {
        let refused = [(0, Step::SignRsaPkcs1), (1, Step::Sign)];
        let policy = StepPolicy::new(List::from_items(refused).unwrap());
        for (ring, scheme, rule) in [
            (0, Scheme::RsaPkcs1Sha256, Some(Step::SignRsaPkcs1)),
            (0, Scheme::RsaPkcs1Sha384, Some(Step::SignRsaPkcs1)),
            (0, Scheme::RsaPkcs1Sha512, Some(Step::SignRsaPkcs1)),
            (0, Scheme::EcdsaSecp256r1Sha256, None),
            (1, Scheme::EcdsaSecp256r1Sha256, Some(Step::Sign)),
            (2, Scheme::RsaPkcs1Sha256, None),
        ] {
            assert_eq!(policy.refuses(&signature(ring, scheme)), rule, "{scheme:?}");
        }
    }

    #[test]
    fn a_chain_is_refused_by_its_ring_with_an_ocsp_response_and_without() {
        let refused = [(1, Step::ShowCertificate)];
        let policy = StepPolicy::new(List::from_items(refused).unwrap());
        for fill in [Fill::Chain, Fill::StapledChain, Fill::Ocsp] {
            assert_eq!(policy.refuses(&written(fill(0))), None);
            let refused = policy.refuses(&written(fill(1)));
            assert_eq!(refused, Some(Step::ShowCertificate), "{:?}", fill(1));
        }
    }
}
