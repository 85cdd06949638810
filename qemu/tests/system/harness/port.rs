//! The listeners of the image under test, by the guest's port. Each test picks the
//! one whose rules it is about.

/// The status page and `/metrics`.
pub(crate) const STATUS: u16 = 443;
/// Sends back what it gets; carries half-close.
pub(crate) const ECHO: u16 = 444;
/// A page over HTTP/1.1; ECDSA P-256, everything else by default.
pub(crate) const HTTP: u16 = 445;
/// The same with an RSA-2048 chain.
pub(crate) const RSA: u16 = 446;
/// The same with an Ed25519 chain.
pub(crate) const ED25519: u16 = 447;
/// The same with an ECDSA P-384 chain.
pub(crate) const P384: u16 = 448;
/// The same for clients with a certificate.
pub(crate) const CERTIFICATE_REQUIRED: u16 = 449;
/// The same, asking for a certificate, content without.
pub(crate) const CERTIFICATE_REQUESTED: u16 = 450;
/// TLS 1.3 alone.
pub(crate) const TLS13_ONLY: u16 = 451;
/// TLS 1.2 alone.
pub(crate) const TLS12_ONLY: u16 = 452;
/// Handshake segments of [`super::site::SMALL_SEGMENT`] bytes at most.
pub(crate) const SMALL_SEGMENTS: u16 = 453;
/// Three key rings, chosen by the name that the client asks for.
pub(crate) const NAMES: u16 = 454;
/// A handshake must be over within [`super::site::HURRY`].
pub(crate) const HURRIED: u16 = 455;
/// Digests what it gets; sends as much as it is asked for.
pub(crate) const BULK: u16 = 456;
/// One suite and one group: ChaCha20-Poly1305, secp384r1.
pub(crate) const ONE_CHOICE: u16 = 457;
/// The status page, for requests that take ten minutes.
pub(crate) const PATIENT: u16 = 461;
/// For two connections of one address, wherever else they go.
pub(crate) const FEW: u16 = 462;
/// Asks for a certificate, and tells the backend whose it was by a PROXY
/// protocol header.
pub(crate) const INTRODUCED: u16 = 459;
/// TLS in, TLS out to the first of [`super::site::UPSTREAMS`].
pub(crate) const REENCRYPTED: u16 = 480;
/// Plaintext in; a backend whose certificate has another name.
pub(crate) const WRONG_NAME: u16 = 481;
/// The same; a backend whose certificate is expired.
pub(crate) const EXPIRED: u16 = 482;
/// The same; a backend whose certificate is revoked.
pub(crate) const REVOKED: u16 = 486;
/// The same; a backend whose authority is not trusted.
pub(crate) const UNKNOWN_AUTHORITY: u16 = 483;
/// The same; a backend that is trusted. The matrix counts the handshakes of
/// its own listeners.
pub(crate) const SENT: u16 = 485;
/// The same; a backend that speaks no TLS.
pub(crate) const NOT_TLS: u16 = 484;
/// A page over HTTP/1.1; asks for a certificate, content without: with
/// ECDSA P-256, with RSA-2048, with Ed25519.
pub(crate) const MATRIX: [u16; 3] = [470, 471, 472];
/// Rules by address, name and ALPN.
pub(crate) const RULES: u16 = 490;
/// Rules for clients from elsewhere alone.
pub(crate) const ELSEWHERE: u16 = 491;
/// A page over TLS 1.2, RSA-2048; directed, static RSA allowed. Tests that
/// count handshakes have one each.
pub(crate) const STATIC_RSA: [u16; 3] = [463, 464, 465];
/// Plaintext in; TLS 1.2 with static RSA and nothing else out, to OpenSSL and
/// to GnuTLS.
pub(crate) const STATIC_RSA_SENT: [u16; 2] = [466, 467];
/// A page; directed; no signature for a client that names no server.
pub(crate) const NAMED_ONLY: u16 = 468;
/// Plaintext in; TLS of any version out to [`super::site::Site::held`].
pub(crate) const HELD: u16 = 469;
/// SecP384r1MLKEM1024 and nothing else.
pub(crate) const HYBRID: u16 = 473;
/// Plaintext in; TLS out to an OpenSSL of today.
pub(crate) const MODERN: u16 = 474;
/// Plaintext in; TLS out to Go, by its own choice of a group.
pub(crate) const GO: u16 = 475;
/// The same; the group is another than the first that is offered.
pub(crate) const GO_RETRYING: u16 = 476;
/// A backend without a listener.
pub(crate) const NO_BACKEND: u16 = 458;
/// The session's keys go to the application too.
pub(crate) const EXPOSED: u16 = 460;

/// Those that have a twin in directed mode.
pub(crate) const TWINS: [u16; 16] = [
    ECHO,
    HTTP,
    RSA,
    ED25519,
    P384,
    CERTIFICATE_REQUIRED,
    CERTIFICATE_REQUESTED,
    TLS13_ONLY,
    TLS12_ONLY,
    SMALL_SEGMENTS,
    NAMES,
    HURRIED,
    BULK,
    ONE_CHOICE,
    EXPOSED,
    HYBRID,
];

/// The twin of `port`: the same rules, in directed mode.
pub(crate) const fn directed(port: u16) -> u16 {
    port + 100
}
