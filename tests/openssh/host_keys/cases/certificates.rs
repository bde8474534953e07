//! Host certificates and their authorities.

use super::super::Outcome::*;
use super::super::servers::Server::*;
use super::*;

pub(super) const CASES: &[Case] = &[
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
