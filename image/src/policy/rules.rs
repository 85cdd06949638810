//! All assertions of a policy, one after the other.

use super::assertion::{BadgeRights, Grant, Policy};
use super::everywhere::everywhere;
use super::named::{badge_rights, bound, callers, grant, hardware, reaches, sees, unreachable};
use super::report::{Breaks, Judged, Verdict};
use super::system::System;

/// Judges all assertions of `policy`, in the order of its kinds.
pub(super) fn judge(policy: &Policy, system: &System<'_>) -> Vec<Judged> {
    let mut list = Vec::new();
    let mut add = |name: &str, breaks: Breaks| {
        let verdict = if breaks.is_empty() {
            Verdict::Holds
        } else {
            Verdict::Broken(breaks)
        };
        let name = name.to_string();
        list.push(Judged { name, verdict });
    };
    for asserted in &policy.everywhere {
        add(&asserted.name, everywhere(asserted.rule, policy, system));
    }
    for asserted in &policy.unreachable {
        add(&asserted.name, unreachable(asserted, system));
    }
    for asserted in &policy.callers {
        add(&asserted.name, callers(asserted, system));
    }
    for asserted in &policy.sees {
        add(&asserted.name, sees(asserted, system));
    }
    for asserted in &policy.hardware {
        add(&asserted.name, hardware(asserted, system));
    }
    for asserted in &policy.reaches {
        add(&asserted.name, reaches(asserted, system));
    }
    for asserted in &policy.badge {
        let BadgeRights {
            server,
            badge,
            holder,
            may,
        } = asserted;
        let name = format!("{holder} alone holds badge {badge:#x} of {server}: {may}");
        add(&name, badge_rights(asserted, system));
    }
    for asserted in &policy.grant {
        let Grant {
            manager,
            holder,
            endpoints,
            may,
        } = asserted;
        let endpoints = endpoints.join(" and ");
        let name = format!("{manager} hands {holder} nothing but calls of {endpoints}: {may}");
        add(&name, grant(asserted, system));
    }
    for asserted in &policy.bound {
        let (memory, slots) = (asserted.memory / 1024, asserted.slots);
        let name = format!(
            "{} has at most {memory} KiB and {slots} capabilities",
            asserted.domain
        );
        add(&name, bound(asserted, system));
    }
    list
}
