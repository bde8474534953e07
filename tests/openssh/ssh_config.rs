//! Our reading of ssh_config against `ssh -G`: a corpus of files, and configurations made by chance.
//!
//! The corpus is `tests/data/ssh/config/*.txt`: a line with the targets, then each file behind a line
//! `=== NAME`. In it `DIR` stands for the directory of the case and `<CR>` for a carriage return.

use std::path::Path;
use std::process::{Command, Stdio};

use clawline::tunnel::ssh_config::{self, ConfigFile, Env, Flags, Resolved, differences};

/// Differences that are meant, beside the defaults that are ours: case, keyword, reason.
const MEANT: &[(&str, &str, &str)] = &[(
    "jump-uri",
    "ProxyJump",
    "shown as it was written, with the scheme",
)];

/// What both programs refuse, one line each.
const REFUSED: &[&str] = &[
    "Port 0",
    "Port 65536",
    "Port many",
    "Port 22 23",
    "User",
    "User \"a",
    "Host",
    "Match",
    "Match host",
    "Match all host x",
    "Match nonsense x",
    "Match user",
    "AddressFamily ipv5",
    "BatchMode maybe",
    "StrictHostKeyChecking perhaps",
    "UpdateHostKeys always",
    "ServerAliveInterval soon",
    "ServerAliveInterval -5",
    "ConnectTimeout 1x",
    "ConnectionAttempts many",
    "Ciphers foo",
    "MACs foo",
    "KexAlgorithms foo",
    "HostKeyAlgorithms foo",
    "PubkeyAcceptedAlgorithms foo",
    "CASignatureAlgorithms foo",
    "RekeyLimit 15",
    "RekeyLimit 1X",
    "RekeyLimit 1G soon",
    "AddKeysToAgent often",
    "AddKeysToAgent yes 5m",
    "LocalForward 8080",
    "LocalForward x:y:z a:b",
    "LocalForward 80 host:0",
    "HostName a b",
    "HostName %n",
    "UserKnownHostsFile none /a",
    "UserKnownHostsFile ~/%z",
    "IdentityAgent ~/%z",
    "ProxyJump a,,b",
    "ProxyCommand",
    "Include",
    "StreamLocalBindMask many",
    "RequiredRSASize many",
    "NumberOfPasswordPrompts few",
];

/// What ssh refuses and we do not, each with the reason.
const FOLLOWED_ALL_THE_SAME: &[(&str, &str)] = &[
    (
        "NoSuchOption yes",
        "told, not refused: files are shared with newer releases of ssh",
    ),
    ("Ciphers aes*", "wildcards are taken in every list"),
    (
        "Host other\nPort 0",
        "a line that does not count for this host is not judged",
    ),
    (
        "Ciphers foo,aes128-ctr",
        "names that are not spoken are told, the others used",
    ),
];

/// Lists that name what they offer have to keep their order, which the comparison does not look at.
const ORDERED: &[(&str, &str)] = &[
    ("ciphers-list", "Ciphers"),
    ("kex-list", "KexAlgorithms"),
    ("authorities", "CASignatureAlgorithms"),
];

struct Case {
    name: String,
    targets: Vec<String>,
    files: Vec<(String, String)>,
}

fn corpus() -> Vec<Case> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ssh/config");
    let mut cases: Vec<Case> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| read(&entry.unwrap().path()))
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

fn read(path: &Path) -> Case {
    let text = std::fs::read_to_string(path).unwrap();
    let mut sections = text.split("=== ");
    let targets = sections.next().unwrap().trim();
    let targets = targets.strip_prefix("targets ").unwrap();
    Case {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        targets: targets.split(' ').map(str::to_owned).collect(),
        files: sections
            .map(|section| {
                let (name, text) = section.split_once('\n').unwrap_or((section, ""));
                (name.to_owned(), text.replace("<CR>", "\r"))
            })
            .collect(),
    }
}

/// A directory with the files of a case, and the surroundings that both programs see.
struct World {
    dir: tempfile::TempDir,
    env: Env,
}

impl World {
    fn new(files: &[(String, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().display().to_string();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text.replace("DIR", &place)).unwrap();
        }
        let mut env = Env::of_process().unwrap();
        // ssh takes the home from the password file. Nothing in it is read.
        let account = nix::unistd::User::from_uid(nix::unistd::getuid());
        env.home = account.unwrap().unwrap().dir;
        env.vars.insert("CORPUS_PLACE".into(), place);
        env.vars.insert("CORPUS_WORD".into(), "word".into());
        env.vars.insert("SHELL".into(), "/bin/sh".into());
        Self { dir, env }
    }

    fn ours(&self, target: &str) -> Result<Resolved, ssh_config::SshConfigError> {
        let flags = Flags {
            config: ConfigFile::Only(self.dir.path().join("config")),
            allow_match_exec: true,
            ..Flags::default()
        };
        ssh_config::resolve(&target.parse().unwrap(), &flags, &self.env)
    }

    fn theirs(&self, target: &str) -> Result<String, String> {
        let output = Command::new("ssh")
            .arg("-G")
            .arg("-F")
            .arg(self.dir.path().join("config"))
            .arg(target)
            .stdin(Stdio::null())
            .envs(["CORPUS_PLACE", "CORPUS_WORD", "SHELL"].map(|name| (name, &self.env.vars[name])))
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Every difference that nobody meant, as a line.
    fn surprises(&self, name: &str, target: &str) -> Vec<String> {
        let theirs = match self.theirs(target) {
            Ok(theirs) => theirs,
            Err(error) => return vec![format!("{name} {target}: ssh refuses: {error}")],
        };
        let resolved = match self.ours(target) {
            Ok(resolved) => resolved,
            Err(error) => return vec![format!("{name} {target}: we refuse: {error}")],
        };
        let alias = &resolved.spec.destination().unwrap().alias;
        differences(&resolved, alias, &theirs, &self.env)
            .into_iter()
            .filter(|found| found.reason.is_none())
            .filter(|found| {
                let meant = MEANT.iter();
                !meant
                    .clone()
                    .any(|(case, keyword, _)| *case == name && *keyword == found.keyword)
            })
            .map(|found| {
                format!(
                    "{name} {target}: {} is {:?} ({}), ssh says {:?}",
                    found.keyword, found.ours, found.source, found.theirs
                )
            })
            .collect()
    }
}

#[test]
#[ignore = "needs OpenSSH"]
fn every_file_of_the_corpus_means_the_same_to_ssh() {
    let cases = corpus();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let mut surprises = Vec::new();
    for case in &cases {
        let world = World::new(&case.files);
        for target in &case.targets {
            surprises.extend(world.surprises(&case.name, target));
        }
        let ordered = ORDERED.iter().filter(|(name, _)| *name == case.name);
        for (name, keyword) in ordered {
            let target = &case.targets[0];
            let resolved = world.ours(target).unwrap();
            let ours = resolved.explain.iter().find(|s| s.keyword == *keyword);
            let theirs = world.theirs(target).unwrap();
            let lines = theirs.lines().filter_map(|line| line.split_once(' '));
            let theirs = lines
                .into_iter()
                .find(|(k, _)| k.eq_ignore_ascii_case(keyword));
            if ours.map(|s| s.value.as_str()) != theirs.map(|(_, value)| value) {
                surprises.push(format!("{name}: the order of {keyword}"));
            }
        }
    }
    assert!(surprises.is_empty(), "{:#?}", surprises);
}

#[test]
#[ignore = "needs OpenSSH"]
fn what_ssh_refuses_is_refused() {
    let mut surprises = Vec::new();
    for line in REFUSED {
        let world = World::new(&[("config".to_owned(), format!("{line}\n"))]);
        match (world.ours("x"), world.theirs("x")) {
            (Err(_), Err(_)) => {}
            (Ok(_), _) => surprises.push(format!("we take {line:?}")),
            (Err(_), Ok(_)) => surprises.push(format!("ssh takes {line:?}")),
        }
    }
    for (text, reason) in FOLLOWED_ALL_THE_SAME {
        let world = World::new(&[("config".to_owned(), format!("{text}\n"))]);
        if let (Err(error), _) | (Ok(_), Ok(error)) = (
            world.ours("x").map_err(|e| e.to_string()),
            world.theirs("x"),
        ) {
            surprises.push(format!("{text:?} ({reason}): {error}"));
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

/// How many configurations are made by chance.
const BY_CHANCE: usize = 150;

#[test]
#[ignore = "needs OpenSSH"]
fn configurations_made_by_chance_mean_the_same_to_ssh() {
    let mut dice = Dice(0x5eed);
    let mut surprises = Vec::new();
    for round in 0..BY_CHANCE {
        // No host is reached through itself.
        let mut config = "Host gate inner\n  ProxyCommand direct\nHost *\n".to_owned();
        for _ in 0..dice.below(14) {
            config.push_str(dice.pick(&["", "  ", "\t"]));
            config.push_str(dice.pick(BLOCKS_AND_LINES));
            config.push_str(dice.pick(&["\n", "\n", "\r\n", " \n", "\n\n# comment\n"]));
        }
        let included = format!("{}\n{}\n", dice.pick(BLOCKS_AND_LINES), dice.pick(LINES));
        let files = [
            ("config".to_owned(), config.clone()),
            ("part".to_owned(), included.replace("Include DIR/part", "")),
        ];
        let world = World::new(&files);
        let target = dice.pick(&["home", "you@home", "HOME", "web1.lan", "root@10.0.0.7"]);
        let found = world.surprises(&format!("round {round}"), target);
        if !found.is_empty() {
            surprises.push(format!("{found:#?}\n{config}--- part\n{included}"));
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// Lines for chance to choose from.
const BLOCKS_AND_LINES: &[&str] = &[
    "Host home",
    "Host *",
    "Host * !home",
    "Host web?.lan 10.0.0.*",
    "Host HOME \"home\"",
    "Host !10.0.0.7 1*",
    "Match all",
    "Match host home",
    "Match host *.lan,home user you",
    "Match originalhost HOME",
    "Match !user root",
    "Match user root,you",
    "Match final",
    "Match final host real.lan",
    "Match canonical",
    "Match !final originalhost home",
    "Match exec \"test %h = real.lan\"",
    "Match !exec false localuser root",
    "Include DIR/part",
    "HostName real.lan",
    "HostName real.lan.",
    "HostName %h.lan",
    "User a",
    "User = b",
    "Port 2222",
    "Port=2200",
    "IdentityFile ~/.ssh/%h",
    "IdentityFile \"~/.ssh/a b\"",
    "IdentityFile none",
    "CertificateFile ~/%r-cert.pub",
    "IdentitiesOnly yes",
    "ProxyJump gate:22,me@inner",
    "ProxyJump none",
    "ProxyCommand nc %h %p",
    "ProxyCommand none",
    "StrictHostKeyChecking accept-new",
    "UserKnownHostsFile ~/k-%h-%k ~/k2",
    "HostKeyAlias Alias",
    "ServerAliveInterval 1m",
    "Ciphers ^aes256-ctr",
    "Ciphers -*ctr",
    "MACs +hmac-sha1",
    "AddKeysToAgent 1h",
    "RekeyLimit 1G 1h",
    "LocalForward 80 h:81",
    "LocalForward [::1]:82 /far.sock",
    "IgnoreUnknown Foo",
];

/// Those of them that open no block.
const LINES: &[&str] = &[
    "User inner",
    "Port 77",
    "IdentityFile ~/inner",
    "Compression yes",
];

/// Numbers that only look like chance, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pick(&mut self, list: &[&'static str]) -> &'static str {
        list[self.below(list.len())]
    }
}
