//! From what the guest counted to what a person wants to know.

use std::fmt::Write as _;

use super::Figures;

/// Modes of resumption: in the names of figures, and in words.
const MODES: [(&str, &str); 2] = [("", "autonomous"), ("directed_", "directed")];

/// Listeners of `bench/gateway.toml`.
const CASES: [(&str, &str); 5] = [
    ("tls13_ecdsa", "TLS 1.3, ECDSA P-256"),
    ("tls13_rsa", "TLS 1.3, RSA-2048"),
    ("tls12_ecdsa", "TLS 1.2, ECDSA P-256"),
    ("tls12_rsa", "TLS 1.2, RSA-2048"),
    ("tls13_hybrid", "TLS 1.3, ECDSA P-256, X25519MLKEM768"),
];
const DIRECTIONS: [(&str, &str); 2] = [
    ("up", "from client to application"),
    ("down", "from application to client"),
];
const DOMAINS: [(&str, &str); 6] = [
    ("netstack_server", "netstack-server (both TCP ends)"),
    ("offload_server", "offload-server"),
    ("record_server", "record-server"),
    ("kernel_shim", "kernel-shim"),
    ("director", "director"),
    ("keystore_server", "keystore-server"),
];

/// Adds ratios and the like.
pub(super) fn derive(figures: &mut Figures) {
    let mut more = Figures::new();
    let of = |name: &str| figures.get(name).copied();
    for (case, _) in CASES {
        let part = |what: &str| of(&format!("{what}_{case}"));
        if let (Some(whole), Some(tcp), Some(client), Some(server)) = (
            part("whole"),
            part("tcp"),
            part("alone_client"),
            part("alone_server"),
        ) {
            let own = whole - tcp - client;
            more.insert(format!("autonomous_{case}"), own);
            more.insert(format!("autonomous_over_alone_{case}"), own / server);
            if let Some(directed) = part("directed_whole") {
                let own = directed - tcp - client;
                more.insert(format!("directed_{case}"), own);
                more.insert(format!("directed_over_alone_{case}"), own / server);
            }
        }
        for (mode, _) in MODES {
            let part = |what: &str| of(&format!("{what}_{mode}{case}"));
            if let (Some(full), Some(resumed)) = (part("full_with_tickets"), part("resumed")) {
                more.insert(format!("resumed_over_full_{mode}{case}"), resumed / full);
            }
        }
        if let (Some(whole), Some(tcp), Some(client)) = (
            part("whole_closed"),
            part("tcp_closed"),
            part("alone_client"),
        ) {
            more.insert(format!("connection_{case}"), whole - client - tcp / 2.0);
        }
    }
    // The same handshake, but for the group.
    for end in ["client", "server"] {
        if let (Some(with), Some(without)) = (
            of(&format!("alone_{end}_tls13_hybrid")),
            of(&format!("alone_{end}_tls13_ecdsa")),
        ) {
            more.insert(format!("ml_kem_{end}"), with - without);
        }
    }
    if let Some(bytes) = of("bulk_bytes") {
        for (way, _) in DIRECTIONS {
            let (Some(tls), Some(plain)) = (
                of(&format!("bulk_{way}_tls")),
                of(&format!("bulk_{way}_plain")),
            ) else {
                continue;
            };
            more.insert(format!("bulk_{way}_tls_per_byte"), tls / bytes);
            more.insert(format!("bulk_{way}_plain_per_byte"), plain / bytes);
            more.insert(format!("bulk_{way}_tls_over_plain"), tls / plain);
            for kind in ["tls", "plain"] {
                if let Some(seconds) = of(&format!("seconds_bulk_{way}_{kind}")) {
                    let rate = bytes / 1e6 / seconds;
                    more.insert(format!("bulk_{way}_{kind}_emulated_mb_per_s"), rate);
                }
            }
        }
    }
    for what in ["handshake", "session"] {
        let each = DOMAINS
            .iter()
            .skip(1)
            .filter_map(|(domain, _)| of(&format!("heap_per_{what}_{domain}")));
        more.insert(format!("heap_per_{what}_without_sockets"), each.sum());
    }
    figures.extend(more);
}

/// The table. Figures that are not there are left out.
pub(super) fn table(figures: &Figures) -> String {
    let mut text = String::new();
    let mut line = |what: String, value: Option<String>| {
        if let Some(value) = value {
            // A String takes what is written to it.
            let _ = writeln!(text, "{what:64} {value:>14}");
        }
    };
    let of = |name: String| figures.get(&name).copied();
    let count = |name: String| of(name).map(grouped);
    let ratio = |name: String| of(name).map(|value| format!("{value:.3}"));
    let heading = || Some(String::new());
    line(
        "Full handshakes, guest instructions, median of 20".into(),
        heading(),
    );
    for (case, title) in CASES {
        line(
            format!("{title}: rustls alone in one domain, server"),
            count(format!("alone_server_{case}")),
        );
        line(
            "  rustls alone, client".into(),
            count(format!("alone_client_{case}")),
        );
        line(
            "  TCP alone: the same bytes in plaintext, both ends".into(),
            count(format!("tcp_{case}")),
        );
        line(
            "  the system: TCP, both ends, handshake, result collected".into(),
            count(format!("whole_{case}")),
        );
        line(
            "  autonomous mode: the system less TCP less client".into(),
            count(format!("autonomous_{case}")),
        );
        line(
            "  autonomous over alone (at most 1.05)".into(),
            ratio(format!("autonomous_over_alone_{case}")),
        );
        line(
            "  directed mode, likewise".into(),
            count(format!("directed_{case}")),
        );
        line(
            "  directed over alone (at most 1.09)".into(),
            ratio(format!("directed_over_alone_{case}")),
        );
        line(
            "  a connection, closing too: less client, less half of TCP".into(),
            count(format!("connection_{case}")),
        );
    }
    for (end, title) in [
        ("server", "encapsulate"),
        ("client", "key pair, decapsulate"),
    ] {
        line(
            format!("ML-KEM-768 in rustls alone, {end}: {title}"),
            count(format!("ml_kem_{end}")),
        );
    }
    for (mode, words) in MODES {
        line(
            format!("Resumption, {words} mode, less TCP less client"),
            heading(),
        );
        for (case, title) in CASES {
            line(
                format!("{title}: full, with tickets given"),
                count(format!("full_with_tickets_{mode}{case}")),
            );
            line("  resumed".into(), count(format!("resumed_{mode}{case}")));
            line(
                "  resumed over full (at most 0.35)".into(),
                ratio(format!("resumed_over_full_{mode}{case}")),
            );
        }
    }
    line(
        "KeyUpdate that asks for one, less TCP less client".into(),
        count("key_update".into()),
    );
    line(
        "Bulk, 4 MiB, AES-256-GCM, without the client's own sealing".into(),
        heading(),
    );
    for (way, title) in DIRECTIONS {
        let per_byte =
            |kind: &str| of(format!("bulk_{way}_{kind}_per_byte")).map(|v| format!("{v:.2}"));
        let rate = |kind: &str| {
            of(format!("bulk_{way}_{kind}_emulated_mb_per_s")).map(|v| format!("{v:.1}"))
        };
        line(
            format!("{title}: TLS, instructions a byte"),
            per_byte("tls"),
        );
        line(
            "  plaintext over the same TCP, instructions a byte".into(),
            per_byte("plain"),
        );
        line(
            "  TLS over plaintext".into(),
            ratio(format!("bulk_{way}_tls_over_plain")),
        );
        line(
            "  TLS, MB/s under this emulator, client too (not comparable)".into(),
            rate("tls"),
        );
        line(
            "  plaintext, MB/s under this emulator (not comparable)".into(),
            rate("plain"),
        );
    }
    line("Calls, guest instructions, mean of 1000".into(), heading());
    line(
        "call and reply between two domains, 8 bytes each way".into(),
        count("call_8_bytes".into()),
    );
    line(
        "the same, typed: CollectAny at the shim".into(),
        count("call_typed".into()),
    );
    line("Memory, bytes".into(), heading());
    for what in ["heaps", "stacks", "rings", "regions"] {
        line(
            format!("given to domains at boot: {what}"),
            count(format!("memory_{what}")),
        );
    }
    for (what, title) in [
        ("at_rest", "in use at rest"),
        ("per_handshake", "per handshake in progress"),
        ("per_session", "per established session"),
    ] {
        for (domain, name) in DOMAINS {
            line(
                format!("heap {title}: {name}"),
                count(format!("heap_{what}_{domain}")),
            );
        }
    }
    for what in ["handshake", "session"] {
        line(
            format!("heap per {what}, without socket buffers (sum)"),
            count(format!("heap_per_{what}_without_sockets")),
        );
    }
    for ring in ["protected", "plaintext", "handshake", "backend"] {
        line(
            format!("rings of a slot, given at boot: {ring}"),
            count(format!("rings_per_slot_{ring}")),
        );
    }
    line("The shipped image".into(), heading());
    line(
        "size of kernel.elf and root.elf, bytes".into(),
        count("image_bytes".into()),
    );
    line(
        "boot to ready under this emulator, seconds (not comparable)".into(),
        of("boot_to_ready_seconds".into()).map(|v| format!("{v:.1}")),
    );
    text
}

/// A whole number with spaces between thousands.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0
            && (digits.len() - index).is_multiple_of(3)
            && digit.is_ascii_digit()
            && !text.ends_with('-')
        {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_system_less_tcp_and_client_over_rustls_alone() {
        let mut figures = Figures::new();
        for (name, value) in [
            ("whole", 500.0),
            ("tcp", 100.0),
            ("alone_client", 190.0),
            ("alone_server", 200.0),
        ] {
            figures.insert(format!("{name}_tls13_ecdsa"), value);
        }
        derive(&mut figures);
        assert_eq!(
            figures.get("autonomous_over_alone_tls13_ecdsa"),
            Some(&1.05)
        );
        assert!(!figures.contains_key("autonomous_over_alone_tls13_rsa"));
        assert!(table(&figures).contains("1.050"));
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(1_234_567.0), "1 234 567");
        assert_eq!(grouped(-1234.0), "-1 234");
    }
}
