//! Who may come in: credential, device proof and device token of a `connect`, in the order that
//! official gateways check them (PROTOCOL.md §4.1). Pairing is decided afterwards, in [`crate::pairing`].

mod bearer;
mod caller;
mod compare;
mod peers;
mod proof;
mod refusal;
mod secrets;
mod setup_code;
mod throttle;
pub(crate) mod trusted_proxy;
mod weak;

use std::sync::Arc;
use std::time::Instant;

use clawline::protocol::Protocol;
use clawline::protocol::hello::{AuthParams, ConnectParams};
use clawline::protocol::scope::{Role, Scopes};
use clawline::secret::Secret;

use crate::policy::Policy;
use crate::settings::{AuthMode, IpRange, SilentScopes};
use crate::store::{Device, DeviceRole, now_ms};

pub use bearer::BearerRefusal;
pub use caller::{Caller, IdentityFault, Listener, ProxyUser};
pub use compare::Compares;
pub(crate) use compare::is_same;
pub use peers::{KernelPeers, PeerLookup};
pub use proof::ProofFault;
pub use refusal::{ORIGIN_REFUSED, PairingRefusal, Refusal};
pub use secrets::{DeviceTokens, SecretFileError, fresh, read, read_or_create};
pub use setup_code::{CodeFault, SetupCode};
pub use throttle::{Source, Throttle};
pub use weak::{WeakSecret, check_secret, is_short};

/// By which credential somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// Nothing was asked for.
    None,
    /// The shared token.
    Token,
    /// The shared password.
    Password,
    /// The token of a paired device.
    DeviceToken,
    /// A one-time code from the host.
    SetupCode,
    /// A trusted proxy signed its user in.
    TrustedProxy,
    /// Tailscale knows the user.
    Tailscale,
}

impl AuthMethod {
    /// The name in hello.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::Password => "password",
            Self::DeviceToken => "device-token",
            Self::SetupCode => "bootstrap-token",
            Self::TrustedProxy => "trusted-proxy",
            Self::Tailscale => "tailscale",
        }
    }
}

/// What everything about sign-in hangs on.
#[derive(Clone)]
pub struct Authority {
    /// What is asked for.
    pub mode: AuthMode,
    /// The shared token or password; unused in mode `none`.
    pub secret: Secret,
    /// Whose word counts in mode `trusted-proxy`.
    pub trusted_proxies: Vec<IpRange>,
    /// How often one was taken off that list since the start.
    pub proxies_taken_off: u64,
    /// Device tokens.
    pub tokens: DeviceTokens,
    /// Failed attempts.
    pub throttle: Arc<Throttle>,
    /// Who is on the other end.
    pub peers: Arc<dyn PeerLookup>,
    /// Whether a signature without nonce may pass.
    pub payload_v1: bool,
    /// What is given without anybody being asked, to callers without a device too.
    pub silent: SilentScopes,
    /// Which checks are made; all of them, outside tests.
    pub policy: Arc<Policy>,
}

/// One `connect`, checked for its form only.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// What was sent.
    pub params: &'a ConnectParams,
    /// The version of the connection.
    pub version: Protocol,
    /// The role asked for.
    pub role: Role,
    /// What the socket tells.
    pub caller: &'a Caller,
    /// The user on the other end, where the kernel tells.
    pub uid: Option<u32>,
    /// The challenge of this connection.
    pub nonce: &'a str,
    /// What the store knows of the device that was named (not proven yet).
    pub known: Option<&'a Device>,
}

/// Somebody who showed a good credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// How.
    pub method: AuthMethod,
    /// The generation of the device token that was shown, where one was.
    pub generation: Option<i64>,
    /// Of the secret and mode in force, unless its own credential let it in.
    pub shared_tag: Option<u64>,
    /// Whether a device was proven; without one the scopes below are final.
    pub has_device: bool,
    /// What was asked for, unknown scopes left out; empty where the rules for callers without a
    /// device take them away.
    pub scopes: Scopes,
}

/// Whether the shared secret was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Right(AuthMethod),
    Wrong,
    Nothing,
}

impl Authority {
    /// Whether this is a process of the gateway's own user.
    pub fn is_own(&self, uid: Option<u32>) -> bool {
        uid == Some(self.peers.own())
    }

    /// Checks credential, device rules and proof, in that order of precedence:
    /// with a device a bad proof is told first, without one the credential.
    ///
    /// # Errors
    /// The [`Refusal`] that the client is to be told.
    pub fn sign_in(&self, attempt: Attempt<'_>) -> Result<SignedIn, Refusal> {
        // Borrowed: no second copy of what was shown is left in memory.
        let nothing = AuthParams::default();
        let auth = attempt.params.auth.as_ref().unwrap_or(&nothing);
        let asked = Scopes::from_wire(attempt.params.scopes.as_deref().unwrap_or_default());
        match &attempt.params.device {
            None => self.without_device(attempt, auth, asked),
            Some(device) => {
                proof::check(
                    attempt.params,
                    device,
                    proof::Against {
                        version: attempt.version,
                        nonce: attempt.nonce,
                        now: now_ms(),
                        payload_v1: self.payload_v1,
                        policy: &self.policy,
                    },
                )
                .map_err(Refusal::Proof)?;
                self.with_device(attempt, auth, asked)
            }
        }
    }

    fn without_device(
        &self,
        attempt: Attempt<'_>,
        auth: &AuthParams,
        asked: Scopes,
    ) -> Result<SignedIn, Refusal> {
        let client = &attempt.params.client;
        let kind = (client.id.as_str(), client.mode.as_str());
        let method = match self.shared_secret(attempt, auth)? {
            Shown::Right(method) => self.passed(attempt, method)?,
            Shown::Nothing if given(&auth.bootstrap_token).is_some() => {
                return Err(self.failed_code(attempt));
            }
            Shown::Nothing => return Err(Refusal::DeviceRequired),
            Shown::Wrong => {
                return Err(self.failed(attempt, self.mismatch(false)));
            }
        };
        if matches!(client.id.as_str(), "openclaw-tui" | "openclaw-control-ui") {
            return Err(Refusal::UiDeviceRequired);
        }
        let is_backend = kind == ("gateway-client", "backend");
        let is_node = attempt.role == Role::Node && self.policy.node_device;
        // Whom Tailscale names has shown no secret: without a device there is nothing to approve.
        let is_named_only = method == AuthMethod::Tailscale;
        if is_node || is_named_only || (method == AuthMethod::None && !is_backend) {
            return Err(Refusal::DeviceRequired);
        }
        // The v4 command line works without a device on the gateway's own host; everybody else
        // who shows no device gets in, but may do nothing.
        let keeps = !self.policy.deviceless_scopes
            || attempt.version == Protocol::V4
                && (is_backend || kind == ("cli", "cli"))
                && attempt.caller.is_local()
                && !attempt.caller.has_origin
                && self.is_own(attempt.uid);
        Ok(SignedIn {
            method,
            generation: None,
            shared_tag: Some(self.tag()),
            has_device: false,
            scopes: if keeps {
                self.silent.limit(&asked)
            } else {
                Scopes::default()
            },
        })
    }

    fn with_device(
        &self,
        attempt: Attempt<'_>,
        auth: &AuthParams,
        asked: Scopes,
    ) -> Result<SignedIn, Refusal> {
        let signed_in = |method, generation| SignedIn {
            method,
            generation,
            shared_tag: match method {
                AuthMethod::DeviceToken | AuthMethod::SetupCode => None,
                _ => Some(self.tag()),
            },
            has_device: true,
            scopes: asked.clone(),
        };
        let shown = match self.device_token(attempt, auth) {
            None => self.shared_secret(attempt, auth)?,
            // The proxy alone decides who comes in: a token of an earlier day is no way around it.
            Some(_) if self.mode == AuthMode::TrustedProxy => self.shared_secret(attempt, auth)?,
            Some((role, right)) => {
                // A good device token does not make guesses at the shared secret free.
                let candidates = self.candidates(attempt.version, auth);
                let guesses = candidates
                    .into_iter()
                    .any(|text| !is_same(&self.policy, &right, text));
                let shown = if guesses {
                    self.shared_secret(attempt, auth)
                } else {
                    Ok(Shown::Nothing)
                };
                if let Ok(Shown::Right(method)) = shown {
                    return Ok(signed_in(self.passed(attempt, method)?, None));
                }
                let method = self.passed(attempt, AuthMethod::DeviceToken)?;
                if shown == Ok(Shown::Wrong) && self.policy.count_every_guess {
                    self.throttle.failed(source(attempt), Instant::now());
                }
                if !Scopes::from_wire(&role.scopes).covers(&asked) {
                    return Err(Refusal::ScopeMismatch);
                }
                return Ok(signed_in(method, Some(role.token_generation)));
            }
        };
        // Somebody who is known without having shown anything, and has a setup code, wants what the code
        // gives; the owner has it already.
        let is_for_the_code = given(&auth.bootstrap_token).is_some()
            && given(&auth.device_token).is_none()
            && !self.is_owner(attempt);
        match shown {
            Shown::Right(AuthMethod::None | AuthMethod::Tailscale) if is_for_the_code => {}
            Shown::Right(method) => return Ok(signed_in(self.passed(attempt, method)?, None)),
            Shown::Nothing | Shown::Wrong => {}
        }
        if given(&auth.device_token).is_some() {
            let counted = self.policy.count_every_guess;
            return Err(if counted {
                self.failed(attempt, Refusal::DeviceTokenMismatch)
            } else {
                Refusal::DeviceTokenMismatch
            });
        }
        match shown {
            Shown::Wrong => {
                let sent_token = given(&auth.token).is_some();
                let refusal = self.mismatch(sent_token);
                Err(self.failed(attempt, refusal))
            }
            _ if given(&auth.bootstrap_token).is_some() => {
                if !self.is_owner(attempt) {
                    self.may_compare(attempt)?;
                }
                // The code itself is looked at where it is used up: in the store.
                Ok(signed_in(AuthMethod::SetupCode, None))
            }
            // Version 3 takes a token for the device's wherever it is not the shared one.
            _ if attempt.version == Protocol::V3 && given(&auth.token).is_some() => {
                Err(self.failed(attempt, Refusal::DeviceTokenMismatch))
            }
            _ if self.mode == AuthMode::Password => Err(Refusal::PasswordMissing),
            _ => Err(Refusal::TokenMissing),
        }
    }

    /// Looks at the shared secret, or at whoever vouches for the caller.
    fn shared_secret(&self, attempt: Attempt<'_>, auth: &AuthParams) -> Result<Shown, Refusal> {
        let method = match self.mode {
            AuthMode::None => return Ok(Shown::Right(AuthMethod::None)),
            AuthMode::TrustedProxy => {
                return match (&attempt.caller.identity, &attempt.caller.identity_fault) {
                    (Some(user), _) => Ok(Shown::Right(user.by)),
                    (None, Some(fault)) => Err(Refusal::Identity(fault.clone())),
                    (None, None) => Err(Refusal::Identity(IdentityFault::NotTheProxy)),
                };
            }
            AuthMode::Token => AuthMethod::Token,
            AuthMode::Password => AuthMethod::Password,
        };
        let candidates = self.candidates(attempt.version, auth);
        if candidates.is_empty() {
            // An identity counts only where no credential was tried.
            let user = attempt.caller.identity.as_ref();
            return Ok(user.map_or(Shown::Nothing, |user| Shown::Right(user.by)));
        }
        let is_counted = !self.is_owner(attempt);
        if is_counted {
            self.may_compare(attempt)?;
        }
        let is_right = candidates
            .iter()
            .any(|text| is_same(&self.policy, &self.secret, text));
        if is_right || !self.policy.credential {
            if is_counted {
                self.throttle.give_back();
            }
            return Ok(Shown::Right(method));
        }
        Ok(Shown::Wrong)
    }

    /// Somebody who could read the secret's file anyway. A web page in the owner's browser is not the
    /// owner.
    fn is_owner(&self, attempt: Attempt<'_>) -> bool {
        self.is_own(attempt.uid) && !attempt.caller.has_origin
    }

    /// Whether one more guess may be looked at: its source is free, and so is the budget of all.
    fn may_compare(&self, attempt: Attempt<'_>) -> Result<(), Refusal> {
        let now = Instant::now();
        if self.policy.lockout
            && let Some(remaining) = self.throttle.locked_for(source(attempt), now)
        {
            return Err(Refusal::RateLimited { remaining });
        }
        match self.throttle.take_guess(now) {
            Err(remaining) if self.policy.guess_budget => Err(Refusal::RateLimited { remaining }),
            _ => Ok(()),
        }
    }

    /// What may be meant as the shared secret. Version 3 looks only at the member of its mode;
    /// version 4 takes the secret from either.
    fn candidates<'a>(&self, version: Protocol, auth: &'a AuthParams) -> Vec<&'a str> {
        let (token, password) = (given(&auth.token), given(&auth.password));
        let members = match (self.mode, version) {
            (AuthMode::None | AuthMode::TrustedProxy, _) => [None, None],
            (_, Protocol::V4) => [token, password],
            (AuthMode::Token, Protocol::V3) => [token, None],
            (AuthMode::Password, Protocol::V3) => [password, None],
        };
        members.into_iter().flatten().collect()
    }

    /// The role whose device token was shown, in `auth.token` or `auth.deviceToken`, and the token.
    fn device_token<'a>(
        &self,
        attempt: Attempt<'a>,
        auth: &AuthParams,
    ) -> Option<(&'a DeviceRole, Secret)> {
        let device = attempt.known?;
        let shown = attempt.params.device.as_ref()?;
        // The id is the hash of the key, and the proof has bound both already.
        if device.device_id != shown.id {
            return None;
        }
        let role = device.roles.get(attempt.role.as_str())?;
        if role.revoked_at.is_some() {
            return None;
        }
        let right = self
            .tokens
            .token(&device.device_id, attempt.role, role.token_generation);
        [given(&auth.token), given(&auth.device_token)]
            .into_iter()
            .flatten()
            .any(|text| is_same(&self.policy, &right, text))
            .then_some((role, right))
    }

    fn mismatch(&self, try_device_token: bool) -> Refusal {
        match self.mode {
            AuthMode::Password => Refusal::PasswordMismatch,
            AuthMode::Token | AuthMode::None | AuthMode::TrustedProxy => {
                Refusal::TokenMismatch { try_device_token }
            }
        }
    }

    /// A right credential: passes, unless its source is locked and is not the owner.
    fn passed(&self, attempt: Attempt<'_>, method: AuthMethod) -> Result<AuthMethod, Refusal> {
        let source = source(attempt);
        if self.policy.lockout
            && !self.is_owner(attempt)
            && let Some(remaining) = self.throttle.locked_for(source, Instant::now())
        {
            return Err(Refusal::RateLimited { remaining });
        }
        // Who has a device token need not know the shared secret: its guesses stay counted.
        if method != AuthMethod::DeviceToken {
            self.throttle.succeeded(source);
        }
        Ok(method)
    }

    /// A wrong setup code without a device: counted like every guess.
    fn failed_code(&self, attempt: Attempt<'_>) -> Refusal {
        self.wrong_code(attempt, Refusal::BootstrapInvalid)
    }

    /// A setup code was no good: counted like every guess, but not where the store failed.
    pub(crate) fn wrong_code(&self, attempt: Attempt<'_>, refusal: Refusal) -> Refusal {
        if refusal == Refusal::Store || !self.policy.count_every_guess {
            return refusal;
        }
        self.failed(attempt, refusal)
    }

    /// A setup code was good.
    pub(crate) fn right_code(&self, attempt: Attempt<'_>) {
        if !self.is_owner(attempt) {
            self.throttle.give_back();
        }
    }

    /// Names mode, secret and, where the word of proxies is what counts, how often one was taken off the
    /// list, without telling them: connections that came in under another tag came in by what is void now.
    pub(crate) fn tag(&self) -> u64 {
        use sha2::{Digest as _, Sha256};
        let mut digest = Sha256::new()
            .chain_update(self.mode.as_str())
            .chain_update(b"|")
            .chain_update(self.secret.expose().as_bytes());
        if self.mode == AuthMode::TrustedProxy {
            digest.update(self.proxies_taken_off.to_le_bytes());
        }
        let digest = digest.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_le_bytes(first)
    }

    /// A wrong credential: counted, and told apart from one that came while locked.
    fn failed(&self, attempt: Attempt<'_>, refusal: Refusal) -> Refusal {
        let (source, now) = (source(attempt), Instant::now());
        if self.policy.lockout
            && let Some(remaining) = self.throttle.locked_for(source, now)
        {
            return Refusal::RateLimited { remaining };
        }
        self.throttle.failed(source, now);
        refusal
    }
}

fn source(attempt: Attempt<'_>) -> Source {
    Source::of(attempt.uid, attempt.caller.client)
}

/// A member that holds something; blank ones count as absent.
fn given(member: &Option<String>) -> Option<&str> {
    member.as_deref().filter(|text| !text.trim().is_empty())
}
