//! Keys without ceremony: kinds, names, ports, several files, broken lines.

use super::super::Outcome::*;
use super::super::servers::Server::*;
use super::*;

pub(super) const CASES: &[Case] = &[
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
];
