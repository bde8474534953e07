//! Coming in, or not.

use super::super::connects;
use super::super::table::{Row, added, outcomes, wordings};

const RECORDED: &str = include_str!("../../../data/recorded/v3/connects.jsonl");

const OTHER_VERSIONS: &str = "ours speaks version 4 too";
const NO_V1: &str = "a proof without a nonce could be sent again by whoever saw it";
const AS_V4: &str = "as version 4 has it";

const DIFFERENCES: &[Row] = &[
    added("connect", &["/payload/auth/method"], OTHER_VERSIONS),
    added(
        "connect",
        &[
            "/error/details/clientMaxProtocol",
            "/error/details/clientMinProtocol",
            "/error/details/code",
            "/error/details/minimumProbeProtocol",
        ],
        OTHER_VERSIONS,
    ),
    wordings(
        "wire-auth",
        &[
            "/proto-1-2-operator",
            "/proto-1-9-operator",
            "/proto-2-2-node",
            "/proto-3-4-operator",
            "/proto-5-9-operator",
        ],
        OTHER_VERSIONS,
    ),
    outcomes(
        "wire-auth: a hello",
        &["/proto-4-4-operator"],
        OTHER_VERSIONS,
    ),
    outcomes(
        "wire-auth: a hello",
        &["/sig-v3"],
        "a proof over more is as good as one over less",
    ),
    outcomes("wire-auth: a refusal", &["/nonce-missing"], NO_V1),
    wordings("wire-auth", &["/nonce-blank"], NO_V1),
    outcomes(
        "wire-auth: a refusal",
        &["/no-device-node"],
        "a node without a device cannot be told from another",
    ),
    wordings("wire-auth", &["/wrong-devicetoken-field"], AS_V4),
    outcomes(
        "wire-auth: a close",
        &["/preauth-70k"],
        "64 KiB a message before hello (DESIGN §9)",
    ),
    wordings(
        "wire-auth-rate-limit",
        &[
            "/missing-token-with-device-3",
            "/missing-token-with-device-4",
            "/no-auth-device-while-locked",
        ],
        "who shows no secret has not guessed: as version 4 has it",
    ),
    wordings(
        "wire-auth-remote request",
        &["/same-more-scopes"],
        "another request: the one that a person looks at does not change under their eyes",
    ),
    wordings(
        "wire-auth-remote",
        &["/control-ui-origin-allowed"],
        "the recorded gateway did not list this page, ours does",
    ),
    wordings(
        "wire-auth-tailscale",
        &["/cli-device-bad-token-via-serve"],
        "a wrong secret is a guess, whoever makes it: as version 4 has it",
    ),
    wordings(
        "wire-auth-trustedproxy",
        &["/no-proxy-headers-token"],
        "the proxy alone decides who comes in: as version 4 has it",
    ),
    outcomes(
        "wire-auth-trustedproxy: a hello",
        &["/cli-no-device"],
        AS_V4,
    ),
    outcomes(
        "wire-origin-matrix: a refusal",
        &[
            "/cli-origin-same",
            "/control-ui-origin-same",
            "/gateway-client-backend-origin-same",
            "/webchat-ui-origin-same",
        ],
        "nothing that a page asks for is given silently",
    ),
    outcomes(
        "wire-origin-matrix: no WebSocket",
        &[
            "/cli-forwarded",
            "/cli-tailscale-user-login",
            "/cli-x-forwarded-for",
            "/cli-x-forwarded-proto-only",
            "/cli-x-real-ip",
        ],
        "whoever speaks for others has to be a trusted proxy: as version 4 has it",
    ),
    outcomes(
        "wire-auth-tailscale: no WebSocket",
        &[
            "/cli-device-no-forwarded-headers",
            "/cli-device-no-xf-proto",
        ],
        "whoever speaks for others has to be a trusted proxy: as version 4 has it",
    ),
];

#[tokio::test]
async fn connects_are_answered_as_recorded() {
    connects::are_answered_as_recorded(RECORDED, DIFFERENCES).await;
}
