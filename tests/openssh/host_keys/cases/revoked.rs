//! Revoked keys, by line and by list.

use super::super::Outcome::*;
use super::super::servers::Server::*;
use super::*;

pub(super) const CASES: &[Case] = &[
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
];
