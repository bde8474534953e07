//! The checks that an attack must not get past, each with a switch that exists for tests alone.
//!
//! A test of an attack runs it twice: against the gateway as it ships, which refuses, and against one
//! that leaves the one check out, where the attack succeeds. So it is the check that refuses, and the
//! test can fail. Nothing but [`Policy::leaving_out`] makes anything else than all checks, and neither
//! configuration nor environment nor a cargo feature reaches it. Nor does any of them reach
//! [`Policy::patience`], which lets tests of other things than deadlines keep them on a slow machine.

use std::sync::Arc;
use std::time::Duration;

use clawline::protocol::limits::MAX_VALUES;

use crate::auth::Compares;

/// In the place of a deadline that is left out.
const NO_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// Declares [`Policy`]: each check once, and all of them made unless a test leaves one out.
macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Which checks are made: all of them, outside tests.
        #[derive(Debug, Clone)]
        pub struct Policy {
            $($(#[$doc])* pub $name: bool,)*
            /// How secrets were compared under this policy.
            pub compares: Arc<Compares>,
            /// How many times as long as its deadline something may take: once, outside tests.
            pub patience: u32,
        }

        impl Default for Policy {
            fn default() -> Self {
                Self {
                    $($name: true,)*
                    compares: Arc::default(),
                    patience: 1,
                }
            }
        }
    };
}

checks! {
    /// Only our own names may stand in `Host`.
    host_name,
    /// Web pages that are not ours are refused.
    web_origin,
    /// Who forwards for others has to be a trusted proxy.
    proxy_headers,
    /// Tailscale is asked whether a user is who the headers say.
    tailscale_whois,
    /// The first request is `connect`.
    first_is_connect,
    /// The shared secret, or a device token, is compared.
    credential,
    /// Callers without a device may do nothing, but for the owner's own tools.
    deviceless_scopes,
    /// A node shows a device.
    node_device,
    /// Calls need their scope.
    call_scope,
    /// Of the hops that proxies name, the rightmost untrusted one is the client.
    rightmost_hop,
    /// A proxy on this machine shows its secret or its user id.
    proxy_proves_itself,
    /// Wrong device tokens and setup codes count like wrong shared secrets.
    count_every_guess,
    /// All sources share one budget of guesses.
    guess_budget,
    /// Blank, copied and short secrets are refused at the start.
    weak_secret,
    /// A locked source is refused.
    lockout,
    /// The device id is the hash of the key.
    device_id,
    /// The challenge of this very connection was signed.
    nonce,
    /// The signature is fresh.
    signature_age,
    /// The signature is the key's.
    signature,
    /// Silent pairing is for the gateway's own user, without `Origin` and proxy.
    silent_for_owner,
    /// Platform and family stay as they were approved.
    metadata_pin,
    /// A device manages itself only.
    own_device_only,
    /// Nobody grants more than it has.
    grant_within_own,
    /// A device that is no admin lets itself into no new role, and not with a changed platform.
    own_upgrade,
    /// Only so many devices may wait for an approval.
    pending_cap,
    /// What a client says about itself is cleaned before others see it.
    clean_names,
    /// A setup code is good once, and for ten minutes.
    code_once,
    /// A revoked role stays so until it is approved again.
    revoked_stays,
    /// Connections end when their credential is void.
    close_voided,
    /// A node's commands need an approval of their own.
    node_approval,
    /// A node tells only of runs that its connection was asked for.
    issued_runs,
    /// Of what a node says of its state, a slow reader is kept the newest alone.
    newest_of_node,
    /// A node's own policy is reached through its own methods only.
    node_policy,
    /// The parameters of `system.run` are checked and reduced.
    run_params,
    /// That a run is approved needs an approval of this very run, unused.
    run_approval,
    /// What hides text is made visible to whoever approves.
    visible_commands,
    /// A command that cannot be shown whole is not asked about.
    whole_commands,
    /// What version 3 has no member for is shown to it in the command.
    whole_in_v3,
    /// An approval is there only for those who may see it.
    approval_privacy,
    /// A change of the configuration sends no secret that it keeps elsewhere.
    secrets_stay,
    /// Connections that may do nothing have few places.
    few_guests,
    /// Long messages are read only of connections that may do something.
    long_words,
    /// Incomplete messages of all connections share one room, and have to end.
    message_room,
    /// A head that two readers could read in two ways is refused.
    strict_heads,
    /// So is such a path.
    plain_paths,
    /// A message has so many fragments and no more.
    fragment_cap,
    /// Pings have a budget.
    ping_budget,
    /// So have calls and frames that are refused.
    fault_budget,
    /// The id of a call is short, and no other call with it is under way.
    call_ids,
    /// Where on this machine things are, and how it is called, is for admins.
    private_machine,
    /// A name that no scope has gives nothing.
    known_scopes,
    /// Secrets are compared in a time that tells nothing about them.
    constant_time,
    /// Over HTTP a secret counts in its header alone, wherever else it stands.
    secret_in_header,
    /// What a client sends is written into the log without its secrets.
    masked_log,
    /// Who is on this machine is what the socket says, whatever the request claims.
    socket_locality,
    /// Nothing but loopback is opened without a secret.
    secret_beyond_loopback,
    /// What Tailscale publishes asks for a secret, and Funnel for a password.
    safe_publishing,
    /// On the private listener the kernel says that it is Tailscale who connects.
    tailscale_peer,
    /// Sockets before hello have so many places, and one remote address a part of them.
    places,
    /// A head is so long, and has so many headers, and no more.
    head_limits,
    /// Whoever is behind a trusted proxy has places of its own.
    places_behind_proxy,
    /// From the accept to head, first frame and hello there is so much time and no more.
    deadlines,
    /// What a call holds is looked at once its caller may make it.
    unread_params,
    /// A frame holds so many values and no more.
    value_cap,
    /// A message is so long and no longer.
    message_limits,
    /// What a client sends is masked, as RFC 6455 wants it.
    masked_frames,
    /// A request is answered from its head; its body is not waited for.
    body_unread,
    /// Writes of the configuration have a budget.
    write_budget,
    /// A configuration with which the daemon would not start is not written.
    startable_config,
    /// Nobody overwrites a configuration that it has not seen.
    seen_config,
    /// A configuration is shown without its secrets.
    redacted_config,
    /// A redacted value that is sent back means the secret that stands there.
    kept_secrets,
    /// OpenClaw's own files are never written.
    foreign_config,
    /// What was undecided or unused when the gateway stopped is denied.
    denied_by_restart,
    /// What a command in a chat does needs the scope of the method that does the same.
    slash_scope,
}

impl Policy {
    /// How long something before hello may take that has this deadline.
    pub(crate) fn time(&self, deadline: Duration) -> Duration {
        if self.deadlines {
            self.patiently(deadline)
        } else {
            NO_DEADLINE
        }
    }

    /// How long something else may take that has this deadline.
    pub(crate) fn patiently(&self, deadline: Duration) -> Duration {
        deadline.saturating_mul(self.patience)
    }

    /// How many JSON values a frame may hold.
    pub(crate) fn max_values(&self) -> usize {
        if self.value_cap {
            MAX_VALUES
        } else {
            usize::MAX
        }
    }

    /// All checks but those that `leave` sets to false. For tests.
    #[doc(hidden)]
    pub fn leaving_out(leave: impl FnOnce(&mut Self)) -> Self {
        let mut policy = Self::default();
        leave(&mut policy);
        policy
    }
}
