//! Claims about who may run what.

use super::*;

struct World {
    _dir: tempfile::TempDir,
    desk: Desk,
    file: PolicyFile,
}

fn world(mode: Option<Mode>, person: Person) -> World {
    let dir = tempfile::tempdir().unwrap();
    let file = PolicyFile::below(dir.path());
    let options = DeskOptions {
        node: "node".into(),
        mode,
        remote_policy: false,
        only: Vec::new(),
        roots: Roots::default(),
        person,
    };
    World {
        desk: Desk::new(options, file.clone()),
        file,
        _dir: dir,
    }
}

fn task(command: &str, params: Value) -> Task {
    Task {
        command: command.into(),
        params,
        deadline: Some(Duration::from_secs(20)),
        is_guarded: true,
        stop: CancellationToken::new(),
    }
}

async fn refusal(world: &World, params: Value) -> String {
    let answer = world.desk.answer(task("system.run", params)).await;
    answer.expect_err("refused").message
}

#[tokio::test]
async fn nothing_runs_without_a_person_or_an_approval() {
    let world = world(None, Person::Nobody);
    for params in [
        json!({"command": ["id"]}),
        // What a caller says about itself is not an approval.
        json!({"command": ["id"], "approved": true}),
        json!({"command": ["id"], "approvalDecision": "allow-always"}),
        json!({"command": ["id"], "approvalSource": "ask-fallback"}),
    ] {
        let message = refusal(&world, params.clone()).await;
        assert_eq!(message, "SYSTEM_RUN_DENIED: approval required", "{params}");
    }
    let message = refusal(
        &world,
        json!({"command": ["id"], "approved": true, "runId": "x"}),
    )
    .await;
    assert!(message.contains("APPROVAL_NOT_FOUND"), "{message}");
}

#[tokio::test]
async fn an_approval_is_for_one_plan_and_one_use() {
    let world = world(None, Person::Nobody);
    let prepare = || {
        world.desk.answer(task(
            "system.run.prepare",
            json!({"command": ["id"], "cwd": "/"}),
        ))
    };
    let reply = prepare().await.unwrap();
    assert_eq!(reply["plan"]["commandText"], "id");
    assert_eq!(
        reply["execPolicy"],
        json!({"security": "allowlist", "ask": "always"})
    );
    let read = |params: Value| RunRequest::read(&params).unwrap();
    let other = read(json!({"command": ["id", "-u"], "cwd": "/", "approved": true, "runId": "x"}));
    assert!(world.desk.take_approved(&other, true).is_err());
    let right = read(json!({"command": ["id"], "cwd": "/", "approved": true, "runId": "x"}));
    // An older gateway lets everybody say so.
    assert!(world.desk.take_approved(&right, false).unwrap().is_none());
    assert!(world.desk.take_approved(&right, true).unwrap().is_some());
    prepare().await.unwrap();
    let again = world.desk.take_approved(&right, true).expect_err("refused");
    assert!(again.message.contains("used before"), "{}", again.message);
}

#[tokio::test]
async fn a_call_for_which_there_is_no_room_uses_no_approval_up() {
    let world = world(None, Person::Nobody);
    let prepare = task("system.run.prepare", json!({"command": ["id"], "cwd": "/"}));
    world.desk.answer(prepare).await.unwrap();
    let all = u32::try_from(MAX_RUNS).unwrap();
    let busy = world.desk.runs.clone().try_acquire_many_owned(all).unwrap();
    let run = json!({"command": ["id"], "cwd": "/", "approved": true, "runId": "x"});
    let message = refusal(&world, run.clone()).await;
    assert!(message.contains("running here already"), "{message}");
    drop(busy);
    let run = RunRequest::read(&run).unwrap();
    assert!(world.desk.take_approved(&run, true).unwrap().is_some());
}

#[tokio::test]
async fn mode_deny_runs_nothing_and_prepares_nothing() {
    let world = world(Some(Mode::Deny), Person::Nobody);
    assert!(
        refusal(&world, json!({"command": ["id"]}))
            .await
            .contains("SYSTEM_RUN_DISABLED")
    );
    let prepared = world
        .desk
        .answer(task("system.run.prepare", json!({"command": ["id"]})))
        .await;
    assert!(prepared.is_err());
}

#[tokio::test]
async fn a_list_that_is_broken_runs_nothing() {
    let world = world(Some(Mode::Allowlist), Person::Nobody);
    std::fs::write(world.file.path(), "{").unwrap();
    let message = refusal(&world, json!({"command": ["id"]})).await;
    assert!(message.contains("exec-approvals.json"), "{message}");
}

#[tokio::test]
async fn the_list_allows_exact_words_and_no_wrapper_that_was_written_into_it() {
    let world = world(Some(Mode::Allowlist), Person::Nobody);
    let prepared = |argv: &[&str]| {
        let params = json!({"command": argv, "cwd": "/"});
        Prepared::make(
            &RunRequest::read(&params).unwrap(),
            "node",
            SystemTime::now(),
        )
        .unwrap()
    };
    for argv in [&["uname", "-a"][..], &["env", "id"]] {
        // By hand, past every check.
        add(&world.file, entry_of(&prepared(argv))).unwrap();
    }
    let listed = async |argv: &[&str]| {
        let prepared = prepared(argv);
        world
            .desk
            .listed(Mode::Allowlist, &prepared)
            .await
            .unwrap()
            .is_some()
    };
    assert!(listed(&["uname", "-a"]).await);
    for argv in [
        &["uname"][..],
        &["uname", "-a", "-r"],
        &["env", "id"],
        &["uname", "-a;id"],
    ] {
        assert!(!listed(argv).await, "{argv:?}");
    }
    let in_mode_ask = world
        .desk
        .listed(Mode::Ask, &prepared(&["uname", "-a"]))
        .await;
    assert_eq!(in_mode_ask.unwrap(), None);
    let words = |argv: &[&str]| {
        argv.iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    assert!(entry_for(&words(&["env", "id"]), None).is_err());
}

#[tokio::test]
async fn the_list_allows_a_command_where_it_was_allowed_and_nowhere_else() {
    let world = world(Some(Mode::Allowlist), Person::Nobody);
    let place = tempfile::tempdir().unwrap();
    let place = place.path().canonicalize().unwrap();
    let argv = ["cat".to_owned(), "notes.txt".to_owned()];
    let listed = async |cwd: Option<&Path>| {
        let params = json!({"command": argv, "cwd": cwd});
        let request = RunRequest::read(&params).unwrap();
        let prepared = Prepared::make(&request, "node", SystemTime::now()).unwrap();
        let entry = world.desk.listed(Mode::Allowlist, &prepared).await;
        entry.unwrap().is_some()
    };
    let entries = || world.file.read().unwrap().policy.allow.len();
    add(&world.file, entry_for(&argv, Some(&place)).unwrap()).unwrap();
    assert!(listed(Some(&place)).await);
    assert!(!listed(Some(Path::new("/"))).await);
    assert!(!listed(None).await);
    // One without a directory is for calls without one.
    add(&world.file, entry_for(&argv, None).unwrap()).unwrap();
    assert!(listed(None).await);
    assert!(listed(Some(&place)).await);
    assert_eq!((listed(Some(Path::new("/"))).await, entries()), (false, 2));
    let anywhere = Entry {
        cwd: None,
        any_dir: true,
        ..entry_for(&argv, None).unwrap()
    };
    add(&world.file, anywhere.clone()).unwrap();
    assert_eq!((listed(Some(Path::new("/"))).await, entries()), (true, 1));
    // As an earlier release wrote it.
    let old = Entry {
        any_dir: false,
        ..anywhere
    };
    let changed = world.file.change(None, |policy| {
        policy.allow = vec![old.clone()];
        Ok(())
    });
    changed.unwrap();
    assert!(!listed(None).await);
}

#[tokio::test]
async fn a_person_sees_everything_and_no_means_no() {
    let (person, mut questions) = mpsc::channel(1);
    let world = world(None, Person::Here(person));
    let params = json!({"command": ["echo", "a\u{202e}b"], "cwd": "/",
        "env": {"LD_PRELOAD": "/tmp/x.so"}, "sessionKey": "s"});
    let asked = tokio::spawn({
        let desk = world.desk.clone();
        async move { desk.answer(task("system.run", params)).await }
    });
    let question = questions.recv().await.unwrap();
    assert_eq!(question.shown.text, "echo 'a\\u{202E}b'");
    assert_eq!(question.env, ["LD_PRELOAD=/tmp/x.so"]);
    assert_eq!(
        (question.cwd.as_str(), question.session.as_deref()),
        ("/", Some("s"))
    );
    assert!(question.always_asks.is_some());
    question.reply.send(Said::No).unwrap();
    let refused = asked.await.unwrap().expect_err("refused");
    assert!(refused.message.contains("said no"));
}

#[tokio::test]
async fn what_is_not_offered_is_not_done() {
    let world = world(None, Person::Nobody);
    for command in ["file.fetch", "system.reboot", "camera.snap", ""] {
        let answer = world
            .desk
            .answer(task(command, json!({"path": "/etc/passwd"})))
            .await;
        assert_eq!(
            answer.expect_err("refused").message,
            "command not supported"
        );
    }
    let options = DeskOptions {
        only: vec!["system.which".into()],
        ..(*world.desk.options).clone()
    };
    let desk = Desk::new(options, world.file.clone());
    assert_eq!(desk.commands(), ["system.which"]);
    assert!(
        desk.answer(task("system.run", json!({"command": ["id"]})))
            .await
            .is_err()
    );
}
