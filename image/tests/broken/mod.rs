//! Systems that break an assertion of the shipped policy each.

/// One fault injected into the shipped system's description.
pub(crate) enum Fault {
    /// More text after it.
    Add(&'static str),
    /// One piece of text for another.
    Change(&'static str, &'static str),
}
use Fault::{Add, Change};

/// The injected fault, the assertion that breaks, and a line that says why.
pub(crate) const TABLE: &[(Fault, &str, &str)] = &[
    (
        Add(
            "[[region]]\nname = \"shared\"\nsize = \"4K\"\nmap = [{ domain = \"gateway\", rights = \"rw\" }, { domain = \"keystore-server\", rights = \"rw\" }]",
        ),
        "each region has one writer at most",
        "region shared: both keystore-server and gateway may write it",
    ),
    (
        Add("[[call]]\nfrom = \"netstack-server\"\nto = \"keystore-server\"\nbadge = 9"),
        "calls go upward in priority",
        "netstack-server calls keystore-server: priority 190 is not above 200",
    ),
    (
        Change(
            "endpoints = [\"record-server\"]",
            "endpoints = [\"record-server\"]\n[[window]]\nname = \"own\"\nholder = \"kernel-shim\"\nmanager = \"keystore-server\"\nslots = 2\n[[mint_source]]\nname = \"up\"\nmanager = \"keystore-server\"\nendpoints = [\"record-server\", \"kernel-shim\"]",
        ),
        "calls go upward in priority",
        "kernel-shim may be handed, in window \"own\" of keystore-server, a call of kernel-shim: priority 170 is not above 170",
    ),
    (
        Change(
            "provision = \"keyrings\"\nmap = [{ domain = \"keystore-server\"",
            "provision = \"keyrings\"\nmap = [{ domain = \"record-server\"",
        ),
        "key rings are for keystore-server alone, read-only",
        "record-server may read \"keyrings\"",
    ),
    (
        Change(
            "provision = \"keyrings\"\nmap = [{ domain = \"keystore-server\", rights = \"r\"",
            "provision = \"keyrings\"\nmap = [{ domain = \"keystore-server\", rights = \"rw\"",
        ),
        "key rings are for keystore-server alone, read-only",
        "keystore-server may write \"keyrings\"",
    ),
    (
        Change(
            "provision = \"gateway-config\"\nmap = [{ domain = \"gateway\"",
            "provision = \"gateway-config\"\nmap = [{ domain = \"netstack-server\"",
        ),
        "the gateway's configuration is for the gateway alone, read-only",
        "netstack-server may read \"gateway-config\"",
    ),
    (
        Change(
            "provision = \"network\"\nmap = [{ domain = \"netstack-server\"",
            "provision = \"network\"\nmap = [{ domain = \"gateway\"",
        ),
        "the network's configuration is for netstack-server alone, read-only",
        "gateway may read \"network\"",
    ),
    (
        Change(
            "provision = \"rights\"\nmap = [{ domain = \"kernel-shim\"",
            "provision = \"rights\"\nmap = [{ domain = \"gateway\"",
        ),
        "the clients' rights are for kernel-shim alone, read-only",
        "gateway may read \"rights\"",
    ),
    (
        Add(
            "[[region]]\nname = \"more\"\nsize = \"4K\"\nprovision = \"offload-config\"\nmap = [{ domain = \"gateway\", rights = \"r\" }]",
        ),
        "the offload component's configuration is for offload-server alone, read-only",
        "gateway may read \"more\"",
    ),
    (
        Change(
            "provision = \"capability-graph\"\nmap = [{ domain = \"gateway\"",
            "provision = \"capability-graph\"\nmap = [{ domain = \"offload-server\"",
        ),
        "the picture of the system is for the gateway alone, read-only",
        "offload-server may read \"capability-graph\"",
    ),
    (
        Change(
            "name = \"nic\"\ndomain = \"netstack-server\"",
            "name = \"nic\"\ndomain = \"record-server\"",
        ),
        "devices belong to netstack-server alone",
        "record-server has nic",
    ),
    (
        Change(
            "name = \"nic\"\ndomain = \"netstack-server\"",
            "name = \"nic\"\ndomain = \"record-server\"",
        ),
        "interrupts of NIC and timer belong to netstack-server alone",
        "record-server has NicInterrupt",
    ),
    (
        Change(
            "name = \"firmware\"\ndomain = \"keystore-server\"",
            "name = \"firmware\"\ndomain = \"offload-server\"",
        ),
        "I/O ports belong to keystore-server alone",
        "offload-server has port firmware",
    ),
    (
        Change(
            "name = \"nic\"\ndomain = \"netstack-server\"",
            "name = \"nic\"\ndomain = \"record-server\"",
        ),
        "device registers are described to netstack-server alone",
        "record-server may read \"device snapshot\"",
    ),
    (
        Change(
            "dma = true\nmap = [{ domain = \"netstack-server\"",
            "dma = true\nmap = [{ domain = \"offload-server\"",
        ),
        "memory that a device can reach belongs to netstack-server alone",
        "offload-server has region dma",
    ),
    (
        Change(
            "dma = true\nmap = [{ domain = \"netstack-server\", rights = \"rw\" }]",
            "dma = true\nmap = [{ domain = \"netstack-server\", rights = \"rw\" }, { domain = \"gateway\", rights = \"r\" }]",
        ),
        "what a device reaches is its driver's alone",
        "nic reaches region dma, which gateway sees",
    ),
    (
        Change(
            "reaches = [\"dma\"]\n\n[[region]]\nname = \"dma\"",
            "reaches = [\"pages\"]\n\n[[region]]\nname = \"pages\"",
        ),
        "the NIC reaches the memory that it shares with netstack-server, and no other",
        "nic reaches region pages",
    ),
    (
        Add("[[call]]\nfrom = \"gateway\"\nto = \"record-server\"\nbadge = 3"),
        "every badge is declared",
        "gateway calls record-server with badge 0x8000003",
    ),
    (
        Add(
            "[[window]]\nname = \"more\"\nholder = \"gateway\"\nmanager = \"record-server\"\nslots = 2",
        ),
        "every way to hand out capabilities is declared",
        "window more: record-server to gateway",
    ),
    (
        Add("[[call]]\nfrom = \"netstack-server\"\nto = \"kernel-shim\"\nbadge = 9"),
        "netstack-server calls nobody but the monitor",
        "netstack-server calls kernel-shim",
    ),
    (
        Add(
            "[[channel]]\nname = \"wire\"\nbetween = [\"netstack-server\", \"keystore-server\"]\nslots = 1\na_to_b_ring = \"4K\"\nb_to_a_ring = \"4K\"",
        ),
        "netstack-server reaches the key store through the offload component only",
        "netstack-server writes \"wire: netstack-server\" that is read by keystore-server",
    ),
    (
        Add(
            "[[channel]]\nname = \"wire\"\nbetween = [\"netstack-server\", \"keystore-server\"]\nslots = 1\na_to_b_ring = \"4K\"\nb_to_a_ring = \"4K\"",
        ),
        "the key store acts on nobody but offload-server, its counters aside",
        "keystore-server writes \"wire: keystore-server\" that is read by netstack-server",
    ),
    (
        Add(
            "[[channel]]\nname = \"wire\"\nbetween = [\"offload-server\", \"keystore-server\"]\nslots = 1\na_to_b_ring = \"4K\"\nb_to_a_ring = \"4K\"",
        ),
        "and on offload-server by a signal alone: key rings were replaced",
        "keystore-server writes \"wire: keystore-server\" that is read by offload-server",
    ),
    (
        Add(
            "[[channel]]\nname = \"wire\"\nbetween = [\"netstack-server\", \"keystore-server\"]\nslots = 1\na_to_b_ring = \"4K\"\nb_to_a_ring = \"4K\"",
        ),
        "no domain writes memory that the key store reads",
        "gateway writes \"backend: gateway\" that is read by netstack-server, which writes \"wire: netstack-server\" that is read by keystore-server",
    ),
    (
        Change(
            "name = \"directives\"\nbetween = [\"kernel-shim\", \"offload-server\"]",
            "name = \"directives\"\nbetween = [\"gateway\", \"offload-server\"]",
        ),
        "directives, the offload control, are between kernel-shim and offload-server alone",
        "gateway may write \"directives: gateway\"",
    ),
    (
        Change(
            "name = \"session-ends\"\nbetween = [\"kernel-shim\", \"offload-server\"]",
            "name = \"session-ends\"\nbetween = [\"gateway\", \"offload-server\"]",
        ),
        "the ends of sessions are told between kernel-shim and offload-server alone",
        "gateway may write \"session-ends: gateway\"",
    ),
    (
        Add(
            "[[channel]]\nname = \"spy\"\nbetween = [\"record-server\", \"kernel-shim\"]\nslots = 1\na_to_b_ring = \"4K\"\nb_to_a_ring = \"4K\"",
        ),
        "kernel-shim reads no byte of a peer, the offload component's completions aside",
        "record-server writes \"spy: record-server\" that is read by kernel-shim",
    ),
    (
        Change(
            "name = \"orders\"\nbetween = [\"kernel-shim\", \"director\"]",
            "name = \"orders\"\nbetween = [\"gateway\", \"director\"]",
        ),
        "directed handshakes are begun and ended between kernel-shim and director alone",
        "gateway may write \"orders: gateway\"",
    ),
    (
        Change(
            "name = \"segments\"\nbetween = [\"director\", \"offload-server\"]",
            "name = \"segments\"\nbetween = [\"director\", \"gateway\"]",
        ),
        "segments of directed handshakes are between director and offload-server alone",
        "gateway may read \"segments: director\"",
    ),
    (
        Add("[[call]]\nfrom = \"director\"\nto = \"kernel-shim\"\nbadge = 9"),
        "the director calls nobody",
        "director calls kernel-shim",
    ),
    (
        Change(
            "name = \"director\"\npriority = 168\nstack = \"64K\"\nheap = \"1184K\"\nserves = false\nonly_for = \"directed\"",
            "name = \"director\"\npriority = 168\nstack = \"64K\"\nheap = \"1184K\"\nserves = true\nonly_for = \"directed\"\n[[call]]\nfrom = \"gateway\"\nto = \"director\"\nbadge = 9",
        ),
        "nobody calls the director",
        "gateway calls director",
    ),
    (
        Add("[[signal]]\nfrom = \"director\"\nto = \"record-server\""),
        "the director acts on nobody but offload-server and kernel-shim, its counters aside",
        "director signals record-server",
    ),
    (
        Add(
            "[[channel]]\nname = \"news\"\nbetween = [\"director\", \"kernel-shim\"]\nslots = 1\na_to_b_ring = \"4K\"\nb_to_a_ring = \"4K\"",
        ),
        "and on kernel-shim by a signal and the ends of an empty ring alone",
        "director writes \"news: director\" that is read by kernel-shim",
    ),
    (
        Add(
            "[[channel]]\nname = \"plaintext-spy\"\nbetween = [\"record-server\", \"netstack-server\"]\nslots = 1\na_to_b_ring = \"4K\"\nb_to_a_ring = \"4K\"",
        ),
        "plaintext of sessions is between record-server and gateway alone",
        "netstack-server may write \"plaintext-spy: netstack-server\"",
    ),
    (
        Change(
            "name = \"protected\"\nbetween = [\"netstack-server\", \"record-server\"]\nslots = { session = 1 }\na_to_b_ring = \"32K\"\nb_to_a_ring = \"32K\"\na_to_b_pool = { guaranteed = \"2K\", lent = { session = 512, fixed = \"2304K\" } }\nb_to_a_pool = { guaranteed = \"2K\", lent = { session = 512, fixed = \"2304K\" } }",
            "name = \"protected\"\nbetween = [\"netstack-server\", \"keystore-server\"]\nslots = { session = 1 }\na_to_b_ring = \"4K\"\nb_to_a_ring = \"4K\"",
        ),
        "protected records are between netstack-server and record-server alone",
        "keystore-server may read \"protected: netstack-server\"",
    ),
    (
        Change(
            "name = \"handshake\"\nbetween = [\"netstack-server\", \"offload-server\"]",
            "name = \"handshake\"\nbetween = [\"netstack-server\", \"kernel-shim\"]",
        ),
        "handshake bytes are between netstack-server and offload-server alone",
        "kernel-shim may read \"handshake: netstack-server\"",
    ),
    (
        Change(
            "name = \"post-handshake\"\nbetween = [\"record-server\", \"offload-server\"]",
            "name = \"post-handshake\"\nbetween = [\"record-server\", \"gateway\"]",
        ),
        "handshake messages of sessions are between record-server and offload-server alone",
        "gateway may read \"post-handshake: record-server\"",
    ),
    (
        Add(
            "[[channel]]\nname = \"backend-spy\"\nbetween = [\"netstack-server\", \"kernel-shim\"]\nslots = 1\na_to_b_ring = \"4K\"\nb_to_a_ring = \"4K\"",
        ),
        "backend connections are between netstack-server and gateway alone",
        "kernel-shim may read \"backend-spy: netstack-server\"",
    ),
    (
        Add("[[call]]\nfrom = \"gateway\"\nto = \"keystore-server\"\nbadge = 9"),
        "offload-server alone calls the key store",
        "gateway calls keystore-server",
    ),
    (
        Add("[[call]]\nfrom = \"gateway\"\nto = \"keystore-server\"\nbadge = 9"),
        "gateway reaches the key store through the offload component only",
        "gateway calls keystore-server",
    ),
    (
        Add("[[call]]\nfrom = \"record-server\"\nto = \"keystore-server\"\nbadge = 9"),
        "gateway never calls the key store, directly or by what it calls",
        "gateway may be handed, in window \"sessions\" of kernel-shim, a call of record-server, which calls keystore-server",
    ),
    (
        Add("[[call]]\nfrom = \"record-server\"\nto = \"keystore-server\"\nbadge = 9"),
        "kernel-shim never calls the key store, directly or by what it calls",
        "kernel-shim calls record-server, which calls keystore-server",
    ),
    (
        Add("[[call]]\nfrom = \"record-server\"\nto = \"keystore-server\"\nbadge = 9"),
        "kernel-shim reaches the key store through the offload component only",
        "kernel-shim calls record-server, which calls keystore-server",
    ),
    (
        Add("[[call]]\nfrom = \"record-server\"\nto = \"keystore-server\"\nbadge = 9"),
        "record-server calls nobody",
        "record-server calls keystore-server",
    ),
    (
        Change(
            "endpoints = [\"record-server\"]",
            "endpoints = [\"kernel-shim\"]",
        ),
        "record-server is called by the shim, and by holders of one session's capability",
        "offload-server does not call record-server",
    ),
    (
        Add("[[call]]\nfrom = \"offload-server\"\nto = \"netstack-server\"\nbadge = 9"),
        "netstack-server is called by the gateway and the shim alone",
        "offload-server calls netstack-server",
    ),
    (
        Add("[[call]]\nfrom = \"record-server\"\nto = \"kernel-shim\"\nbadge = 9"),
        "the control invocation is the applications' and, by a session's capability, the offload component's",
        "record-server calls kernel-shim",
    ),
    (
        Change(
            "priority = 160\nstack = \"256K\"\nheap = { session = 1_464, fixed = \"3948K\" }\nserves = false",
            "priority = 165\nstack = \"256K\"\nheap = { session = 1_464, fixed = \"3948K\" }\nserves = true\n[[call]]\nfrom = \"offload-server\"\nto = \"gateway\"\nbadge = 1",
        ),
        "nobody calls the gateway",
        "offload-server calls gateway",
    ),
    (
        Change(
            "priority = 160\nstack = \"256K\"\nheap = { session = 456, fixed = \"8416K\" }\nserves = false",
            "priority = 161\nstack = \"256K\"\nheap = { session = 456, fixed = \"8416K\" }\nserves = true\n[[call]]\nfrom = \"gateway\"\nto = \"offload-server\"\nbadge = 1",
        ),
        "nobody calls the offload component",
        "gateway calls offload-server",
    ),
    (
        Change(
            "badge = 1\n\n[[call]]\nfrom = \"gateway\"\nto = \"netstack-server\"\nbadge = 1",
            "badge = 77\n\n[[call]]\nfrom = \"gateway\"\nto = \"netstack-server\"\nbadge = 77",
        ),
        "gateway alone holds badge 0x8000001 of netstack-server: listen, accept, connect and attach within the ports and addresses of client 1",
        "gateway does not hold it",
    ),
    (
        Change(
            "from = \"kernel-shim\"\nto = \"netstack-server\"\nbadge = \"control\"",
            "from = \"record-server\"\nto = \"netstack-server\"\nbadge = \"control\"",
        ),
        "kernel-shim alone holds badge 0x9000000 of netstack-server: move a connection to another owner, abort and release it",
        "record-server holds it",
    ),
    (
        Change(
            "from = \"kernel-shim\"\nto = \"record-server\"\nbadge = \"control\"",
            "from = \"gateway\"\nto = \"record-server\"\nbadge = \"control\"",
        ),
        "kernel-shim alone holds badge 0x9000000 of record-server: open and close a session's slot",
        "gateway holds it",
    ),
    (
        Change(
            "from = \"offload-server\"\nto = \"keystore-server\"",
            "from = \"gateway\"\nto = \"keystore-server\"",
        ),
        "offload-server alone holds badge 0x8000001 of keystore-server: read certificates, ask for typed signatures, have pre-master secrets decrypted",
        "gateway holds it",
    ),
    (
        Change(
            "badge = 1\n\n[[call]]\nfrom = \"gateway\"\nto = \"netstack-server\"\nbadge = 1",
            "badge = 77\n\n[[call]]\nfrom = \"gateway\"\nto = \"netstack-server\"\nbadge = 77",
        ),
        "gateway alone holds badge 0x8000001 of kernel-shim: start, collect and cancel handshakes with the key rings, roles and modes that its rights name",
        "gateway does not hold it",
    ),
    (
        Change(
            "endpoints = [\"record-server\"]",
            "endpoints = [\"record-server\", \"keystore-server\"]",
        ),
        "kernel-shim hands offload-server nothing but calls of record-server and kernel-shim: install and control the keys of one session",
        "kernel-shim may hand out calls of keystore-server",
    ),
    (
        Change(
            "endpoints = [\"record-server\"]",
            "endpoints = [\"record-server\", \"netstack-server\"]",
        ),
        "kernel-shim hands gateway nothing but calls of record-server and kernel-shim: ask about and close one session of its own",
        "kernel-shim may hand out calls of netstack-server",
    ),
    (
        Add(
            "[[region]]\nname = \"spy\"\nsize = \"4K\"\nmap = [{ domain = \"gateway\", rights = \"rw\" }]\n[[domain]]\nname = \"counted\"\npriority = 10\nstack = \"4K\"\nheap = \"4K\"\nserves = false",
        ),
        "counters are written by their domain and read by the gateway alone",
        "counted may write \"counters: counted\"",
    ),
    (
        Add(
            "[[domain]]\nname = \"timed\"\npriority = 10\nstack = \"4K\"\nheap = \"4K\"\nserves = false",
        ),
        "the clock page is written by the monitor alone, and read by the domains",
        "timed may read \"clock page\"",
    ),
];
