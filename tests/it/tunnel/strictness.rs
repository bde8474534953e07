//! Servers that do not know strict key exchange.

use std::borrow::Cow;

use clawline::loopback_ssh::LoopbackOptions;
use clawline::tunnel::prompt::Prompter;
use clawline::tunnel::spec::HopSpec;
use clawline::tunnel::{Tunnel, TunnelOptions};
use russh::{Preferred, cipher, kex};

use crate::support::{SshWorld, spec_of, until_up};

/// A server from before strict key exchange with these ciphers.
async fn old_server(ciphers: &'static [cipher::Name]) -> SshWorld {
    let preferred = Preferred {
        kex: Cow::Borrowed(&[kex::CURVE25519]),
        cipher: Cow::Borrowed(ciphers),
        ..Preferred::DEFAULT
    };
    SshWorld::new(LoopbackOptions {
        preferred: Some(preferred),
        ..LoopbackOptions::default()
    })
    .await
}

async fn negotiated(world: &SshWorld, ciphers: &[&str]) -> String {
    let hop = HopSpec {
        ciphers: Some(ciphers.iter().map(|name| (*name).to_owned()).collect()),
        ..world.hop()
    };
    let tunnel = Tunnel::start(spec_of(hop), Prompter::nobody(), TunnelOptions::default());
    let view = until_up(&mut tunnel.view()).await;
    tunnel.stop().await;
    format!("{:?}", view.rows)
}

#[tokio::test]
async fn chacha_is_given_up_for_a_cipher_that_stands_without() {
    let world = old_server(&[cipher::CHACHA20_POLY1305, cipher::AES_128_CTR]).await;
    let rows = negotiated(&world, &["chacha20-poly1305@openssh.com", "aes128-ctr"]).await;
    assert!(rows.contains("aes128-ctr · no strict kex"), "{rows}");
}

#[tokio::test]
async fn a_cipher_that_was_the_only_one_asked_for_is_used() {
    let world = old_server(&[cipher::CHACHA20_POLY1305, cipher::AES_128_CTR]).await;
    let rows = negotiated(&world, &["chacha20-poly1305@openssh.com"]).await;
    assert!(rows.contains("chacha20-poly1305 · no strict kex"), "{rows}");
}
