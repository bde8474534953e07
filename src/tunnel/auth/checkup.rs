//! What a sign-in will meet on this machine, looked at without connecting: agent, known hosts, key
//! files, certificates.

use std::time::SystemTime;

use crate::tunnel::host_key::KnownHosts;
use crate::tunnel::spec::{AgentChoice, HopSpec};

use super::candidates::{self, Files};
use super::key_file::KeyFile;
use super::{agent, certificate, shown};

/// How a thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Good,
    /// Worth knowing, stops nothing.
    Note,
    /// A person has to do something.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is: `agent`, `known_hosts`, `key`, `certificate`.
    pub subject: &'static str,
    /// How it was found.
    pub health: Health,
    /// One plain sentence.
    pub what: String,
    /// What to do about it; empty when nothing.
    pub next: String,
}

impl Finding {
    /// A finding with nothing to do about it.
    pub fn new(subject: &'static str, health: Health, what: impl Into<String>) -> Self {
        Self {
            subject,
            health,
            what: what.into(),
            next: String::new(),
        }
    }

    /// Adds the next step.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }
}

/// Looks at everything that a hop names. Reads files and asks the agent for its list; unlocks nothing.
pub async fn check_up(hop: &HopSpec) -> Vec<Finding> {
    let (agent, agent_keys) = of_agent(hop).await;
    let mut findings = vec![agent];
    let named = hop.clone();
    let files = tokio::task::spawn_blocking(move || {
        (
            of_known_hosts(&named),
            of_files(&named, candidates::read_files(&named), SystemTime::now()),
        )
    })
    .await;
    match files {
        Ok((known, files)) => {
            findings.extend(known);
            let has_keys = files.iter().any(|finding| finding.health == Health::Good);
            findings.extend(files);
            if !has_keys && agent_keys == 0 {
                let what = "there is no key to sign in with; only a password can";
                findings.push(
                    Finding::new("key", Health::Note, what)
                        .next("make one with ssh-keygen -t ed25519"),
                );
            }
        }
        Err(error) => findings.push(Finding::new("key", Health::Bad, error.to_string())),
    }
    findings
}

async fn of_agent(hop: &HopSpec) -> (Finding, usize) {
    let finding = |health, what: String| Finding::new("agent", health, what);
    match agent::open(&hop.agent, None).await {
        Ok(None) if hop.agent == AgentChoice::Off => (
            finding(Health::Good, "switched off by IdentityAgent none".into()),
            0,
        ),
        Ok(None) => (
            finding(
                Health::Note,
                "no agent is running (SSH_AUTH_SOCK is not set)".into(),
            ),
            0,
        ),
        Ok(Some(agent)) => {
            let keys = agent.identities.len();
            let what = match keys {
                0 => "it answers and holds no key".to_owned(),
                1 => "it answers and holds 1 key".to_owned(),
                _ => format!("it answers and holds {keys} keys"),
            };
            (finding(Health::Good, what), keys)
        }
        Err(what) => (
            finding(Health::Bad, what)
                .next("start the agent, or switch it off: IdentityAgent none"),
            0,
        ),
    }
}

fn of_known_hosts(hop: &HopSpec) -> Vec<Finding> {
    let files = &hop.known_hosts;
    let known = match KnownHosts::load(files) {
        Ok(known) => known,
        Err(error) => {
            let refusal = error.refusal();
            return vec![Finding::new("known_hosts", Health::Bad, refusal.what).next(refusal.next)];
        }
    };
    let there: Vec<String> = files
        .user
        .iter()
        .chain(&files.global)
        .chain(&files.revoked)
        .filter(|file| file.exists())
        .map(|file| shown(file))
        .collect();
    let what = if there.is_empty() {
        "no host is known yet".to_owned()
    } else {
        format!("readable: {}", there.join(", "))
    };
    let mut findings = vec![Finding::new("known_hosts", Health::Good, what)];
    let notices = known.notices().iter();
    findings.extend(notices.map(|notice| Finding::new("known_hosts", Health::Note, notice)));
    findings
}

fn of_files(hop: &HopSpec, files: Files, now: SystemTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, _, key) in files.keys {
        let what = match key {
            KeyFile::Private(key) => format!("{} ({})", shown(&path), key.algorithm()),
            KeyFile::Public(key) => format!(
                "{} ({}, its private half is left to the agent)",
                shown(&path),
                key.algorithm()
            ),
            KeyFile::Hidden => format!("{} (encrypted)", shown(&path)),
        };
        findings.push(Finding::new("key", Health::Good, what));
    }
    for (path, certificate) in files.certificates {
        let name = shown(&path);
        let verdict = certificate::check(&certificate, &name, now);
        let others = certificate::other_names(&certificate, &hop.user);
        findings.push(match (verdict, others) {
            (Err(what), _) => Finding::new("certificate", Health::Bad, what)
                .next("ask whoever signed it for a new one"),
            (Ok(()), Some(others)) => {
                let what = format!("{name} names {others}, not {}", hop.user);
                Finding::new("certificate", Health::Note, what)
            }
            (Ok(()), None) => Finding::new("certificate", Health::Good, format!("{name} is valid")),
        });
    }
    for note in files.notes {
        let next = "correct the file, or take it out of your ssh_config";
        findings.push(Finding::new("key", Health::Bad, note).next(next));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use russh::keys::ssh_key::LineEnding;
    use russh::keys::ssh_key::certificate::{Builder, CertType};

    use super::*;
    use crate::loopback_ssh::fresh_key;
    use crate::tunnel::spec::{IdentityFile, KnownHostsFiles};

    fn hop(home: &Path) -> HopSpec {
        HopSpec {
            identity_files: vec![IdentityFile {
                path: home.join("id"),
                named: true,
            }],
            known_hosts: KnownHostsFiles {
                user: vec![home.join("known_hosts")],
                ..KnownHostsFiles::default()
            },
            ..HopSpec::bare("h", 22, "me")
        }
    }

    fn found(findings: &[Finding], subject: &str) -> (Health, String) {
        let finding = findings.iter().find(|finding| finding.subject == subject);
        let finding = finding.unwrap_or_else(|| panic!("nothing about {subject}: {findings:?}"));
        (finding.health, finding.what.clone())
    }

    #[tokio::test]
    async fn what_is_in_order_is_good() {
        let home = tempfile::tempdir().unwrap();
        let key = fresh_key().unwrap();
        key.write_openssh_file(home.path().join("id"), LineEnding::LF)
            .unwrap();
        let findings = check_up(&hop(home.path())).await;
        assert_eq!(found(&findings, "agent").0, Health::Good);
        assert_eq!(
            found(&findings, "known_hosts"),
            (Health::Good, "no host is known yet".into())
        );
        let (health, what) = found(&findings, "key");
        assert_eq!(health, Health::Good);
        assert!(what.ends_with("id (ssh-ed25519)"), "{what}");
    }

    #[tokio::test]
    async fn what_is_missing_broken_or_expired_is_named_with_a_next_step() {
        let home = tempfile::tempdir().unwrap();
        let (ca, key) = (fresh_key().unwrap(), fresh_key().unwrap());
        let mut builder =
            Builder::new(vec![7; 16], key.public_key().key_data().clone(), 1000, 2000).unwrap();
        builder.cert_type(CertType::User).unwrap();
        builder.valid_principal("me").unwrap();
        let certificate = builder.sign(&ca).unwrap().to_openssh().unwrap();
        std::fs::write(home.path().join("id-cert.pub"), certificate).unwrap();
        std::fs::create_dir(home.path().join("known_hosts")).unwrap();
        let hop = HopSpec {
            agent: AgentChoice::Socket(home.path().join("no-agent")),
            ..hop(home.path())
        };
        let findings = check_up(&hop).await;
        for subject in ["agent", "known_hosts", "certificate", "key"] {
            let (health, what) = found(&findings, subject);
            assert_eq!(health, Health::Bad, "{subject}: {what}");
        }
        assert!(found(&findings, "certificate").1.contains("expired"));
        assert!(found(&findings, "key").1.ends_with("no such file"));
        let bad = |finding: &&Finding| finding.health == Health::Bad;
        assert!(
            findings
                .iter()
                .filter(bad)
                .all(|finding| !finding.next.is_empty())
        );
    }

    #[test]
    fn a_certificate_of_the_future_or_for_others_is_told() {
        let home = tempfile::tempdir().unwrap();
        let (ca, key) = (fresh_key().unwrap(), fresh_key().unwrap());
        let mut builder =
            Builder::new(vec![7; 16], key.public_key().key_data().clone(), 1000, 2000).unwrap();
        builder.cert_type(CertType::User).unwrap();
        builder.valid_principal("root").unwrap();
        let certificate = builder.sign(&ca).unwrap();
        let at = |seconds| {
            let files = Files {
                certificates: vec![(home.path().join("c"), certificate.clone())],
                ..Files::default()
            };
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            of_files(&hop(home.path()), files, now).remove(0)
        };
        assert_eq!(at(500).health, Health::Bad);
        assert_eq!(at(1500).health, Health::Note);
        assert!(at(1500).what.ends_with("names root, not me"));
    }
}
