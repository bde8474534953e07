//! The daemon's notice to its user's clients, here and through SSH: there while it runs, and never
//! in the place of another running daemon's. Of two daemons the one that stays looks at the place of
//! the one that went when its configuration is next read, not before.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use clawline::client::Fingerprint;
use clawline::notice::GatewayNotice;
use clawline::owner_file;
use clawline::secret::Secret;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::settings::{AuthMode, GatewaySettings};

/// How long another daemon's port, on this machine, may take to answer.
const PROBE_DEADLINE: Duration = Duration::from_millis(300);

/// The published notices; dropping them takes them back, unless another daemon has replaced them.
#[derive(Debug)]
pub(crate) struct Advert {
    paths: Vec<PathBuf>,
    notice: GatewayNotice,
}

impl Advert {
    /// Publishes how to reach the daemon: in the file of its profile, and in the one that clients read
    /// first, where no running daemon of another profile stands there already. A file that says so
    /// already is left alone, another one is replaced in one step: no client finds none meanwhile.
    /// `before` is what was published until now. `None` when the settings want none.
    ///
    /// Reads files and may ask a port: not for an async task.
    pub(crate) fn renew(
        before: Option<Self>,
        settings: &GatewaySettings,
        port: u16,
        tls: Option<Fingerprint>,
    ) -> Option<Self> {
        let common = settings.advert.clone()?;
        let notice = notice(settings, port, tls);
        let mut paths = Vec::new();
        if let Some(profile) = &settings.profile {
            paths.push(common.with_file_name(format!("gateway-{profile}.json")));
        }
        match GatewayNotice::read(&common).filter(|other| is_anothers(other, &notice)) {
            Some(other) => {
                let profile = other.profile.as_deref().unwrap_or("default");
                tracing::info!(path = %common.display(), profile, pid = other.pid, "clients that are told no --profile find the gateway of another one first");
            }
            None => paths.push(common),
        }
        paths.retain(|path| {
            if GatewayNotice::read(path).as_ref() == Some(&notice) {
                return true;
            }
            let written = owner_file::replace(path, &Secret::new(notice.to_text()));
            if let Err(error) = &written {
                tracing::warn!(path = %path.display(), %error, "clients cannot be told how to reach this gateway");
            }
            written.is_ok()
        });
        if let Some(mut before) = before {
            before.paths.retain(|path| !paths.contains(path));
        }
        Some(Self { paths, notice })
    }
}

impl Drop for Advert {
    fn drop(&mut self) {
        for path in &self.paths {
            if GatewayNotice::read(path).as_ref() == Some(&self.notice) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

fn notice(settings: &GatewaySettings, port: u16, tls: Option<Fingerprint>) -> GatewayNotice {
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
        tls: tls.is_some(),
        tls_fingerprint: tls.map(|fingerprint| fingerprint.to_string()),
    }
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
    use std::path::Path;

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
        let main = Advert::renew(None, &settings(home.path(), None), port, None).unwrap();
        let dev = settings(home.path(), Some("dev"));
        let own = home.path().join(".clawline/gateway-dev.json");
        let beside = Advert::renew(None, &dev, 1, None).unwrap();
        assert_eq!(GatewayNotice::read(&path).unwrap().port, port);
        assert_eq!(GatewayNotice::read(&own).unwrap().port, 1);
        drop(beside);
        assert!(!own.exists());
        drop(main);
        assert!(!path.exists());
        let alone = Advert::renew(None, &dev, 1, None).unwrap();
        assert_eq!(GatewayNotice::read(&path), GatewayNotice::read(&own));
        drop(alone);
        assert!(!path.exists() && !own.exists());
    }

    #[test]
    fn a_stale_notice_is_replaced_and_the_old_daemon_does_not_take_the_new_one_away() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".clawline/gateway.json");
        // Nothing listens there any more, though the process lives.
        let old = Advert::renew(None, &settings(home.path(), None), 1, None).unwrap();
        let new = Advert::renew(None, &settings(home.path(), Some("dev")), 2, None).unwrap();
        drop(old);
        assert_eq!(
            GatewayNotice::read(&path).unwrap().profile.as_deref(),
            Some("dev")
        );
        drop(new);
        assert!(!path.exists());
    }

    #[test]
    fn a_notice_is_replaced_when_it_says_something_else_and_is_there_all_the_time() {
        use std::os::unix::fs::MetadataExt as _;
        let home = tempfile::tempdir().unwrap();
        let mut settings = settings(home.path(), None);
        let path = settings.advert.clone().unwrap();
        let inode = || std::fs::metadata(&path).unwrap().ino();
        let first = Advert::renew(None, &settings, 1, None);
        let was = inode();
        let second = Advert::renew(first, &settings, 1, None);
        assert_eq!(inode(), was, "it says the same");
        settings.token_file_given = Some("/elsewhere".into());
        let third = Advert::renew(second, &settings, 1, None);
        let token_file = GatewayNotice::read(&path).unwrap().token_file.unwrap();
        assert_eq!(token_file, Path::new("/elsewhere"));
        settings.advert = None;
        assert!(Advert::renew(third, &settings, 1, None).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn the_place_of_a_daemon_that_went_is_taken_at_the_next_look() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".clawline/gateway.json");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let main = Advert::renew(None, &settings(home.path(), None), port, None);
        let dev = settings(home.path(), Some("dev"));
        let beside = Advert::renew(None, &dev, 1, None);
        drop((main, listener));
        assert!(!path.exists());
        let beside = Advert::renew(beside, &dev, 1, None);
        assert_eq!(GatewayNotice::read(&path).unwrap().port, 1);
        drop(beside);
        assert!(!path.exists());
    }

    #[test]
    fn the_token_file_is_absolute() {
        let mut settings = GatewaySettings::new("state");
        assert!(notice(&settings, 1, None).token_file.unwrap().is_absolute());
        settings.token_file_given = Some("t".into());
        let given = notice(&settings, 1, None).token_file.unwrap();
        assert!(given.is_absolute() && given.ends_with("t"), "{given:?}");
    }
}
