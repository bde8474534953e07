//! The daemon's notice to its user's clients, here and through SSH: there while it runs, and never
//! in the place of another running daemon's.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clawline::notice::GatewayNotice;
use clawline::owner_file;
use clawline::secret::Secret;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::settings::{AuthMode, GatewaySettings};

/// How long another daemon's port, on this machine, may take to answer.
const PROBE_DEADLINE: Duration = Duration::from_millis(300);

/// The published notice; dropping it takes it back, unless another daemon has replaced it.
#[derive(Debug)]
pub(crate) struct Advert {
    path: PathBuf,
    notice: GatewayNotice,
}

impl Advert {
    /// Publishes how to reach the daemon. `None` when the settings want none, when it cannot be
    /// written, or when a running daemon of another profile stands there already.
    pub(crate) fn publish(settings: &GatewaySettings, port: u16) -> Option<Self> {
        let path = settings.advert.clone()?;
        let notice = notice(settings, port);
        if let Some(other) = read(&path).filter(|other| is_anothers(other, &notice)) {
            let profile = other.profile.as_deref().unwrap_or("default");
            tracing::warn!(path = %path.display(), profile, pid = other.pid, "clients find the gateway of another profile first; give them this one's address and token");
            return None;
        }
        if let Err(error) = owner_file::replace(&path, &Secret::new(notice.to_text())) {
            tracing::warn!(path = %path.display(), %error, "clients cannot be told how to reach this gateway");
            return None;
        }
        Some(Self { path, notice })
    }
}

impl Drop for Advert {
    fn drop(&mut self) {
        if read(&self.path).as_ref() == Some(&self.notice) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn notice(settings: &GatewaySettings, port: u16) -> GatewayNotice {
    let auth = &settings.auth;
    let has_token_file = auth.mode == AuthMode::Token
        && (auth.token.is_none() || settings.token_file_given.is_some());
    let token_file = has_token_file.then(|| {
        let path = settings.token_file();
        // Its readers stand in other directories.
        std::path::absolute(&path).unwrap_or(path)
    });
    GatewayNotice {
        version: 1,
        profile: settings.profile.clone(),
        pid: std::process::id(),
        port,
        token_file,
        tls: false,
    }
}

fn read(path: &Path) -> Option<GatewayNotice> {
    let text = std::fs::read_to_string(path).ok()?;
    GatewayNotice::parse(&text).ok()
}

/// Whether the notice is that of a running daemon of another profile. One of our own profile cannot
/// run beside us; and a process alone is no daemon, because its number may have been given again.
fn is_anothers(other: &GatewayNotice, ours: &GatewayNotice) -> bool {
    let is_alive = || {
        let pid = i32::try_from(other.pid).unwrap_or_default();
        pid > 0 && kill(Pid::from_raw(pid), None).is_ok()
    };
    let answers = || {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, other.port));
        TcpStream::connect_timeout(&address, PROBE_DEADLINE).is_ok()
    };
    other.profile != ours.profile && other.port != ours.port && is_alive() && answers()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn settings(home: &Path, profile: Option<&str>) -> GatewaySettings {
        let mut settings = GatewaySettings::new(home.join("state"));
        settings.profile = profile.map(str::to_owned);
        settings.advert = Some(home.join(".clawline/gateway.json"));
        settings
    }

    #[test]
    fn a_running_daemon_of_another_profile_keeps_its_notice() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".clawline/gateway.json");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let main = Advert::publish(&settings(home.path(), None), port).unwrap();
        let dev = settings(home.path(), Some("dev"));
        assert!(Advert::publish(&dev, 1).is_none());
        assert_eq!(read(&path).unwrap().port, port);
        drop(main);
        assert!(!path.exists());
        assert!(Advert::publish(&dev, 1).is_some());
    }

    #[test]
    fn a_stale_notice_is_replaced_and_the_old_daemon_does_not_take_the_new_one_away() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".clawline/gateway.json");
        // Nothing listens there any more, though the process lives.
        let old = Advert::publish(&settings(home.path(), None), 1).unwrap();
        let new = Advert::publish(&settings(home.path(), Some("dev")), 2).unwrap();
        drop(old);
        assert_eq!(read(&path).unwrap().profile.as_deref(), Some("dev"));
        drop(new);
        assert!(!path.exists());
    }

    #[test]
    fn the_token_file_is_absolute() {
        let mut settings = GatewaySettings::new("state");
        assert!(notice(&settings, 1).token_file.unwrap().is_absolute());
        settings.token_file_given = Some("t".into());
        let given = notice(&settings, 1).token_file.unwrap();
        assert!(given.is_absolute() && given.ends_with("t"), "{given:?}");
    }
}
