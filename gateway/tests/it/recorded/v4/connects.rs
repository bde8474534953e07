//! Coming in, or not.

use super::super::connects;
use super::super::table::{Row, missing, outcomes, wordings};

const RECORDED: &str = include_str!("../../../data/recorded/v4/connects.jsonl");

const VERSION_3: &str = "ours speaks version 3 too";
const OWNER: &str = "guesses are counted for each user of the machine, and never the owner's";

const DIFFERENCES: &[Row] = &[
    missing(
        "connect",
        &[
            "/payload/auth/recoveryMigrationAllowed",
            "/payload/auth/recoveryScope",
        ],
        "nothing of the Control UI's is kept here",
    ),
    outcomes("wire-auth: a hello", &["/proto-3-3-operator"], VERSION_3),
    missing(
        "connect",
        &["/payload/auth", "/payload/auth/method"],
        VERSION_3,
    ),
    wordings(
        "wire-auth",
        &[
            "/proto-3-3-node",
            "/proto-3-3-openclaw-probe",
            "/proto-3-3-probe",
        ],
        VERSION_3,
    ),
    outcomes(
        "wire-auth-rate-limit: a hello",
        &["/good-token-device"],
        OWNER,
    ),
    wordings("wire-auth-rate-limit", &["/bad-token-with-device-2"], OWNER),
    wordings(
        "wire-auth-rate-limit",
        &["/good-after-lockout"],
        "another user's tool keeps no scopes without a device",
    ),
    outcomes(
        "wire-auth-tailscale: a refusal",
        &["/control-ui-device-no-token-origin-same"],
        "Tailscale knows the user, and nobody the device: it waits for an approval",
    ),
    outcomes(
        "wire-origin-matrix: a refusal",
        &["/webchat-ui-origin-same"],
        "nothing that a page asks for is given silently",
    ),
    wordings(
        "wire-origin-matrix",
        &["/control-ui-origin-same"],
        "no Control UI is served here whose build could be another",
    ),
];

#[tokio::test]
async fn connects_are_answered_as_recorded() {
    connects::are_answered_as_recorded(RECORDED, DIFFERENCES).await;
}
