//! Claims about plans.

use serde_json::json;

use super::*;

/// A directory with `good` and `bad`, two programs, and a link `cwd` to a directory.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["good", "bad"] {
            let path = dir.path().join(name);
            fs::write(&path, format!("#!/bin/sh\necho {name}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            fs::create_dir(dir.path().join(format!("{name}.d"))).unwrap();
        }
        std::os::unix::fs::symlink("good.d", dir.path().join("cwd")).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn prepare(&self, argv: &[&str]) -> Prepared {
        let request = self.request(argv);
        Prepared::make(&request, "node", SystemTime::now()).unwrap()
    }

    fn request(&self, argv: &[&str]) -> RunRequest {
        let params = json!({"command": argv, "cwd": self.path("cwd")});
        RunRequest::read(&params).unwrap()
    }
}

fn refusal(prepared: &Prepared) -> String {
    prepared
        .check(SystemTime::now())
        .expect_err("refused")
        .message
}

#[test]
fn what_was_not_touched_may_run() {
    let world = World::new();
    let good = world.path("good").display().to_string();
    let prepared = world.prepare(&[&good, "x"]);
    assert_eq!(prepared.check(SystemTime::now()), Ok(()));
    assert_eq!(
        prepared.plan.cwd,
        world.path("good.d").canonicalize().unwrap()
    );
}

#[test]
fn a_program_that_is_exchanged_after_the_approval_does_not_run_100_times() {
    let world = World::new();
    let good = world.path("good").display().to_string();
    for round in 0..100 {
        let prepared = world.prepare(&[&good]);
        match round % 4 {
            // Another file under the name.
            0 => {
                fs::copy(&good, world.path("new")).unwrap();
                fs::rename(world.path("new"), &good).unwrap();
            }
            // Another content of the same length in the same file.
            1 => {
                let old = fs::read_to_string(&good).unwrap();
                fs::write(&good, old.to_uppercase().replace("BIN", "bin")).unwrap();
                fs::write(&good, old.replace("good", "evil")).unwrap();
            }
            // A link.
            2 => {
                fs::rename(&good, world.path("kept")).unwrap();
                std::os::unix::fs::symlink(world.path("bad"), &good).unwrap();
            }
            _ => {
                fs::rename(&good, world.path("kept")).unwrap();
            }
        }
        let message = refusal(&prepared);
        assert!(
            message.starts_with("SYSTEM_RUN_DENIED: plan changed"),
            "{round}: {message}"
        );
        let _ = fs::remove_file(&good);
        fs::write(&good, "#!/bin/sh\necho good\n").unwrap();
        fs::set_permissions(&good, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_directory_that_is_exchanged_after_the_approval_is_noticed() {
    let world = World::new();
    let good = world.path("good").display().to_string();
    let prepared = world.prepare(&[&good]);
    // The link does not matter any more: the directory itself was approved.
    fs::remove_file(world.path("cwd")).unwrap();
    std::os::unix::fs::symlink("bad.d", world.path("cwd")).unwrap();
    assert_eq!(prepared.check(SystemTime::now()), Ok(()));
    fs::rename(world.path("good.d"), world.path("old.d")).unwrap();
    fs::rename(world.path("bad.d"), world.path("good.d")).unwrap();
    assert!(refusal(&prepared).contains("the directory is another one"));
}

#[test]
fn a_script_among_the_arguments_belongs_to_the_plan() {
    let world = World::new();
    let script = world.path("good.d/run.sh");
    fs::write(&script, "echo one\n").unwrap();
    let prepared = world.prepare(&["sh", "run.sh"]);
    assert_eq!(prepared.check(SystemTime::now()), Ok(()));
    fs::write(&script, "echo two\n").unwrap();
    assert!(refusal(&prepared).contains("command[1] is another file"));
}

#[test]
fn a_plan_has_a_time_and_a_request() {
    let world = World::new();
    let good = world.path("good").display().to_string();
    let prepared = world.prepare(&[&good, "x"]);
    let late = SystemTime::now() + MAX_AGE + Duration::from_secs(1);
    assert!(prepared.check(late).is_err());
    let mut request = world.request(&[&good, "x"]);
    request.cwd = Some(prepared.plan.cwd.clone());
    assert!(prepared.plan.is_for(&request));
    // Whoever approves a command without a directory is not asked about this one.
    let nowhere = RunRequest {
        cwd: None,
        ..request.clone()
    };
    assert!(!prepared.plan.is_for(&nowhere));
    assert!(!prepared.plan.is_for(&world.request(&[&good, "y"])));
    let with_env = RunRequest {
        env: [("GIT_SSH_COMMAND".to_owned(), "id".to_owned())].into(),
        ..request.clone()
    };
    assert!(!prepared.plan.is_for(&with_env));
    let other_session = RunRequest {
        session: Some("other".into()),
        ..request
    };
    assert!(!prepared.plan.is_for(&other_session));
}

#[test]
fn the_digest_tells_every_difference() {
    let world = World::new();
    let good = world.path("good").display().to_string();
    let plan = world.prepare(&[&good, "x"]).plan;
    let mut other = plan.clone();
    other.argv[1] = "x ".into();
    assert_ne!(plan.digest(), other.digest());
    let mut other = plan.clone();
    other.env.insert("A".into(), "b".into());
    assert_ne!(plan.digest(), other.digest());
    assert_eq!(plan.digest(), plan.clone().digest());
}

#[test]
fn what_is_no_program_is_refused_by_its_index() {
    let world = World::new();
    for (argv, why) in [
        (["/nowhere/x"], "command[0]: there is no program"),
        (["nowhere-at-all"], "command[0]: there is no program"),
        (["/dev/null"], ""),
        (["/etc/passwd"], "command[0]: "),
        (["/"], ""),
    ] {
        let refused = Prepared::make(&world.request(&argv), "node", SystemTime::now());
        let refused = refused.expect_err("refused");
        assert_eq!(refused.code, "INVALID_REQUEST");
        assert!(refused.message.contains(why), "{}", refused.message);
    }
    let params = json!({"command": ["ls"], "cwd": "/nowhere"});
    let request = RunRequest::read(&params).unwrap();
    let refused = Prepared::make(&request, "node", SystemTime::now()).expect_err("refused");
    assert!(refused.message.contains("cwd /nowhere is not there"));
}
