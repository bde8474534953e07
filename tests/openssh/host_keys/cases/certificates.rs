//! Host certificates and their authorities.

use super::super::Outcome::*;
use super::super::servers::Server::*;
use super::*;

cases! {
    "certificate": Certified, "@cert-authority host {ca}\n" => Accepted;
    "certificate, second name": Certified, "@cert-authority * {ca}\n" => Accepted, to("h2", 22);
    "certificate, other name": Certified, "@cert-authority * {ca}\n" => Unknown, to("h3", 22);
    "certificate, upper case": Certified, "@cert-authority host {ca}\n" => Accepted, to("HOST", 22);
    "certificate, hashed": Certified, "@cert-authority host {ca}\n" => Accepted, hashed();
    "certificate, alias": Certified, "@cert-authority host {ca}\n" => Accepted,
        with("HostKeyAlias host"), to("x", 2222);
    "certificate on a port": Certified, "@cert-authority [host]:2222 {ca}\n" => Accepted,
        to("host", 2222);
    "certificate on a port by name": Certified, "@cert-authority host {ca}\n" => Accepted,
        to("host", 2222);
    "certificate, negated": Certified, "@cert-authority *,!host {ca}\n" => Unknown;
    "certificate, other authority": Certified, "@cert-authority * {ca2}\n" => Unknown;
    "certificate, two authorities": Certified, "@cert-authority * {ca2}\n@cert-authority * {ca}\n" => Accepted;
    "certificate, global": Certified, "" => Accepted, global("@cert-authority * {ca}\n");
    "certificate, nothing known": Certified, "" => Unknown;
    "certificate, plain key known": Certified, "host {ed}\n" => Accepted;
    "certificate, plain key changed": Certified, "host {other}\n" => Changed;
    "certificate beats a changed key": Certified, "host {other}\n@cert-authority host {ca}\n" => Accepted;
    "other authority, plain key known": Certified, "host {ed}\n@cert-authority host {ca2}\n" => Accepted;
    "authority as a host key": Certified, "host {ca}\n" => Changed;
    "authority's key shown plain": OnlyEd, "@cert-authority host {ed}\n" => Unknown;
    "authority known, plain server": OnlyEd, "@cert-authority host {ca}\n" => Unknown;
    "authority known, plain, accept-new": OnlyEd, "@cert-authority host {ca}\n" => Accepted,
        with(NEW);
    "for every host": ForAll, "@cert-authority * {ca}\n" => Accepted, to("whoever", 22);
    "names are no patterns": Wildcard, "@cert-authority * {ca}\n" => Unknown, to("a.example", 22);
    "expired": Expired, "@cert-authority host {ca}\n" => Unknown;
    "expired, plain key known": Expired, "host {ed}\n@cert-authority host {ca}\n" => Accepted;
    "expired, plain key changed": Expired, "host {other}\n@cert-authority host {ca}\n" => Changed;
    "expired, accept-new": Expired, "@cert-authority host {ca}\n" => Accepted, with(NEW);
    "not yet": Early, "@cert-authority host {ca}\n" => Unknown;
    "RSA authority": ByRsa, "@cert-authority host {rsaca}\n" => Accepted;
    "SHA-1 authority": BySha1, "@cert-authority host {rsaca}\n" => Unknown;
    "authority's algorithm": ByRsa, "@cert-authority host {rsaca}\n" => Unknown,
        with("CASignatureAlgorithms ssh-ed25519");
    "SHA-1 allowed": BySha1, "@cert-authority host {rsaca}\n" => Accepted,
        with("CASignatureAlgorithms +ssh-rsa");
    "demand": Demanding, "@cert-authority host {ca}\n" => Unknown;
    "RSA certificate": RsaCertified, "@cert-authority host {ca}\n" => Accepted;
    "RSA certificate, too short": RsaCertified, "@cert-authority host {ca}\n" => TooShort,
        with("RequiredRSASize 4096");
    "RSA too short": OnlyRsa, "host {rsa}\n" => TooShort, with("RequiredRSASize 4096");
    "RSA long enough": OnlyRsa, "host {rsa}\n" => Accepted, with("RequiredRSASize 2048");
    "plain algorithms only": Certified, "@cert-authority host {ca}\n" => Unknown,
        with("HostKeyAlgorithms ssh-ed25519");
    "certificates only": Certified, "host {ed}\n" => Accepted,
        with("HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com");
    "algorithm chosen": Plain, "host {ed}\n" => Changed,
        with("HostKeyAlgorithms ecdsa-sha2-nistp256");
    "revoked authority": Certified, "@cert-authority host {ca}\n@revoked host {ca}\n" => Revoked;
    "revoked authority, plain known": Certified, "host {ed}\n@revoked host {ca}\n" => Revoked;
    "revoked key in a certificate": Certified, "@cert-authority host {ca}\n@revoked host {ed}\n" => Revoked;
    "revoked certificate": Certified, "@cert-authority host {ca}\n@revoked host {cert:Certified}\n" => Revoked;
    "listed authority": Certified, "@cert-authority host {ca}\n" => Revoked, revoked("{ca}\n");
    "listed authority, plain known": Certified, "host {ed}\n" => Revoked, revoked("{ca}\n");
    "listed certificate": Certified, "@cert-authority host {ca}\n" => Revoked,
        revoked("{cert:Certified}\n");
    "listed certificate, plain server": OnlyEd, "host {ed}\n" => Revoked,
        revoked("{cert:Certified}\n");
    "binary, serial": Certified, "@cert-authority host {ca}\n" => Revoked,
        with("RevokedHostKeys KEYS/krl-serial");
    "binary, range": Certified, "@cert-authority host {ca}\n" => Revoked,
        with("RevokedHostKeys KEYS/krl-range");
    "binary, bitmap": Certified, "@cert-authority host {ca}\n" => Revoked,
        with("RevokedHostKeys KEYS/krl-bitmap");
    "binary, other serial": Certified, "@cert-authority host {ca}\n" => Accepted,
        with("RevokedHostKeys KEYS/krl-serial-6");
    "binary, no serial": ForAll, "@cert-authority host {ca}\n" => Accepted,
        with("RevokedHostKeys KEYS/krl-serial");
    "binary, id": Certified, "@cert-authority host {ca}\n" => Revoked,
        with("RevokedHostKeys KEYS/krl-id");
    "binary, authority": Certified, "@cert-authority host {ca}\n" => Revoked,
        with("RevokedHostKeys KEYS/krl-authority");
    "binary, serial, plain known": Certified, "host {ed}\n" => Revoked,
        with("RevokedHostKeys KEYS/krl-serial");
}
