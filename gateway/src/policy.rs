//! The checks that an attack must not get past, each with a switch that exists for tests alone.
//!
//! A test of an attack runs it twice: against the gateway as it ships, which refuses, and against one
//! that leaves the one check out, where the attack succeeds. So it is the check that refuses, and the
//! test can fail. Nothing but [`Policy::leaving_out`] makes anything else than all checks, and neither
//! configuration nor environment nor a cargo feature reaches it.

/// Which checks are made: all of them, outside tests.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Only our own names may stand in `Host`.
    pub host_name: bool,
    /// Web pages that are not ours are refused.
    pub web_origin: bool,
    /// Who forwards for others has to be a trusted proxy.
    pub proxy_headers: bool,
    /// Tailscale is asked whether a user is who the headers say.
    pub tailscale_whois: bool,
    /// The first request is `connect`.
    pub first_is_connect: bool,
    /// The shared secret, or a device token, is compared.
    pub credential: bool,
    /// Callers without a device may do nothing, but for the owner's own tools.
    pub deviceless_scopes: bool,
    /// A node shows a device.
    pub node_device: bool,
    /// Calls need their scope.
    pub call_scope: bool,
    /// Of the hops that proxies name, the rightmost untrusted one is the client.
    pub rightmost_hop: bool,
    /// A proxy on this machine shows its secret or its user id.
    pub proxy_proves_itself: bool,
    /// Wrong device tokens and setup codes count like wrong shared secrets.
    pub count_every_guess: bool,
    /// All sources share one budget of guesses.
    pub guess_budget: bool,
    /// Blank, copied and short secrets are refused at the start.
    pub weak_secret: bool,
    /// A locked source is refused.
    pub lockout: bool,
    /// The device id is the hash of the key.
    pub device_id: bool,
    /// The challenge of this very connection was signed.
    pub nonce: bool,
    /// The signature is fresh.
    pub signature_age: bool,
    /// The signature is the key's.
    pub signature: bool,
    /// Silent pairing is for the gateway's own user, without `Origin` and proxy.
    pub silent_for_owner: bool,
    /// Platform and family stay as they were approved.
    pub metadata_pin: bool,
    /// A device manages itself only.
    pub own_device_only: bool,
    /// Nobody grants more than it has.
    pub grant_within_own: bool,
    /// Only so many devices may wait for an approval.
    pub pending_cap: bool,
    /// What a client says about itself is cleaned before others see it.
    pub clean_names: bool,
    /// A setup code is good once, and for ten minutes.
    pub code_once: bool,
    /// A revoked role stays so until it is approved again.
    pub revoked_stays: bool,
    /// Connections end when their credential is void.
    pub close_voided: bool,
    /// A node's commands need an approval of their own.
    pub node_approval: bool,
    /// A node tells only of runs that its connection was asked for.
    pub issued_runs: bool,
    /// A node's own policy is reached through its own methods only.
    pub node_policy: bool,
    /// The parameters of `system.run` are checked and reduced.
    pub run_params: bool,
    /// That a run is approved needs an approval of this very run, unused.
    pub run_approval: bool,
    /// What hides text is made visible to whoever approves.
    pub visible_commands: bool,
    /// A command that cannot be shown whole is not asked about.
    pub whole_commands: bool,
    /// An approval is there only for those who may see it.
    pub approval_privacy: bool,
    /// A head that two readers could read in two ways is refused.
    pub strict_heads: bool,
    /// So is such a path.
    pub plain_paths: bool,
    /// A message has so many fragments and no more.
    pub fragment_cap: bool,
    /// Pings have a budget.
    pub ping_budget: bool,
    /// So have calls and frames that are refused.
    pub fault_budget: bool,
    /// The id of a call is short, and no other call with it is under way.
    pub call_ids: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            host_name: true,
            web_origin: true,
            proxy_headers: true,
            tailscale_whois: true,
            first_is_connect: true,
            credential: true,
            deviceless_scopes: true,
            node_device: true,
            call_scope: true,
            rightmost_hop: true,
            proxy_proves_itself: true,
            count_every_guess: true,
            guess_budget: true,
            weak_secret: true,
            lockout: true,
            device_id: true,
            nonce: true,
            signature_age: true,
            signature: true,
            silent_for_owner: true,
            metadata_pin: true,
            own_device_only: true,
            grant_within_own: true,
            pending_cap: true,
            clean_names: true,
            code_once: true,
            revoked_stays: true,
            close_voided: true,
            node_approval: true,
            issued_runs: true,
            node_policy: true,
            run_params: true,
            run_approval: true,
            visible_commands: true,
            whole_commands: true,
            approval_privacy: true,
            strict_heads: true,
            plain_paths: true,
            fragment_cap: true,
            ping_budget: true,
            fault_budget: true,
            call_ids: true,
        }
    }
}

impl Policy {
    /// All checks but those that `leave` sets to false. For tests.
    #[doc(hidden)]
    pub fn leaving_out(leave: impl FnOnce(&mut Self)) -> Self {
        let mut policy = Self::default();
        leave(&mut policy);
        policy
    }
}
