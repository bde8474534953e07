//! Connects as they were recorded (`connects.jsonl`), good ones and refused ones, carried out against gateways of
//! ours: the answer, the close, and what hello says of the credential.

mod attempt;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use clawline::secret::Secret;
use clawline_gateway::settings::{AuthMode, GatewaySettings, IpRange, RateLimit};
use serde_json::{Value, json};

use self::attempt::{Attempt, Ours};
use super::shape::{self, Shape};
use super::table::{Difference, How, Row, missing, outcomes, verdict, wordings};
use crate::support::TestGateway;
use crate::tailscale::Tailscale;

/// What shapes are compared of, whichever recording they are in.
const SHAPES: &str = "connect";
/// As the recorded gateways were set up; the clients know them.
const TOKEN: &str = "fixture-shared-token";
const PASSWORD: &str = "fixture-shared-password";
const PROXY_UID: u32 = 4077;
/// Not the gateway's own user: the owner's guesses are not counted.
const SOMEBODY_ELSE: u32 = 4001;

const FROM_A_PAGE: &str = "where a page comes from is judged before there is a WebSocket: 403";

/// Differences to both versions.
const COMMON: &[Row] = &[
    missing(
        "connect",
        &["/payload/auth/scopes/*"],
        "scopes that are none, and those of other users' tools, are left out",
    ),
    wordings(
        "wire-auth",
        &["/unknown-scope-device"],
        "a scope that is none is left out",
    ),
    outcomes(
        "wire-origin-matrix: no WebSocket",
        &[
            "/cli-origin-evil",
            "/cli-origin-localhost-other-port",
            "/cli-origin-null",
            "/cli-origin-tsnet",
            "/control-ui-origin-evil",
            "/control-ui-origin-localhost-other-port",
            "/control-ui-origin-null",
            "/control-ui-origin-tsnet",
            "/gateway-client-backend-origin-evil",
            "/gateway-client-backend-origin-localhost-other-port",
            "/gateway-client-backend-origin-null",
            "/gateway-client-backend-origin-tsnet",
            "/webchat-ui-origin-evil",
            "/webchat-ui-origin-localhost-other-port",
            "/webchat-ui-origin-null",
            "/webchat-ui-origin-tsnet",
        ],
        FROM_A_PAGE,
    ),
    outcomes(
        "wire-auth-remote: no WebSocket",
        &["/control-ui-origin-same-host"],
        FROM_A_PAGE,
    ),
    outcomes(
        "wire-auth-trustedproxy: no WebSocket",
        &["/control-ui-device-origin", "/control-ui-no-device-origin"],
        FROM_A_PAGE,
    ),
    outcomes(
        "wire-origin-matrix: no WebSocket",
        &[
            "/cli-host-192-168-1-5",
            "/cli-host-box-ts-net",
            "/cli-host-evil",
            "/control-ui-host-origin-same-lan-ip",
            "/control-ui-host-origin-same-public",
            "/control-ui-host-origin-same-ts-net",
        ],
        "only a name of ours in `Host` is answered: 421",
    ),
    outcomes(
        "wire-auth: a hello",
        &["/extra-connect-property"],
        "a member of a later release is ignored, not refused",
    ),
];

/// The recorded connects of a version, and how ours went otherwise.
struct Connects {
    attempts: Vec<Attempt>,
    /// What answers of the version look like.
    known: Shape,
    /// Our pairing requests by the recorded ones.
    requests: HashMap<String, String>,
    found: BTreeSet<Difference>,
}

/// Carries out every recorded connect; the rows are the differences that there are.
pub async fn are_answered_as_recorded(recorded: &str, rows: &[Row]) {
    let attempts: Vec<Attempt> = recorded
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut known = Shape::default();
    attempts.iter().for_each(|one| known.add(&one.answer));
    let mut connects = Connects {
        attempts,
        known,
        requests: HashMap::new(),
        found: BTreeSet::new(),
    };
    for (recording, settings) in GATEWAYS {
        let gateway = TestGateway::start_with(settings).await;
        if *recording == "wire-auth-trustedproxy" {
            gateway.peers.become_user(PROXY_UID);
        }
        connects.all_of(recording, gateway.address).await;
    }
    connects.guesses().await;
    let tailscale = Tailscale::new();
    tailscale.say("login", "ana@example.com");
    let (_gateway, door) = tailscale.published(with_token).await;
    connects.all_of("wire-auth-tailscale", door).await;
    assert!(connects.attempts.is_empty(), "not all were carried out");
    let complaints = verdict(&connects.found, &[COMMON, rows]);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// A recording, and what its gateway was told.
type SetUp = (&'static str, fn(&mut GatewaySettings));

const GATEWAYS: &[SetUp] = &[
    ("wire-auth", with_token),
    ("wire-auth-passwordmode", |settings| {
        settings.auth.mode = AuthMode::Password;
        settings.auth.password = Some(Secret::new(PASSWORD));
    }),
    ("wire-auth-nonemode", |settings| {
        settings.auth.mode = AuthMode::None;
    }),
    ("wire-auth-remote", |settings| {
        with_token(settings);
        settings.trusted_proxies = vec![IpRange::parse("127.0.0.1").unwrap()];
        settings.allowed_origins = vec!["https://ui.example".into()];
    }),
    ("wire-auth-trustedproxy", |settings| {
        settings.auth.mode = AuthMode::TrustedProxy;
        settings.trusted_proxies = vec![IpRange::parse("127.0.0.1").unwrap()];
        let proxy = &mut settings.auth.trusted_proxy;
        proxy.user_header = "x-forwarded-user".into();
        proxy.required_headers = vec!["x-forwarded-proto".into()];
        proxy.allow_users = vec!["ana@x".into()];
        proxy.allow_loopback = true;
        proxy.proxy_uid = Some(PROXY_UID);
    }),
    ("wire-origin-matrix", with_token),
];

fn with_token(settings: &mut GatewaySettings) {
    settings.auth.token = Some(Secret::new(TOKEN));
}

impl Connects {
    async fn all_of(&mut self, recording: &str, address: SocketAddr) {
        while self.attempts.iter().any(|one| one.from == recording) {
            self.next_of(recording, address).await;
        }
    }

    /// Carries out the next attempt of a recording.
    async fn next_of(&mut self, recording: &str, address: SocketAddr) {
        let at = self.attempts.iter().position(|one| one.from == recording);
        let attempt = self.attempts.remove(at.unwrap());
        let ours = attempt.carry_out(address).await;
        self.compare(&attempt, &ours);
    }

    /// Wrong secrets until it locks. The recorded client waited for each lock to be over; here a gateway
    /// that knows of no guess takes over.
    async fn guesses(&mut self) {
        const RECORDING: &str = "wire-auth-rate-limit";
        const FIRST_AFTER_A_LOCK: [&str; 3] = [
            "good-after-lockout",
            "good-token-device",
            "missing-token-with-device-0",
        ];
        let start = |settings: &mut GatewaySettings| {
            with_token(settings);
            settings.rate_limit = RateLimit {
                max_attempts: 3,
                window: Duration::from_secs(3600),
                lockout: Duration::from_secs(3600),
            };
        };
        let mut gateway = TestGateway::start_with(start).await;
        // The device, paired silently.
        self.next_of(RECORDING, gateway.address).await;
        gateway.peers.become_user(SOMEBODY_ELSE);
        while let Some(next) = self.attempts.iter().find(|one| one.from == RECORDING) {
            if FIRST_AFTER_A_LOCK.contains(&next.case.as_str()) {
                gateway = gateway.restart().await;
                gateway.peers.become_user(SOMEBODY_ELSE);
            }
            self.next_of(RECORDING, gateway.address).await;
        }
    }

    fn compare(&mut self, attempt: &Attempt, ours: &Ours) {
        let case = format!("/{}", attempt.case);
        let (theirs, came) = (attempt.answered().outcome(), ours.outcome());
        if theirs != came {
            let of = format!("{}: {came}", attempt.from);
            let what = json!({"theirs": theirs, "ours": ours.told()});
            return self.note(&of, How::Outcome, &case, &what);
        }
        let words = |answer: &Value| {
            let error = &answer["error"];
            (error["code"].clone(), error["message"].clone())
        };
        // Another refusal has members of its own.
        if words(&attempt.answer) == words(&ours.answer) {
            let found = shape::differences(&ours.answer, &attempt.answer, &self.known);
            for (how, path) in found {
                self.note(SHAPES, how, &path, &json!([attempt.from, attempt.case]));
            }
        }
        let (theirs, told) = (attempt.answered().told(), ours.told());
        if theirs != told {
            let what = json!({"theirs": theirs, "ours": told});
            self.note(&attempt.from, How::Words, &case, &what);
        }
        let request = |answer: &Value| answer["error"]["details"]["requestId"].clone();
        if let (Value::String(theirs), Value::String(ours)) =
            (request(&attempt.answer), request(&ours.answer))
        {
            let is_new = !self.requests.values().any(|known| *known == ours);
            let known = self.requests.get(&theirs);
            if known.map_or(!is_new, |known| *known != ours) {
                let of = format!("{} request", attempt.from);
                self.note(&of, How::Words, &case, &json!({"isNew": is_new}));
            }
            self.requests.insert(theirs, ours);
        }
    }

    fn note(&mut self, of: &str, how: How, path: &str, detail: &Value) {
        self.found.insert(Difference {
            of: of.to_owned(),
            how,
            path: path.to_owned(),
            detail: detail.to_string(),
        });
    }
}
