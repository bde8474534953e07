//! Claims about loading a configuration.

use proptest::prelude::*;

use super::*;

fn env() -> Environment {
    Environment::below(Path::new("/home/me"))
}

fn read(env: &Environment, flags: &[FlagValue], text: &str) -> Result<Folded, ConfigErrors> {
    read_as(env, flags, text, Dialect::Ours)
}

fn read_as(
    env: &Environment,
    flags: &[FlagValue],
    text: &str,
    dialect: Dialect,
) -> Result<Folded, ConfigErrors> {
    let file = FileText {
        path: Path::new("/c/clawline.json5"),
        dialect,
        text,
    };
    fold(env, Program::Client, flags, Some(file))
}

fn request(program: Program) -> LoadRequest {
    LoadRequest {
        program,
        file: None,
        profile: None,
        flags: Vec::new(),
    }
}

#[test]
fn each_layer_beats_the_next_and_every_value_knows_its_source() {
    let text = "{gateway: {port: 1, auth: {token: 'file'}}}";
    let flag = FlagValue {
        key: "gateway.port",
        flag: "--port",
        text: Secret::new("4"),
    };
    let openclaw = env()
        .with("OPENCLAW_GATEWAY_PORT", "2")
        .with("OPENCLAW_GATEWAY_TOKEN", "oc");
    let ours = openclaw
        .clone()
        .with("CLAWLINE_GATEWAY_PORT", "3")
        .with("CLAWLINE_GATEWAY_TOKEN", "cl");
    let none: &[FlagValue] = &[];
    let cases = [
        (&env(), none, "{}", 18789, "default", ""),
        (&env(), &[], text, 1, "/c/clawline.json5", "file"),
        (
            &openclaw,
            &[],
            text,
            2,
            "environment OPENCLAW_GATEWAY_PORT",
            "oc",
        ),
        (
            &ours,
            &[],
            text,
            3,
            "environment CLAWLINE_GATEWAY_PORT",
            "cl",
        ),
        (&ours, std::slice::from_ref(&flag), text, 4, "--port", "cl"),
    ];
    for (env, flags, text, port, source, token) in cases {
        let folded = read(env, flags, text).unwrap();
        let shown = folded.values.iter().find(|s| s.key == "gateway.port");
        assert_eq!(folded.config.gateway.port, port);
        assert_eq!(shown.map(|s| s.source.to_string()).as_deref(), Some(source));
        let ours = folded.config.gateway.auth.token;
        assert_eq!(ours.as_ref().map_or("", |t| t.expose()), token);
    }
}

#[test]
fn every_problem_is_told_at_once_with_its_key() {
    let text = "{gatway: {}, gateway: {port: 'x', bind: 'lo', auth: {tokn: 'a'}},
        hosts: {home: {ssh: '-oX', listen: ['99999']}}, agents: {list: [{id: 'A b'}]}, ui: 3}";
    let errors = read(&env(), &[], text).map(|_| ()).unwrap_err().to_string();
    for line in [
        "gatway: unknown key; did you mean \"gateway\"?",
        "/c/clawline.json5:1:30: gateway.port: must be a whole number from 1 to 65535 (got text \"x\")",
        "gateway.bind: must be one of loopback, lan, tailnet, custom, auto (got \"lo\"",
        "gateway.auth.tokn: unknown key; did you mean \"token\"?",
        "hosts.home.ssh: an SSH target must not start with '-'",
        "hosts.home.listen: the port must be",
        "agents.list[0].id: must be",
        "ui: must be an object (got a number)",
    ] {
        assert!(errors.contains(line), "{line}\n in\n{errors}");
    }
    assert_eq!(errors.lines().count(), 8, "{errors}");
}

#[test]
fn a_syntax_error_names_line_and_column() {
    let errors = read(&env(), &[], "{\n  gateway: {port: }\n}").map(|_| ());
    let errors = errors.unwrap_err().to_string();
    assert!(errors.starts_with("/c/clawline.json5:2:"), "{errors}");
    let deep = "[".repeat(100_000);
    let errors = read(&env(), &[], &deep).map(|_| ()).unwrap_err();
    assert!(errors.to_string().contains("nested deeper"), "{errors}");
}

#[test]
fn secrets_are_masked_wherever_they_are_shown() {
    let text = "{gateway: {auth: {token: 'hunter2'}}, hosts: {home: {token: 'hunter2'}},
        models: {providers: {x: {apiKey: 'hunter2', models: ['m', {id: 'n', contextWindow: 9}]}}}}";
    let folded = read(&env(), &[], text).unwrap();
    assert!(!format!("{:?} {:?}", folded.config, folded.values).contains("hunter2"));
    let models = &folded.config.models.providers["x"].models;
    assert_eq!(
        (models[0].id.as_str(), models[1].context_window),
        ("m", Some(9))
    );
}

/// B23.
#[test]
fn of_a_secret_only_its_last_line_break_is_left_out_and_that_is_told() {
    let told = |env: &Environment, text: &str| {
        let folded = read(env, &[], text);
        folded.map(|folded| {
            let warnings: Vec<String> = folded.warnings.iter().map(ToString::to_string).collect();
            let auth = folded.config.gateway.auth;
            let open = |secret: Option<Secret>| secret.map(|secret| secret.expose().to_owned());
            (open(auth.token), open(auth.password), warnings.join("\n"))
        })
    };
    let text = |text: &str| Some(text.to_owned());
    let token = |value: &str| env().with("OPENCLAW_GATEWAY_TOKEN", value);
    let password = |value: &str| env().with("CLAWLINE_GATEWAY_PASSWORD", value);
    let left_out = |what: &str| format!("{what}: the line break at its end is left out");
    let by_env = left_out("environment OPENCLAW_GATEWAY_TOKEN");
    assert_eq!(
        told(&token("abc"), "{}"),
        Ok((text("abc"), None, String::new()))
    );
    assert_eq!(
        told(&token("abc\n"), "{}"),
        Ok((text("abc"), None, by_env.clone()))
    );
    assert_eq!(
        told(&token("abc\r\n"), "{}"),
        Ok((text("abc"), None, by_env))
    );
    assert_eq!(
        told(&password("two words\n"), "{}"),
        Ok((
            None,
            text("two words"),
            left_out("environment CLAWLINE_GATEWAY_PASSWORD")
        ))
    );
    assert_eq!(
        told(
            &env(),
            "{gateway: {auth: {token: 'abc\\n', password: 'two words'}}}"
        ),
        Ok((
            text("abc"),
            text("two words"),
            "/c/clawline.json5: the line break at the end of gateway.auth.token is left out".into()
        ))
    );
    for (env, file, words) in [
        (
            token(" abc\n"),
            "{}",
            "environment OPENCLAW_GATEWAY_TOKEN starts or ends with white",
        ),
        (
            token("abc\n\n"),
            "{}",
            "environment OPENCLAW_GATEWAY_TOKEN starts or ends with white",
        ),
        (
            token("abc def"),
            "{}",
            "environment OPENCLAW_GATEWAY_TOKEN has white space in it",
        ),
        (
            token("abc\ndef"),
            "{}",
            "environment OPENCLAW_GATEWAY_TOKEN has white space in it",
        ),
        (
            password(" abc"),
            "{}",
            "environment CLAWLINE_GATEWAY_PASSWORD starts or ends with",
        ),
        (
            env(),
            "{gateway: {auth: {token: 'abc def'}}}",
            "gateway.auth.token: has white space",
        ),
        (
            env(),
            "{hosts: {h: {token: ' abc'}}}",
            "hosts.h.token: starts or ends with white",
        ),
        (
            env(),
            "{models: {providers: {p: {apiKey: 'abc d'}}}}",
            "p.apiKey: has white space",
        ),
        (
            env(),
            "{gateway: {auth: {trustedProxy: {secret: 'abc d'}}}}",
            "trustedProxy.secret: has white space",
        ),
    ] {
        let refused = told(&env, file).unwrap_err().to_string();
        assert!(refused.contains(words), "{words}\n in\n{refused}");
        assert!(!refused.contains("abc"), "{refused}");
        // One variable stands for two keys.
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
}

#[test]
fn openclaw_s_file_is_read_for_what_is_understood_and_the_rest_is_left_out() {
    let text = "{gateway: {port: 5, auth: {token: {source: 'env', id: 'X'}}, later: 1,
        remote: {token: '${SECRET}'}}, ui: {seamColor: 'red'}, agents: 7}";
    let folded = read_as(&env(), &[], text, Dialect::OpenClaw).unwrap();
    assert_eq!(folded.config.gateway.port, 5);
    assert_eq!(folded.config.gateway.auth.token, None);
    let warnings: Vec<String> = folded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("gateway.auth.token is a reference"));
    assert!(warnings[1].contains("gateway.remote.token holds ${…}"));
}

#[test]
fn a_key_that_does_nothing_here_is_read_and_named_once_it_is_set() {
    let warnings = |text: &str| {
        let folded = read_as(&env(), &[], text, Dialect::Ours).unwrap();
        let warnings = folded.warnings.iter().map(ToString::to_string);
        warnings.collect::<Vec<String>>()
    };
    assert_eq!(warnings("{gateway: {controlUi: {enabled: true}}}").len(), 0);
    for (key, text) in [
        (
            "gateway.auth.rateLimit.exemptLoopback",
            "{gateway: {auth: {rateLimit: {exemptLoopback: true}}}}",
        ),
        (
            "gateway.tls.caPath",
            "{gateway: {tls: {caPath: '/ca.pem'}}}",
        ),
        (
            "gateway.tailscale.resetOnExit",
            "{gateway: {tailscale: {resetOnExit: true}}}",
        ),
        (
            "gateway.controlUi.basePath",
            "{gateway: {controlUi: {basePath: '/ui'}}}",
        ),
        (
            "gateway.controlUi.root",
            "{gateway: {controlUi: {root: '/srv/ui'}}}",
        ),
        (
            "gateway.controlUi.allowInsecureAuth",
            "{gateway: {controlUi: {allowInsecureAuth: true}}}",
        ),
    ] {
        let told = warnings(text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains(&format!("{key} has no effect: ")),
            "{told:?}"
        );
    }
}

#[test]
fn the_client_falls_back_to_openclaw_s_file_and_the_daemon_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let env = Environment::below(dir.path());
    std::fs::create_dir(dir.path().join(".openclaw")).unwrap();
    let theirs = dir.path().join(".openclaw/openclaw.json");
    std::fs::write(&theirs, "{gateway: {port: 7, auth: {token: 'x'}}}").unwrap();
    let client = load(&env, &request(Program::Client)).unwrap();
    assert_eq!(client.config.gateway.port, 7);
    assert!(
        matches!(&client.warnings[..], [Warning::OpenToOthers { file, .. }] if *file == theirs)
    );
    let daemon = load(&env, &request(Program::Gateway)).unwrap();
    assert_eq!(
        (daemon.config.gateway.port, daemon.file),
        (DEFAULT_PORT, None)
    );

    std::fs::create_dir_all(dir.path().join(".config/clawline")).unwrap();
    let ours = dir.path().join(".config/clawline/clawline.json5");
    std::fs::write(&ours, "{}").unwrap();
    let client = load(&env, &request(Program::Client)).unwrap();
    assert_eq!(client.file, Some((ours, Dialect::Ours)));

    let mut named = request(Program::Client);
    named.file = Some(dir.path().join("absent.json5"));
    let error = load(&env, &named).unwrap_err().to_string();
    assert!(error.contains("absent.json5: cannot be read"), "{error}");
}

#[test]
fn the_port_of_dev_is_a_default_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let env = Environment::below(dir.path());
    let mut dev = request(Program::Gateway);
    dev.profile = Some(Profile::dev());
    assert_eq!(load(&env, &dev).unwrap().config.gateway.port, DEV_PORT);
    let set = env.with("OPENCLAW_GATEWAY_PORT", "4000");
    assert_eq!(load(&set, &dev).unwrap().config.gateway.port, 4000);
}

#[test]
fn what_would_be_open_to_anybody_is_not_served() {
    for (text, key) in [
        ("{gateway: {bind: 'lan'}}", "gateway.bind"),
        (
            "{gateway: {bind: 'lan', remote: {token: 'x'}}}",
            "gateway.bind",
        ),
        (
            "{gateway: {bind: 'custom', customBindHost: '192.0.2.1'}}",
            "gateway.bind",
        ),
        (
            "{gateway: {bind: 'lan', auth: {mode: 'none'}}}",
            "gateway.auth.mode",
        ),
        ("{gateway: {auth: {mode: 'password'}}}", "gateway.auth.mode"),
        ("{gateway: {mode: 'remote'}}", "gateway.mode"),
    ] {
        let folded = read(&env(), &[], text).unwrap();
        let problems = check::check_serving(&folded.config, &folded.values);
        assert_eq!(problems.len(), 1, "{text}");
        assert_eq!(problems[0].key.as_deref(), Some(key), "{text}");
    }
    for text in [
        "{}",
        "{gateway: {auth: {mode: 'none'}}}",
        "{gateway: {bind: 'custom', customBindHost: '127.0.0.2'}}",
        "{gateway: {bind: 'lan', auth: {token: 'x'}}}",
    ] {
        let folded = read(&env(), &[], text).unwrap();
        assert_eq!(check::check_serving(&folded.config, &folded.values), []);
    }
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_an_error(text in any::<String>()) {
        let _ = read(&env(), &[], &text);
        let _ = read_as(&env(), &[], &text, Dialect::OpenClaw);
    }

    #[test]
    fn anything_that_looks_like_one_is_a_configuration_or_an_error(
        text in "[{\\[]?(gateway|hosts|a|'b'|[0-9.]{1,4}|[{}\\[\\],:'\"$/* ]|\n|true|null){0,24}[}\\]]?",
    ) {
        let _ = read(&env(), &[], &text);
        let _ = read_as(&env(), &[], &text, Dialect::OpenClaw);
    }
}
