//! One bad description per rule, each with the error that it must give.

use image::check;
use image::layout::layout;
use image::load;
use image::workspace;

/// A small system that keeps every rule.
const GOOD: &str = r#"
[[domain]]
name = "netstack-server"
priority = 200
stack = "64K"
heap = "64K"
serves = true

[[domain]]
name = "keystore-server"
priority = 190
stack = "64K"
heap = "64K"
serves = true

[[domain]]
name = "gateway"
priority = 100
stack = "64K"
heap = "64K"
serves = false

[[call]]
from = "gateway"
to = "netstack-server"
badge = 1

[[channel]]
name = "bytes"
between = ["netstack-server", "gateway"]
slots = 4
a_to_b_ring = "4K"
b_to_a_ring = 1024

[[region]]
name = "keyrings"
size = "16K"
provision = "keyrings"
map = [{ domain = "keystore-server", rights = "r" }]

[[region]]
name = "dma"
size = "64K"
dma = true
map = [{ domain = "netstack-server", rights = "rw" }]

[[device]]
name = "nic"
domain = "netstack-server"
reaches = ["dma"]

[[window]]
name = "sessions"
holder = "gateway"
manager = "keystore-server"
slots = 16

[[mint_source]]
name = "source"
manager = "keystore-server"
endpoints = ["netstack-server"]
"#;

fn error_of(text: &str) -> String {
    match load::text(text) {
        Ok(_) => "accepted".to_string(),
        Err(error) => format!("{error:#}"),
    }
}

/// The good system with one piece of text changed.
fn changed(from: &str, to: &str) -> String {
    assert!(
        GOOD.contains(from),
        "the table names text that is not there"
    );
    error_of(&GOOD.replacen(from, to, 1))
}

/// The good system with more after it.
fn extended(more: &str) -> String {
    error_of(&format!("{GOOD}\n{more}"))
}

#[test]
fn the_good_system_is_accepted() {
    assert_eq!(error_of(GOOD), "accepted");
}

#[test]
fn the_shipped_systems_are_accepted() {
    for path in ["system.toml", "probe/system.toml"] {
        let path = workspace::root().unwrap().join("image").join(path);
        let loaded = load::file(&path);
        assert!(loaded.is_ok(), "{loaded:?}");
    }
}

#[test]
fn an_application_that_is_not_whole_is_refused() {
    let shipped = std::fs::read_to_string(workspace::description().unwrap()).unwrap();
    let table = [
        (
            "connections = \"backend\"",
            "connections = \"nowhere\"",
            "there is no channel \"nowhere\"",
        ),
        (
            "plaintext = \"plaintext\"",
            "plaintext = \"protected\"",
            "the channel \"protected\" does not lead to it",
        ),
        (
            "sessions = \"sessions\"",
            "sessions = \"install\"",
            "the window \"install\" is held by offload-server",
        ),
        (
            "holder = \"gateway\"\nmanager = \"kernel-shim\"\nslots = { session = 1 }",
            "holder = \"gateway\"\nmanager = \"kernel-shim\"\nslots = 1024",
            "the window \"sessions\" has 1024 slots for 1536 sessions",
        ),
        (
            "from = \"gateway\"\nto = \"netstack-server\"\nbadge = 1",
            "from = \"gateway\"\nto = \"netstack-server\"\nbadge = 2",
            "kernel-shim and netstack-server know it by different client numbers",
        ),
        (
            "from = \"gateway\"\nto = \"kernel-shim\"\nbadge = 1",
            "from = \"gateway\"\nto = \"record-server\"\nbadge = 1",
            "it does not call kernel-shim by a client number",
        ),
        (
            "[[signal]]\nfrom = \"kernel-shim\"\nto = \"gateway\"",
            "",
            "kernel-shim does not signal it: it is not told of a handshake that is over",
        ),
        (
            "restarts = [\"director\", \"offload-server\", \"gateway\"]",
            "restarts = [\"director\", \"offload-server\"]",
            "it is not restarted with kernel-shim, which holds its sessions",
        ),
    ];
    for (from, to, reason) in table {
        assert!(shipped.contains(from), "{from}");
        let error = match check::parse(&shipped.replacen(from, to, 1)) {
            Ok(_) => "accepted".to_string(),
            Err(error) => format!("{error:#}"),
        };
        assert_eq!(error, format!("application gateway: {reason}"));
    }
    let beside = shipped.replacen(
        "# ---- Calls",
        "[[domain]]\nname = \"second\"\npriority = 160\nstack = \"4K\"\nheap = \"4K\"\n\
         serves = false\n# ---- Calls",
        1,
    );
    let second = |text: &str| {
        text.replace("\"gateway\"", "\"second\"")
            .replace("badge = 1", "badge = 77")
            .replace("\"sessions\"", "\"second-sessions\"")
            .replace("\"plaintext\"", "\"second-plaintext\"")
            .replace("\"backend\"", "\"second-backend\"")
    };
    let parts = "[[call]]\nfrom = \"gateway\"\nto = \"kernel-shim\"\nbadge = 1\n\
         [[call]]\nfrom = \"gateway\"\nto = \"netstack-server\"\nbadge = 1\n\
         [[signal]]\nfrom = \"kernel-shim\"\nto = \"gateway\"\n\
         [[channel]]\nname = \"plaintext\"\nbetween = [\"record-server\", \"gateway\"]\n\
         slots = 1\na_to_b_ring = 64\nb_to_a_ring = 64\n\
         [[channel]]\nname = \"backend\"\nbetween = [\"netstack-server\", \"gateway\"]\n\
         slots = 1\na_to_b_ring = 64\nb_to_a_ring = 64\n\
         [[window]]\nname = \"sessions\"\nholder = \"gateway\"\nmanager = \"kernel-shim\"\n\
         slots = 2\n\
         [[application]]\ndomain = \"gateway\"\ntcp_connections = 1\nhandshakes = 1\n\
         connections = \"backend\"\nplaintext = \"plaintext\"\nsessions = \"sessions\"\n";
    let beside = beside.replace("\"gateway\"]\n\n", "\"gateway\", \"second\"]\n\n");
    let both = format!("{beside}\n{}", second(parts));
    let error = check::parse(&both).unwrap_err();
    assert_eq!(
        error.to_string(),
        "applications gateway and second have one priority: one could starve the other"
    );
    let below = both.replacen(
        "name = \"second\"\npriority = 160",
        "name = \"second\"\npriority = 150",
        1,
    );
    assert!(check::parse(&below).is_ok());
    let twice = format!(
        "{shipped}\n[[application]]\ndomain = \"gateway\"\ntcp_connections = 1\nhandshakes = 1\n\
         connections = \"backend\"\nplaintext = \"plaintext\"\nsessions = \"sessions\""
    );
    let error = check::parse(&twice).unwrap_err();
    assert_eq!(
        error.to_string(),
        "application gateway: it is described twice"
    );
}

#[test]
fn every_rule_refuses_the_description_that_breaks_it() {
    let table = [
        (
            changed("name = \"gateway\"", "name = \"keystore-server\""),
            "two domains are called \"keystore-server\"",
        ),
        (
            changed("name = \"gateway\"", "name = \"Gate way\""),
            "\"Gate way\": a name has 1 to 31 letters a–z, digits and hyphens",
        ),
        (
            changed("priority = 100", "priority = 190"),
            "domains keystore-server and gateway have the same priority 190; only domains that \
             serve nobody may have one together",
        ),
        (
            changed("priority = 100", "priority = 255"),
            "domain gateway: priority 255 is not in 1 to 254; the monitor has 255",
        ),
        (
            changed("stack = \"64K\"", "stack = 1000"),
            "domain netstack-server: stack: 1000 bytes is no whole number of 4K pages",
        ),
        (
            changed("to = \"netstack-server\"", "to = \"nobody\""),
            "call gateway -> nobody: there is no domain \"nobody\"",
        ),
        (
            extended("[[call]]\nfrom = \"netstack-server\"\nto = \"keystore-server\"\nbadge = 1"),
            "policy: calls go upward in priority: netstack-server calls keystore-server: priority 190 is not above 200",
        ),
        (
            extended("[[call]]\nfrom = \"netstack-server\"\nto = \"gateway\"\nbadge = 1"),
            "call netstack-server -> gateway: gateway does not serve",
        ),
        (
            extended("[[call]]\nfrom = \"keystore-server\"\nto = \"netstack-server\"\nbadge = 1"),
            "call keystore-server -> netstack-server: another caller of netstack-server has the same badge",
        ),
        (
            extended("[[call]]\nfrom = \"gateway\"\nto = \"netstack-server\"\nbadge = 2"),
            "call gateway -> netstack-server: this call is described twice",
        ),
        (
            extended("[[signal]]\nfrom = \"gateway\"\nto = \"gateway\""),
            "signal gateway -> gateway: nobody signals itself",
        ),
        (
            extended(
                "[[port]]\nname = \"a\"\ndomain = \"keystore-server\"\nfirst = 0x60\nlast = 0x75\n",
            ),
            "port a: 0x60 to 0x75 is the monitor's in part",
        ),
        (
            extended(
                "[[port]]\nname = \"a\"\ndomain = \"keystore-server\"\nfirst = 0x300\nlast = 0x30f\n[[port]]\nname = \"b\"\ndomain = \"keystore-server\"\nfirst = 0x30f\nlast = 0x310\n",
            ),
            "port b: 0x30f to 0x310 is a's in part",
        ),
        (
            extended(
                "[[port]]\nname = \"a\"\ndomain = \"keystore-server\"\nfirst = 0x310\nlast = 0x300\n",
            ),
            "port a: 0x310 to 0x300 is no range",
        ),
        (
            extended(
                "[[port]]\nname = \"a\"\ndomain = \"keystore-server\"\nfirst = 0x300\nlast = 0x301\ninterrupt = 8\n",
            ),
            "interrupt 8 is not to be had; write one of [3, 5, 6, 7]",
        ),
        (
            extended(
                "[[port]]\nname = \"a\"\ndomain = \"keystore-server\"\nfirst = 0x300\nlast = 0x301\ninterrupt = 3\n[[port]]\nname = \"b\"\ndomain = \"keystore-server\"\nfirst = 0x302\nlast = 0x303\ninterrupt = 5\n",
            ),
            "there are two ports with an interrupt; one is supported",
        ),
        (
            extended("[[port]]\nname = \"a\"\ndomain = \"gateway\"\nfirst = 0x300\nlast = 0x301\n"),
            "policy: I/O ports belong to keystore-server alone: gateway has port a",
        ),
        (
            changed("slots = 4", "slots = 0"),
            "channel bytes: slots must be 1 to 16384",
        ),
        (
            changed("b_to_a_ring = 1024", "b_to_a_ring = 1000"),
            "channel bytes: a ring of 1000 bytes is no power of two from 64 to 1M",
        ),
        (
            extended(
                "[[region]]\nname = \"shared\"\nsize = \"4K\"\nmap = [{ domain = \"gateway\", rights = \"rw\" }, { domain = \"keystore-server\", rights = \"rw\" }]",
            ),
            "policy: each region has one writer at most: region shared: both keystore-server and gateway may write it",
        ),
        (
            changed(
                "map = [{ domain = \"keystore-server\", rights = \"r\" }]",
                "map = [{ domain = \"keystore-server\", rights = \"r\" }, { domain = \"gateway\", rights = \"r\" }]",
            ),
            "region keyrings: boot-time data is for one domain",
        ),
        (
            changed("rights = \"r\" }]", "rights = \"rw\" }]"),
            "policy: key rings are for keystore-server alone, read-only: keystore-server may write \"keyrings\"",
        ),
        (
            changed("provision = \"keyrings\"", "provision = \"keys\""),
            "region keyrings: there is no boot-time data \"keys\"",
        ),
        (
            extended(
                "[[region]]\nname = \"more\"\nsize = \"4K\"\nprovision = \"keyrings\"\nmap = [{ domain = \"keystore-server\", rights = \"r\" }]",
            ),
            "two regions with boot-time data are called \"keyrings\"",
        ),
        (
            changed("size = \"64K\"\ndma", "size = \"4M\"\ndma"),
            "region dma: memory for a device is limited to 2M",
        ),
        (
            changed("reaches = [\"dma\"]", "reaches = [\"dma\", \"keyrings\"]"),
            "device nic: it reaches \"keyrings\", which is no region with dma = true",
        ),
        (
            changed("reaches = [\"dma\"]", "reaches = [\"dma\", \"elsewhere\"]"),
            "device nic: it reaches \"elsewhere\", which is no region with dma = true",
        ),
        (
            changed("reaches = [\"dma\"]", ""),
            "region dma: it has dma = true, and no device reaches it",
        ),
        (
            changed(
                "map = [{ domain = \"netstack-server\", rights = \"rw\" }]",
                "map = [{ domain = \"gateway\", rights = \"rw\" }]",
            ),
            "policy: what a device reaches is its driver's alone: nic reaches region dma, which gateway sees",
        ),
        (
            changed(
                "name = \"nic\"\ndomain = \"netstack-server\"",
                "name = \"nic\"\ndomain = \"gateway\"",
            ),
            "policy: what a device reaches is its driver's alone: nic reaches region dma, which netstack-server sees",
        ),
        (
            changed(
                "manager = \"keystore-server\"\nslots = 16",
                "manager = \"gateway\"\nslots = 16",
            ),
            "window sessions: priority 100 of gateway is not above priority 100 of gateway",
        ),
        (
            changed("slots = 16", "slots = 16_385"),
            "window sessions: 32768 slots are not 2 to 16384",
        ),
        (
            changed(
                "endpoints = [\"netstack-server\"]",
                "endpoints = [\"gateway\"]",
            ),
            "mint source source: gateway does not serve",
        ),
        (
            changed("heap = \"64K\"", "heap = \"200M\""),
            "stacks, heaps, channels and regions take 205228 KiB; 115712 KiB are there",
        ),
        (
            changed("serves = true", "serves = true\nrestarts = [\"nobody\"]"),
            "domain netstack-server: restarts: there is no domain \"nobody\"",
        ),
        (
            changed(
                "serves = false",
                "serves = false\nrestarts = [\"keystore-server\"]",
            ),
            "domain gateway: restarts: keystore-server has no lower priority: it can't call \
             gateway",
        ),
        (
            extended(
                "[[domain]]\nname = \"a\"\npriority = 99\nstack = \"4K\"\nheap = \"4K\"\n\
                 serves = true\nrestarts = [\"b\"]\n[[domain]]\nname = \"b\"\npriority = 98\n\
                 stack = \"4K\"\nheap = \"4K\"\nserves = true\nrestarts = [\"c\"]\n\
                 [[domain]]\nname = \"c\"\npriority = 97\nstack = \"4K\"\nheap = \"4K\"\n\
                 serves = false",
            ),
            "domain a: restarts: c is restarted with b and is missing here",
        ),
        (
            error_of(&format!("rekey_after = 63\n{GOOD}")),
            "rekey_after: 63 records under one key; 64 to 8388608 may be",
        ),
        (
            error_of(&format!("rekey_after = 8_388_609\n{GOOD}")),
            "rekey_after: 8388609 records under one key; 64 to 8388608 may be",
        ),
    ];
    for (given, expected) in table {
        assert_eq!(given, expected);
    }
}

#[test]
fn a_mapping_can_not_ask_for_execution() {
    let error = changed("rights = \"rw\" }]", "rights = \"rwx\" }]");
    assert!(error.contains("unknown variant `rwx`"), "{error}");
}

#[test]
fn an_unknown_word_is_refused_with_its_line() {
    let error = changed("slots = 4", "slots = 4\nslotz = 5");
    assert!(
        error.contains("line 32") && error.contains("unknown field `slotz`"),
        "{error}"
    );
}

#[test]
fn a_client_number_that_is_none_is_refused() {
    for badge in ["0", "4096", "\"root\""] {
        let error = changed("badge = 1", &format!("badge = {badge}"));
        assert!(error.contains("a badge is a client number"), "{error}");
    }
}

#[test]
fn both_sides_of_a_channel_see_it_mirrored() {
    let layout = layout(&load::text(GOOD).unwrap());
    let value = |domain: usize| {
        let fields = &layout.domains[domain].fields;
        let found = fields.iter().find(|field| field.name == "channel_bytes");
        found.unwrap().value.clone()
    };
    assert!(value(0).contains("tx_ring: 4096, rx_ring: 1024"));
    assert!(value(2).contains("tx_ring: 1024, rx_ring: 4096"));
}

#[test]
fn an_application_is_told_its_part_of_the_handshakes() {
    let shipped = std::fs::read_to_string(workspace::description().unwrap()).unwrap();
    for most in ["224", "100"] {
        let text = shipped.replace("handshakes = 224", &format!("handshakes = {most}"));
        let layout = layout(&load::text(&text).unwrap());
        let gateway = layout.domains.iter().find(|d| d.name == "gateway").unwrap();
        assert_eq!(gateway.handshakes.to_string(), most);
    }
}

#[test]
fn no_two_regions_of_a_domain_touch() {
    let path = workspace::description().unwrap();
    let layout = layout(&load::file(&path).unwrap());
    for domain in &layout.domains {
        let mut ranges: Vec<_> = domain
            .maps
            .iter()
            .map(|map| {
                let bytes = layout.regions[usize::from(map.region)].bytes;
                (map.address, map.address + bytes)
            })
            .collect();
        ranges.sort_unstable();
        for pair in ranges.windows(2) {
            assert!(pair[0].1 < pair[1].0, "{}: {pair:x?}", domain.name);
        }
        assert!(
            ranges.iter().all(|(_, end)| *end < 1 << 32),
            "{}",
            domain.name
        );
    }
}

#[test]
fn every_region_has_at_most_one_writer_after_layout() {
    let path = workspace::description().unwrap();
    let layout = layout(&load::file(&path).unwrap());
    for number in 0..layout.regions.len() {
        let writers = layout.domains.iter().flat_map(|domain| &domain.maps);
        let writers = writers.filter(|map| usize::from(map.region) == number && map.writable);
        assert!(writers.count() <= 1, "{}", layout.regions[number].name);
    }
}
