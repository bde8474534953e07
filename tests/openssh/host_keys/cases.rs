//! The corpus: files, server, name and port, options, and what ssh 9.2 makes of them.
//!
//! Where ours differs on purpose the case says so, with the reason.

use super::Outcome::{self, *};
use super::servers::Server::{self, *};

/// One comparison. In the files `{ed}` and the like stand for keys.
pub struct Case {
    pub what: &'static str,
    pub server: Server,
    pub name: &'static str,
    pub port: u16,
    pub user: &'static str,
    pub global: &'static str,
    pub revoked: &'static str,
    pub hashed: bool,
    pub options: &'static str,
    pub ssh: Outcome,
    /// What ours makes of it, and why.
    pub differs: Option<(Outcome, &'static str)>,
}

const fn case(what: &'static str, server: Server, user: &'static str, ssh: Outcome) -> Case {
    Case {
        what,
        server,
        name: "host",
        port: 22,
        user,
        global: "",
        revoked: "",
        hashed: false,
        options: "",
        ssh,
        differs: None,
    }
}

impl Case {
    const fn to(self, name: &'static str, port: u16) -> Self {
        Self { name, port, ..self }
    }

    const fn global(self, global: &'static str) -> Self {
        Self { global, ..self }
    }

    const fn revoked(self, revoked: &'static str) -> Self {
        Self {
            revoked,
            options: "RevokedHostKeys DIR/revoked",
            ..self
        }
    }

    const fn hashed(self) -> Self {
        Self {
            hashed: true,
            ..self
        }
    }

    const fn with(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    const fn ours(self, outcome: Outcome, reason: &'static str) -> Self {
        Self {
            differs: Some((outcome, reason)),
            ..self
        }
    }
}

const NEW: &str = "StrictHostKeyChecking accept-new";
const YES: &str = "StrictHostKeyChecking yes";
const NO: &str = "StrictHostKeyChecking no";
const DASH: &str =
    "a line that nobody can read could be about this key, so it is not taken for no line";
const BRACKETS: &str = "[host]:22 is the same place as host (SECURITY.md K10)";
const STRICT: &str = "StrictHostKeyChecking no never makes a changed or revoked key good";
const PORTS: &str = "a key that is revoked for the host is revoked on each of its ports";
const KINDS: &str = "a host known by a kind of key that is new to us is known, not new";

pub const CASES: &[Case] = &[
    // Plain keys.
    case("empty", OnlyEd, "", Unknown),
    case("same key", OnlyEd, "host {ed}\n", Accepted),
    case("other key", OnlyEd, "host {other}\n", Changed),
    case("other kind", OnlyEd, "host {ec}\n", Changed),
    case("other kind, other way", OnlyEc, "host {ed}\n", Changed),
    case("known kind is asked for", Plain, "host {ec}\n", Accepted),
    case("rsa is asked for", Plain, "host {rsa}\n", Accepted),
    case(
        "two kinds, one changed",
        Plain,
        "host {ec}\nhost {other}\n",
        Changed,
    ),
    case(
        "two of a kind, second",
        OnlyEd,
        "host {other}\nhost {ed}\n",
        Accepted,
    ),
    case(
        "two of a kind, first",
        OnlyEd,
        "host {ed}\nhost {other}\n",
        Accepted,
    ),
    case(
        "known and another kind",
        OnlyEd,
        "host {ec}\nhost {ed}\n",
        Accepted,
    ),
    case("another host", OnlyEd, "host2 {other}\n", Unknown),
    case("same key, another name", OnlyEd, "host2 {ed}\n", Unknown),
    case("upper case in the file", OnlyEd, "HOST {ed}\n", Accepted),
    case("upper case typed", OnlyEd, "host {ed}\n", Accepted).to("HOST", 22),
    case(
        "changed, upper case typed",
        OnlyEd,
        "host {other}\n",
        Changed,
    )
    .to("HoSt", 22),
    case("list of names", OnlyEd, "a,host,b {ed}\n", Accepted),
    case(
        "list of names, changed",
        OnlyEd,
        "a,host {other}\n",
        Changed,
    ),
    case("tabs", OnlyEd, "host\t{ed}\n", Accepted),
    case(
        "leading blanks, changed",
        OnlyEd,
        " \thost {other}\n",
        Changed,
    ),
    case(
        "several blanks",
        OnlyEd,
        "host   {ed}   me@host\n",
        Accepted,
    ),
    case("CRLF", OnlyEd, "host {ed}\r\n", Accepted),
    case("no line end", OnlyEd, "host {ed}", Accepted),
    case(
        "comment",
        OnlyEd,
        "#host {ed}\n  # x\n\nhost {ed}\n",
        Accepted,
    ),
    case("commented out", OnlyEd, "# host {ed}\n", Unknown),
    case("star", OnlyEd, "* {ed}\n", Accepted),
    case("star, changed", OnlyEd, "* {other}\n", Changed),
    case("wildcard, changed", OnlyEd, "ho*t {other}\n", Changed),
    case("question mark", OnlyEd, "hos? {ed}\n", Accepted),
    case("question mark is one", OnlyEd, "host? {ed}\n", Unknown),
    case("negated", OnlyEd, "*,!host {ed}\n", Unknown),
    case("negated first", OnlyEd, "!host,* {other}\n", Unknown),
    case("another one negated", OnlyEd, "*,!other {ed}\n", Accepted),
    case("negated alone", OnlyEd, "!other {ed}\n", Unknown),
    case("negated by pattern", OnlyEd, "host,!h* {ed}\n", Unknown),
    // Ports.
    case("port", OnlyEd, "[host]:2222 {ed}\n", Accepted).to("host", 2222),
    case("port, changed", OnlyEd, "[host]:2222 {other}\n", Changed).to("host", 2222),
    case("other port", OnlyEd, "[host]:2223 {ed}\n", Unknown).to("host", 2222),
    case("port, known on 22", OnlyEd, "host {ed}\n", Accepted).to("host", 2222),
    case("port, changed on 22", OnlyEd, "host {other}\n", Unknown).to("host", 2222),
    case(
        "port counts",
        OnlyEd,
        "[host]:2222 {other}\nhost {ed}\n",
        Changed,
    )
    .to("host", 2222),
    case("22, known on a port", OnlyEd, "[host]:2222 {ed}\n", Unknown),
    case("wildcard and port", OnlyEd, "[*]:2222 {ed}\n", Accepted).to("host", 2222),
    case("wildcard and any port", OnlyEd, "[host]:* {ed}\n", Accepted).to("host", 2222),
    case("star matches ports", OnlyEd, "* {other}\n", Changed).to("host", 2222),
    case(
        "negated name, on a port",
        OnlyEd,
        "*,!host {ed}\n",
        Accepted,
    )
    .to("host", 2222),
    case("[host]:22, same key", OnlyEd, "[host]:22 {ed}\n", Unknown).ours(Accepted, BRACKETS),
    case("[host]:22, changed", OnlyEd, "[host]:22 {other}\n", Unknown).ours(Changed, BRACKETS),
    // Hashed names.
    case("hashed", OnlyEd, "host {ed}\n", Accepted).hashed(),
    case("hashed, changed", OnlyEd, "host {other}\n", Changed).hashed(),
    case("hashed, port", OnlyEd, "[host]:2222 {ed}\n", Accepted)
        .hashed()
        .to("host", 2222),
    case("hashed, upper case typed", OnlyEd, "host {ed}\n", Accepted)
        .hashed()
        .to("HOST", 22),
    case("hashed, another host", OnlyEd, "host2 {ed}\n", Unknown).hashed(),
    case(
        "broken hash",
        OnlyEd,
        "|1|AAAA|BBBB {other}\nhost {ed}\n",
        Accepted,
    ),
    case("broken hash alone", OnlyEd, "|1|x {other}\n", Unknown),
    // HostKeyAlias, addresses.
    case("alias", OnlyEd, "home {ed}\n", Accepted).with("HostKeyAlias home"),
    case(
        "alias, changed",
        OnlyEd,
        "home {other}\nhost {ed}\n",
        Changed,
    )
    .with("HostKeyAlias home"),
    case("alias hides the host", OnlyEd, "host {ed}\n", Unknown).with("HostKeyAlias home"),
    case("alias has no port", OnlyEd, "home {ed}\n", Accepted)
        .with("HostKeyAlias home")
        .to("host", 2222),
    case("alias, upper case", OnlyEd, "home {ed}\n", Accepted).with("HostKeyAlias HOME"),
    case("HostName counts", OnlyEd, "real {ed}\n", Accepted).with("HostName real"),
    case("HostName hides the alias", OnlyEd, "host {ed}\n", Unknown).with("HostName real"),
    case("address", OnlyEd, "127.0.0.9 {ed}\n", Accepted).to("127.0.0.9", 22),
    case("address, changed", OnlyEd, "127.0.0.* {other}\n", Changed).to("127.0.0.9", 22),
    case("IPv6 address", OnlyEd, "::1 {ed}\n", Accepted).to("::1", 22),
    case("CheckHostIP", OnlyEd, "host {ed}\n", Accepted).with("CheckHostIP yes"),
    // Several files.
    case("global file", OnlyEd, "", Accepted).global("host {ed}\n"),
    case("global file, changed", OnlyEd, "", Changed).global("host {other}\n"),
    case(
        "user changed, global same",
        OnlyEd,
        "host {other}\n",
        Accepted,
    )
    .global("host {ed}\n"),
    case("user same, global changed", OnlyEd, "host {ed}\n", Accepted).global("host {other}\n"),
    case("global orders", Plain, "", Accepted).global("host {rsa}\n"),
    case("revoked in the global file", OnlyEd, "host {ed}\n", Revoked).global("@revoked * {ed}\n"),
    case("second user file", OnlyEd, "", Accepted)
        .global("host {ed}\n")
        .with("UserKnownHostsFile DIR/none DIR/global"),
    case("no user file", OnlyEd, "host {ed}\n", Unknown).with("UserKnownHostsFile DIR/none"),
    case("null file, accept-new", OnlyEd, "", Accepted)
        .with("UserKnownHostsFile /dev/null\nStrictHostKeyChecking accept-new"),
    // StrictHostKeyChecking.
    case("accept-new, unknown", OnlyEd, "", Accepted).with(NEW),
    case("accept-new, changed", OnlyEd, "host {other}\n", Changed).with(NEW),
    case("accept-new, other kind", OnlyEd, "host {ec}\n", Changed).with(NEW),
    case(
        "accept-new, revoked",
        OnlyEd,
        "@revoked host {ed}\n",
        Revoked,
    )
    .with(NEW),
    case("accept-new on a port", OnlyEd, "host {other}\n", Accepted)
        .with(NEW)
        .to("host", 2222),
    case("yes, unknown", OnlyEd, "", Unknown).with(YES),
    case("yes, known", OnlyEd, "host {ed}\n", Accepted).with(YES),
    case("yes, other kind", OnlyEd, "host {ec}\n", Changed).with(YES),
    case("no, unknown", OnlyEd, "", Accepted).with(NO),
    case("no, changed", OnlyEd, "host {other}\n", Accepted)
        .with(NO)
        .ours(Changed, STRICT),
    case("no, revoked", OnlyEd, "@revoked * {ed}\n", Accepted)
        .with(NO)
        .ours(Revoked, STRICT),
    // Lines that are broken.
    case(
        "broken line, good line",
        OnlyEd,
        "host ssh-ed25519 AAAA!\nhost {ed}\n",
        Accepted,
    ),
    case(
        "broken line alone",
        OnlyEd,
        "host ssh-ed25519 AAAA!\n",
        Unknown,
    )
    .ours(Unreadable, DASH),
    case(
        "broken line, accept-new",
        OnlyEd,
        "host ssh-ed25519 AAAA\n",
        Accepted,
    )
    .with(NEW)
    .ours(Unreadable, DASH),
    case("no key on the line", OnlyEd, "host\n", Unknown).ours(Unreadable, DASH),
    case(
        "kind and key differ",
        OnlyEd,
        "host ssh-rsa AAAAC3NzaC1lZDI1NTE5\n",
        Unknown,
    )
    .ours(Unreadable, DASH),
    case("unknown marker", OnlyEd, "@trusted host {ed}\n", Unknown),
    case(
        "new kind of key",
        OnlyEd,
        "host x@y AAAAA3hAeQ==\n",
        Unknown,
    )
    .ours(Changed, KINDS),
    case(
        "garbage elsewhere",
        OnlyEd,
        "\u{1}\u{2}\u{3}\n\u{e9}x y z\nhost {ed}\n",
        Accepted,
    ),
    // Revoked keys.
    case("revoked", OnlyEd, "@revoked host {ed}\n", Revoked),
    case("revoked for all", OnlyEd, "@revoked * {ed}\n", Revoked),
    case(
        "revoked and known",
        OnlyEd,
        "host {ed}\n@revoked host {ed}\n",
        Revoked,
    ),
    case(
        "revoked before known",
        OnlyEd,
        "@revoked * {ed}\nhost {ed}\n",
        Revoked,
    ),
    case(
        "another key revoked",
        OnlyEd,
        "@revoked * {other}\nhost {ed}\n",
        Accepted,
    ),
    case(
        "revoked for another host",
        OnlyEd,
        "@revoked x {ed}\nhost {ed}\n",
        Accepted,
    ),
    case(
        "revoked, hashed",
        OnlyEd,
        "@revoked host {ed}\nhost {ed}\n",
        Revoked,
    )
    .hashed(),
    case(
        "only another key revoked",
        OnlyEd,
        "@revoked host {other}\n",
        Unknown,
    ),
    case(
        "revoked on 22, on a port",
        OnlyEd,
        "host {ed}\n@revoked host {ed}\n",
        Revoked,
    )
    .to("host", 2222),
    case(
        "revoked on 22, known on the port",
        OnlyEd,
        "[host]:2222 {ed}\n@revoked host {ed}\n",
        Accepted,
    )
    .to("host", 2222)
    .ours(Revoked, PORTS),
    case("list", OnlyEd, "host {ed}\n", Revoked).revoked("{ed}\n"),
    case("list with comments", OnlyEd, "host {ed}\n", Revoked).revoked("# x\n\n  {ed} stolen\n"),
    case("list without it", OnlyEd, "host {ed}\n", Accepted).revoked("{other}\n"),
    case("empty list", OnlyEd, "host {ed}\n", Accepted).revoked(""),
    case("broken list", OnlyEd, "host {ed}\n", RevocationsBroken).revoked("garbage\n{other}\n"),
    case("list with hosts", OnlyEd, "host {ed}\n", RevocationsBroken).revoked("host {ed}\n"),
    case("found before broken", OnlyEd, "host {ed}\n", Revoked).revoked("{ed}\ngarbage\n"),
    case("no list", OnlyEd, "host {ed}\n", RevocationsBroken).with("RevokedHostKeys DIR/none"),
    case("list none", OnlyEd, "host {ed}\n", Accepted).with("RevokedHostKeys none"),
    case("list, unknown host", OnlyEd, "", Revoked).revoked("{ed}\n"),
    case("binary, key", OnlyEd, "host {ed}\n", Revoked).with("RevokedHostKeys KEYS/krl-key"),
    case("binary, sha256", OnlyEd, "host {ed}\n", Revoked).with("RevokedHostKeys KEYS/krl-sha256"),
    case("binary, sha1", OnlyEd, "host {ed}\n", Revoked).with("RevokedHostKeys KEYS/krl-sha1"),
    case("binary, other", OnlyEd, "host {ed}\n", Accepted).with("RevokedHostKeys KEYS/krl-other"),
    case("binary, cut off", OnlyEd, "host {ed}\n", RevocationsBroken).revoked("SSHKRL\n\0\0\0"),
    // Certificates.
    case(
        "certificate",
        Certified,
        "@cert-authority host {ca}\n",
        Accepted,
    ),
    case(
        "certificate, second name",
        Certified,
        "@cert-authority * {ca}\n",
        Accepted,
    )
    .to("h2", 22),
    case(
        "certificate, other name",
        Certified,
        "@cert-authority * {ca}\n",
        Unknown,
    )
    .to("h3", 22),
    case(
        "certificate, upper case",
        Certified,
        "@cert-authority host {ca}\n",
        Accepted,
    )
    .to("HOST", 22),
    case(
        "certificate, hashed",
        Certified,
        "@cert-authority host {ca}\n",
        Accepted,
    )
    .hashed(),
    case(
        "certificate, alias",
        Certified,
        "@cert-authority host {ca}\n",
        Accepted,
    )
    .with("HostKeyAlias host")
    .to("x", 2222),
    case(
        "certificate on a port",
        Certified,
        "@cert-authority [host]:2222 {ca}\n",
        Accepted,
    )
    .to("host", 2222),
    case(
        "certificate on a port by name",
        Certified,
        "@cert-authority host {ca}\n",
        Accepted,
    )
    .to("host", 2222),
    case(
        "certificate, negated",
        Certified,
        "@cert-authority *,!host {ca}\n",
        Unknown,
    ),
    case(
        "certificate, other authority",
        Certified,
        "@cert-authority * {ca2}\n",
        Unknown,
    ),
    case(
        "certificate, two authorities",
        Certified,
        "@cert-authority * {ca2}\n@cert-authority * {ca}\n",
        Accepted,
    ),
    case("certificate, global", Certified, "", Accepted).global("@cert-authority * {ca}\n"),
    case("certificate, nothing known", Certified, "", Unknown),
    case(
        "certificate, plain key known",
        Certified,
        "host {ed}\n",
        Accepted,
    ),
    case(
        "certificate, plain key changed",
        Certified,
        "host {other}\n",
        Changed,
    ),
    case(
        "certificate beats a changed key",
        Certified,
        "host {other}\n@cert-authority host {ca}\n",
        Accepted,
    ),
    case(
        "other authority, plain key known",
        Certified,
        "host {ed}\n@cert-authority host {ca2}\n",
        Accepted,
    ),
    case("authority as a host key", Certified, "host {ca}\n", Changed),
    case(
        "authority's key shown plain",
        OnlyEd,
        "@cert-authority host {ed}\n",
        Unknown,
    ),
    case(
        "authority known, plain server",
        OnlyEd,
        "@cert-authority host {ca}\n",
        Unknown,
    ),
    case(
        "authority known, plain, accept-new",
        OnlyEd,
        "@cert-authority host {ca}\n",
        Accepted,
    )
    .with(NEW),
    case(
        "for every host",
        ForAll,
        "@cert-authority * {ca}\n",
        Accepted,
    )
    .to("whoever", 22),
    case(
        "names are no patterns",
        Wildcard,
        "@cert-authority * {ca}\n",
        Unknown,
    )
    .to("a.example", 22),
    case("expired", Expired, "@cert-authority host {ca}\n", Unknown),
    case(
        "expired, plain key known",
        Expired,
        "host {ed}\n@cert-authority host {ca}\n",
        Accepted,
    ),
    case(
        "expired, plain key changed",
        Expired,
        "host {other}\n@cert-authority host {ca}\n",
        Changed,
    ),
    case(
        "expired, accept-new",
        Expired,
        "@cert-authority host {ca}\n",
        Accepted,
    )
    .with(NEW),
    case("not yet", Early, "@cert-authority host {ca}\n", Unknown),
    case(
        "RSA authority",
        ByRsa,
        "@cert-authority host {rsaca}\n",
        Accepted,
    ),
    case(
        "SHA-1 authority",
        BySha1,
        "@cert-authority host {rsaca}\n",
        Unknown,
    ),
    case(
        "authority's algorithm",
        ByRsa,
        "@cert-authority host {rsaca}\n",
        Unknown,
    )
    .with("CASignatureAlgorithms ssh-ed25519"),
    case(
        "SHA-1 allowed",
        BySha1,
        "@cert-authority host {rsaca}\n",
        Accepted,
    )
    .with("CASignatureAlgorithms +ssh-rsa"),
    case("demand", Demanding, "@cert-authority host {ca}\n", Unknown),
    case(
        "RSA certificate",
        RsaCertified,
        "@cert-authority host {ca}\n",
        Accepted,
    ),
    case(
        "RSA certificate, too short",
        RsaCertified,
        "@cert-authority host {ca}\n",
        TooShort,
    )
    .with("RequiredRSASize 4096"),
    case("RSA too short", OnlyRsa, "host {rsa}\n", TooShort).with("RequiredRSASize 4096"),
    case("RSA long enough", OnlyRsa, "host {rsa}\n", Accepted).with("RequiredRSASize 2048"),
    case(
        "plain algorithms only",
        Certified,
        "@cert-authority host {ca}\n",
        Unknown,
    )
    .with("HostKeyAlgorithms ssh-ed25519"),
    case("certificates only", Certified, "host {ed}\n", Accepted)
        .with("HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com"),
    case("algorithm chosen", Plain, "host {ed}\n", Changed)
        .with("HostKeyAlgorithms ecdsa-sha2-nistp256"),
    case(
        "revoked authority",
        Certified,
        "@cert-authority host {ca}\n@revoked host {ca}\n",
        Revoked,
    ),
    case(
        "revoked authority, plain known",
        Certified,
        "host {ed}\n@revoked host {ca}\n",
        Revoked,
    ),
    case(
        "revoked key in a certificate",
        Certified,
        "@cert-authority host {ca}\n@revoked host {ed}\n",
        Revoked,
    ),
    case(
        "revoked certificate",
        Certified,
        "@cert-authority host {ca}\n@revoked host {cert:Certified}\n",
        Revoked,
    ),
    case(
        "listed authority",
        Certified,
        "@cert-authority host {ca}\n",
        Revoked,
    )
    .revoked("{ca}\n"),
    case(
        "listed authority, plain known",
        Certified,
        "host {ed}\n",
        Revoked,
    )
    .revoked("{ca}\n"),
    case(
        "listed certificate",
        Certified,
        "@cert-authority host {ca}\n",
        Revoked,
    )
    .revoked("{cert:Certified}\n"),
    case(
        "listed certificate, plain server",
        OnlyEd,
        "host {ed}\n",
        Revoked,
    )
    .revoked("{cert:Certified}\n"),
    case(
        "binary, serial",
        Certified,
        "@cert-authority host {ca}\n",
        Revoked,
    )
    .with("RevokedHostKeys KEYS/krl-serial"),
    case(
        "binary, range",
        Certified,
        "@cert-authority host {ca}\n",
        Revoked,
    )
    .with("RevokedHostKeys KEYS/krl-range"),
    case(
        "binary, bitmap",
        Certified,
        "@cert-authority host {ca}\n",
        Revoked,
    )
    .with("RevokedHostKeys KEYS/krl-bitmap"),
    case(
        "binary, other serial",
        Certified,
        "@cert-authority host {ca}\n",
        Accepted,
    )
    .with("RevokedHostKeys KEYS/krl-serial-6"),
    case(
        "binary, no serial",
        ForAll,
        "@cert-authority host {ca}\n",
        Accepted,
    )
    .with("RevokedHostKeys KEYS/krl-serial"),
    case(
        "binary, id",
        Certified,
        "@cert-authority host {ca}\n",
        Revoked,
    )
    .with("RevokedHostKeys KEYS/krl-id"),
    case(
        "binary, authority",
        Certified,
        "@cert-authority host {ca}\n",
        Revoked,
    )
    .with("RevokedHostKeys KEYS/krl-authority"),
    case(
        "binary, serial, plain known",
        Certified,
        "host {ed}\n",
        Revoked,
    )
    .with("RevokedHostKeys KEYS/krl-serial"),
];
