//! Revoked keys, by line and by list.

use super::super::Outcome::*;
use super::super::servers::Server::*;
use super::*;

cases! {
    "revoked": OnlyEd, "@revoked host {ed}\n" => Revoked;
    "revoked for all": OnlyEd, "@revoked * {ed}\n" => Revoked;
    "revoked and known": OnlyEd, "host {ed}\n@revoked host {ed}\n" => Revoked;
    "revoked before known": OnlyEd, "@revoked * {ed}\nhost {ed}\n" => Revoked;
    "another key revoked": OnlyEd, "@revoked * {other}\nhost {ed}\n" => Accepted;
    "revoked for another host": OnlyEd, "@revoked x {ed}\nhost {ed}\n" => Accepted;
    "revoked, hashed": OnlyEd, "@revoked host {ed}\nhost {ed}\n" => Revoked, hashed();
    "only another key revoked": OnlyEd, "@revoked host {other}\n" => Unknown;
    "revoked on 22, on a port": OnlyEd, "host {ed}\n@revoked host {ed}\n" => Revoked,
        to("host", 2222);
    "revoked on 22, known on the port": OnlyEd, "[host]:2222 {ed}\n@revoked host {ed}\n" => Accepted,
        to("host", 2222), ours(Revoked, PORTS);
    "list": OnlyEd, "host {ed}\n" => Revoked, revoked("{ed}\n");
    "list with comments": OnlyEd, "host {ed}\n" => Revoked, revoked("# x\n\n  {ed} stolen\n");
    "list without it": OnlyEd, "host {ed}\n" => Accepted, revoked("{other}\n");
    "empty list": OnlyEd, "host {ed}\n" => Accepted, revoked("");
    "broken list": OnlyEd, "host {ed}\n" => RevocationsBroken, revoked("garbage\n{other}\n");
    "list with hosts": OnlyEd, "host {ed}\n" => RevocationsBroken, revoked("host {ed}\n");
    "found before broken": OnlyEd, "host {ed}\n" => Revoked, revoked("{ed}\ngarbage\n");
    "no list": OnlyEd, "host {ed}\n" => RevocationsBroken, with("RevokedHostKeys DIR/none");
    "list none": OnlyEd, "host {ed}\n" => Accepted, with("RevokedHostKeys none");
    "list, unknown host": OnlyEd, "" => Revoked, revoked("{ed}\n");
    "binary, key": OnlyEd, "host {ed}\n" => Revoked, with("RevokedHostKeys KEYS/krl-key");
    "binary, sha256": OnlyEd, "host {ed}\n" => Revoked, with("RevokedHostKeys KEYS/krl-sha256");
    "binary, sha1": OnlyEd, "host {ed}\n" => Revoked, with("RevokedHostKeys KEYS/krl-sha1");
    "binary, other": OnlyEd, "host {ed}\n" => Accepted, with("RevokedHostKeys KEYS/krl-other");
    "binary, cut off": OnlyEd, "host {ed}\n" => RevocationsBroken, revoked("SSHKRL\n\0\0\0");
}
