//! Where config, state, keys and sockets live; nothing else builds such a path.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is read from the environment, once and in one place, so that tests can bring their own.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Variables.
    pub vars: BTreeMap<String, String>,
    /// The home directory.
    pub home: PathBuf,
    /// The platform's directory for configuration.
    pub config_dir: PathBuf,
    /// The platform's directory for state.
    pub state_dir: PathBuf,
    /// The platform's directory for sockets, where it has one.
    pub runtime_dir: Option<PathBuf>,
}

/// This user has no home directory, and nothing can be found or kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this user has no home directory; set HOME")]
pub struct NoHome;

impl Environment {
    /// The environment of this process. Variables that are not Unicode are left out.
    ///
    /// # Errors
    /// [`NoHome`].
    pub fn of_process() -> Result<Self, NoHome> {
        let dirs = directories::BaseDirs::new().ok_or(NoHome)?;
        let state = dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir());
        Ok(Self {
            vars: std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
            home: dirs.home_dir().to_owned(),
            config_dir: dirs.config_dir().to_owned(),
            state_dir: state.to_owned(),
            runtime_dir: dirs.runtime_dir().map(Path::to_owned),
        })
    }

    /// An environment of its own below one directory, with no variables.
    pub fn below(home: &Path) -> Self {
        Self {
            vars: BTreeMap::new(),
            home: home.to_owned(),
            config_dir: home.join(".config"),
            state_dir: home.join(".local/state"),
            runtime_dir: None,
        }
    }

    /// Sets a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A variable, when it is set to something.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.trim().is_empty())
    }

    /// A path with a leading `~/` made absolute.
    pub fn expand(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None if path == "~" => self.home.clone(),
            None => PathBuf::from(path),
        }
    }
}

/// The name of a profile: `[a-z0-9][a-z0-9_-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile(String);

/// A name that is no profile's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no profile name; use up to 64 lower-case letters, digits, '-' and '_'")]
pub struct BadProfile(String);

impl std::str::FromStr for Profile {
    type Err = BadProfile;

    fn from_str(name: &str) -> Result<Self, BadProfile> {
        let good = name.len() <= 64
            && name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
            && !name.starts_with(['-', '_'])
            && !name.is_empty();
        if good {
            Ok(Self(name.to_owned()))
        } else {
            Err(BadProfile(crate::layer::printable(name, 80)))
        }
    }
}

impl Profile {
    /// The profile of `--dev`.
    pub fn dev() -> Self {
        Self("dev".into())
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// Every path of both programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    config: PathBuf,
    state: PathBuf,
    gateway_state: PathBuf,
    home: PathBuf,
    runtime: PathBuf,
    openclaw_config: PathBuf,
    suffix: String,
}

impl Paths {
    /// The paths of an environment and a profile.
    pub fn new(env: &Environment, profile: Option<&Profile>) -> Self {
        let suffix = profile.map_or(String::new(), |profile| format!("-{}", profile.name()));
        let base = env
            .var("CLAWLINE_STATE_DIR")
            .map_or_else(|| env.state_dir.clone(), |dir| env.expand(dir));
        let state = base.join(format!("clawline{suffix}"));
        let openclaw_state = env
            .var("OPENCLAW_STATE_DIR")
            .map_or_else(|| env.home.join(".openclaw"), |dir| env.expand(dir));
        Self {
            config: env
                .config_dir
                .join(format!("clawline/clawline{suffix}.json5")),
            gateway_state: base.join(format!("clawline-gateway{suffix}")),
            runtime: env
                .runtime_dir
                .as_ref()
                .map_or_else(|| state.join("run"), |dir| dir.join("clawline")),
            home: env.home.clone(),
            openclaw_config: env
                .var("OPENCLAW_CONFIG_PATH")
                .map_or_else(|| openclaw_state.join("openclaw.json"), |p| env.expand(p)),
            state,
            suffix,
        }
    }

    /// Our config file, when nobody named another.
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// OpenClaw's config file; read, never written.
    pub fn openclaw_config(&self) -> &Path {
        &self.openclaw_config
    }

    /// `~/.clawline/gateway.json`: where a running daemon says how to reach it.
    pub fn gateway_notice(&self) -> PathBuf {
        self.home.join(".clawline/gateway.json")
    }

    /// The notice of this profile's daemon: the same file where there is no profile, else one beside it,
    /// which no other daemon writes.
    pub fn own_gateway_notice(&self) -> PathBuf {
        self.home
            .join(format!(".clawline/gateway{}.json", self.suffix))
    }

    /// The laptop's state.
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    /// The laptop's device key.
    pub fn device_key(&self) -> PathBuf {
        self.state.join("identity/device.json")
    }

    /// What the laptop keeps for one gateway.
    pub fn gateway_dir(&self, gateway_id: &str) -> PathBuf {
        self.state.join("gateways").join(gateway_id)
    }

    /// Device tokens of one gateway.
    pub fn device_tokens(&self, gateway_id: &str) -> PathBuf {
        self.gateway_dir(gateway_id).join("tokens.json")
    }

    /// Device tokens that one gateway gave to this machine's node.
    pub fn node_tokens(&self, gateway_id: &str) -> PathBuf {
        self.gateway_dir(gateway_id).join("node-tokens.json")
    }

    /// What this machine's node keeps: which commands may run, and who holds it.
    pub fn node_dir(&self) -> PathBuf {
        self.state.join("node")
    }

    /// The node's device key.
    pub fn node_key(&self) -> PathBuf {
        self.state.join("identity/node.json")
    }

    /// Messages that wait for one gateway.
    pub fn outbox(&self, gateway_id: &str) -> PathBuf {
        self.gateway_dir(gateway_id).join("outbox.db")
    }

    /// Unsent drafts of one gateway's sessions.
    pub fn drafts(&self, gateway_id: &str) -> PathBuf {
        self.gateway_dir(gateway_id).join("drafts")
    }

    /// The far end at which a gateway was last found behind an SSH login; the name is that of the login
    /// alone. It lets an offline start open the right drafts.
    pub fn last_far_end(&self, login_id: &str) -> PathBuf {
        self.state.join("found").join(login_id)
    }

    /// The app's log file.
    pub fn log_file(&self) -> PathBuf {
        self.state.join("logs/clawline.log")
    }

    /// Status sockets.
    pub fn runtime_dir(&self) -> &Path {
        &self.runtime
    }

    /// The daemon's state directory.
    pub fn gateway_state_dir(&self) -> &Path {
        &self.gateway_state
    }

    /// The daemon's store.
    pub fn gateway_database(&self) -> PathBuf {
        self.gateway_state.join("gateway.db")
    }

    /// The daemon's generated token.
    pub fn gateway_token(&self) -> PathBuf {
        self.gateway_state.join("token")
    }

    /// The daemon's certificates.
    pub fn gateway_tls_dir(&self) -> PathBuf {
        self.gateway_state.join("tls")
    }

    /// The daemon's log.
    pub fn gateway_log(&self) -> PathBuf {
        self.gateway_state.join("logs/gateway.jsonl")
    }

    /// Held by the running daemon.
    pub fn gateway_lock(&self) -> PathBuf {
        self.gateway_state.join("lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_the_environment_and_the_profile() {
        let env = Environment::below(Path::new("/home/me"));
        let plain = Paths::new(&env, None);
        assert_eq!(
            plain.config_file(),
            Path::new("/home/me/.config/clawline/clawline.json5")
        );
        assert_eq!(
            plain.device_tokens("ab12"),
            Path::new("/home/me/.local/state/clawline/gateways/ab12/tokens.json")
        );
        assert_eq!(
            plain.openclaw_config(),
            Path::new("/home/me/.openclaw/openclaw.json")
        );
        let moved = env
            .with("CLAWLINE_STATE_DIR", "~/s")
            .with("OPENCLAW_STATE_DIR", "/srv/oc");
        let dev = Paths::new(&moved, Some(&Profile::dev()));
        assert_eq!(dev.state_dir(), Path::new("/home/me/s/clawline-dev"));
        assert_eq!(
            dev.gateway_lock(),
            Path::new("/home/me/s/clawline-gateway-dev/lock")
        );
        assert_eq!(dev.openclaw_config(), Path::new("/srv/oc/openclaw.json"));
        assert_eq!(
            dev.own_gateway_notice(),
            Path::new("/home/me/.clawline/gateway-dev.json")
        );
        assert_eq!(plain.own_gateway_notice(), plain.gateway_notice());
        assert_eq!(
            dev.gateway_notice(),
            Path::new("/home/me/.clawline/gateway.json")
        );
    }

    #[test]
    fn a_profile_cannot_leave_its_directory() {
        for bad in ["", "../x", "a/b", "-x", "A", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Profile>().is_err(), "{bad}");
        }
        assert!("work-2".parse::<Profile>().is_ok());
    }
}
