//! Keys without ceremony: kinds, names, ports, several files, broken lines.

use super::super::Outcome::*;
use super::super::servers::Server::*;
use super::*;

cases! {
    // Plain keys.
    "empty": OnlyEd, "" => Unknown;
    "same key": OnlyEd, "host {ed}\n" => Accepted;
    "other key": OnlyEd, "host {other}\n" => Changed;
    "other kind": OnlyEd, "host {ec}\n" => Changed;
    "other kind, other way": OnlyEc, "host {ed}\n" => Changed;
    "known kind is asked for": Plain, "host {ec}\n" => Accepted;
    "rsa is asked for": Plain, "host {rsa}\n" => Accepted;
    "two kinds, one changed": Plain, "host {ec}\nhost {other}\n" => Changed;
    "two of a kind, second": OnlyEd, "host {other}\nhost {ed}\n" => Accepted;
    "two of a kind, first": OnlyEd, "host {ed}\nhost {other}\n" => Accepted;
    "known and another kind": OnlyEd, "host {ec}\nhost {ed}\n" => Accepted;
    "another host": OnlyEd, "host2 {other}\n" => Unknown;
    "same key, another name": OnlyEd, "host2 {ed}\n" => Unknown;
    "upper case in the file": OnlyEd, "HOST {ed}\n" => Accepted;
    "upper case typed": OnlyEd, "host {ed}\n" => Accepted, to("HOST", 22);
    "changed, upper case typed": OnlyEd, "host {other}\n" => Changed, to("HoSt", 22);
    "list of names": OnlyEd, "a,host,b {ed}\n" => Accepted;
    "list of names, changed": OnlyEd, "a,host {other}\n" => Changed;
    "tabs": OnlyEd, "host\t{ed}\n" => Accepted;
    "leading blanks, changed": OnlyEd, " \thost {other}\n" => Changed;
    "several blanks": OnlyEd, "host   {ed}   me@host\n" => Accepted;
    "CRLF": OnlyEd, "host {ed}\r\n" => Accepted;
    "no line end": OnlyEd, "host {ed}" => Accepted;
    "comment": OnlyEd, "#host {ed}\n  # x\n\nhost {ed}\n" => Accepted;
    "commented out": OnlyEd, "# host {ed}\n" => Unknown;
    "star": OnlyEd, "* {ed}\n" => Accepted;
    "star, changed": OnlyEd, "* {other}\n" => Changed;
    "wildcard, changed": OnlyEd, "ho*t {other}\n" => Changed;
    "question mark": OnlyEd, "hos? {ed}\n" => Accepted;
    "question mark is one": OnlyEd, "host? {ed}\n" => Unknown;
    "negated": OnlyEd, "*,!host {ed}\n" => Unknown;
    "negated first": OnlyEd, "!host,* {other}\n" => Unknown;
    "another one negated": OnlyEd, "*,!other {ed}\n" => Accepted;
    "negated alone": OnlyEd, "!other {ed}\n" => Unknown;
    "negated by pattern": OnlyEd, "host,!h* {ed}\n" => Unknown;
    // Ports.
    "port": OnlyEd, "[host]:2222 {ed}\n" => Accepted, to("host", 2222);
    "port, changed": OnlyEd, "[host]:2222 {other}\n" => Changed, to("host", 2222);
    "other port": OnlyEd, "[host]:2223 {ed}\n" => Unknown, to("host", 2222);
    "port, known on 22": OnlyEd, "host {ed}\n" => Accepted, to("host", 2222);
    "port, changed on 22": OnlyEd, "host {other}\n" => Unknown, to("host", 2222);
    "port counts": OnlyEd, "[host]:2222 {other}\nhost {ed}\n" => Changed, to("host", 2222);
    "22, known on a port": OnlyEd, "[host]:2222 {ed}\n" => Unknown;
    "wildcard and port": OnlyEd, "[*]:2222 {ed}\n" => Accepted, to("host", 2222);
    "wildcard and any port": OnlyEd, "[host]:* {ed}\n" => Accepted, to("host", 2222);
    "star matches ports": OnlyEd, "* {other}\n" => Changed, to("host", 2222);
    "negated name, on a port": OnlyEd, "*,!host {ed}\n" => Accepted, to("host", 2222);
    "[host]:22, same key": OnlyEd, "[host]:22 {ed}\n" => Unknown, ours(Accepted, BRACKETS);
    "[host]:22, changed": OnlyEd, "[host]:22 {other}\n" => Unknown, ours(Changed, BRACKETS);
    // Hashed names.
    "hashed": OnlyEd, "host {ed}\n" => Accepted, hashed();
    "hashed, changed": OnlyEd, "host {other}\n" => Changed, hashed();
    "hashed, port": OnlyEd, "[host]:2222 {ed}\n" => Accepted, hashed(), to("host", 2222);
    "hashed, upper case typed": OnlyEd, "host {ed}\n" => Accepted, hashed(), to("HOST", 22);
    "hashed, another host": OnlyEd, "host2 {ed}\n" => Unknown, hashed();
    "broken hash": OnlyEd, "|1|AAAA|BBBB {other}\nhost {ed}\n" => Accepted;
    "broken hash alone": OnlyEd, "|1|x {other}\n" => Unknown;
    // HostKeyAlias, addresses.
    "alias": OnlyEd, "home {ed}\n" => Accepted, with("HostKeyAlias home");
    "alias, changed": OnlyEd, "home {other}\nhost {ed}\n" => Changed, with("HostKeyAlias home");
    "alias hides the host": OnlyEd, "host {ed}\n" => Unknown, with("HostKeyAlias home");
    "alias has no port": OnlyEd, "home {ed}\n" => Accepted,
        with("HostKeyAlias home"), to("host", 2222);
    "alias, upper case": OnlyEd, "home {ed}\n" => Accepted, with("HostKeyAlias HOME");
    "HostName counts": OnlyEd, "real {ed}\n" => Accepted, with("HostName real");
    "HostName hides the alias": OnlyEd, "host {ed}\n" => Unknown, with("HostName real");
    "address": OnlyEd, "127.0.0.9 {ed}\n" => Accepted, to("127.0.0.9", 22);
    "address, changed": OnlyEd, "127.0.0.* {other}\n" => Changed, to("127.0.0.9", 22);
    "IPv6 address": OnlyEd, "::1 {ed}\n" => Accepted, to("::1", 22);
    "CheckHostIP": OnlyEd, "host {ed}\n" => Accepted, with("CheckHostIP yes");
    // Several files.
    "global file": OnlyEd, "" => Accepted, global("host {ed}\n");
    "global file, changed": OnlyEd, "" => Changed, global("host {other}\n");
    "user changed, global same": OnlyEd, "host {other}\n" => Accepted, global("host {ed}\n");
    "user same, global changed": OnlyEd, "host {ed}\n" => Accepted, global("host {other}\n");
    "global orders": Plain, "" => Accepted, global("host {rsa}\n");
    "revoked in the global file": OnlyEd, "host {ed}\n" => Revoked, global("@revoked * {ed}\n");
    "second user file": OnlyEd, "" => Accepted,
        global("host {ed}\n"), with("UserKnownHostsFile DIR/none DIR/global");
    "no user file": OnlyEd, "host {ed}\n" => Unknown, with("UserKnownHostsFile DIR/none");
    "null file, accept-new": OnlyEd, "" => Accepted,
        with("UserKnownHostsFile /dev/null\nStrictHostKeyChecking accept-new");
    // StrictHostKeyChecking.
    "accept-new, unknown": OnlyEd, "" => Accepted, with(NEW);
    "accept-new, changed": OnlyEd, "host {other}\n" => Changed, with(NEW);
    "accept-new, other kind": OnlyEd, "host {ec}\n" => Changed, with(NEW);
    "accept-new, revoked": OnlyEd, "@revoked host {ed}\n" => Revoked, with(NEW);
    "accept-new on a port": OnlyEd, "host {other}\n" => Accepted, with(NEW), to("host", 2222);
    "yes, unknown": OnlyEd, "" => Unknown, with(YES);
    "yes, known": OnlyEd, "host {ed}\n" => Accepted, with(YES);
    "yes, other kind": OnlyEd, "host {ec}\n" => Changed, with(YES);
    "no, unknown": OnlyEd, "" => Accepted, with(NO);
    "no, changed": OnlyEd, "host {other}\n" => Accepted, with(NO), ours(Changed, STRICT);
    "no, revoked": OnlyEd, "@revoked * {ed}\n" => Accepted, with(NO), ours(Revoked, STRICT);
    // Lines that are broken.
    "broken line, good line": OnlyEd, "host ssh-ed25519 AAAA!\nhost {ed}\n" => Accepted;
    "broken line alone": OnlyEd, "host ssh-ed25519 AAAA!\n" => Unknown, ours(Unreadable, DASH);
    "broken line, accept-new": OnlyEd, "host ssh-ed25519 AAAA\n" => Accepted,
        with(NEW), ours(Unreadable, DASH);
    "no key on the line": OnlyEd, "host\n" => Unknown, ours(Unreadable, DASH);
    "kind and key differ": OnlyEd, "host ssh-rsa AAAAC3NzaC1lZDI1NTE5\n" => Unknown,
        ours(Unreadable, DASH);
    "unknown marker": OnlyEd, "@trusted host {ed}\n" => Unknown;
    "new kind of key": OnlyEd, "host x@y AAAAA3hAeQ==\n" => Unknown, ours(Changed, KINDS);
    "garbage elsewhere": OnlyEd, "\u{1}\u{2}\u{3}\n\u{e9}x y z\nhost {ed}\n" => Accepted;
}
