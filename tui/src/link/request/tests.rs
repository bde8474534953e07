//! Tests of `request`.

use clawline::config::{LoadRequest, Program, load};

use super::*;

fn connector(config: &str, env: &[(&str, &str)], options: ConnectOptions) -> Connector {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join(".config/clawline");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("clawline.json5"), config).unwrap();
    let mut environment = Environment::below(home.path());
    for (name, value) in env {
        environment = environment.with(name, value);
    }
    let request = LoadRequest {
        program: Program::Client,
        file: None,
        profile: None,
        flags: Vec::new(),
    };
    let loaded = load(&environment, &request).unwrap();
    Connector {
        env: Arc::new(environment),
        loaded: Arc::new(loaded),
        options,
    }
}

fn plain(config: &str) -> Connector {
    connector(config, &[], ConnectOptions::default())
}

fn with_token(token: &str) -> ConnectOptions {
    ConnectOptions {
        token: Some(Secret::new(token)),
        ..ConnectOptions::default()
    }
}

fn shown(request: &LinkRequest) -> Option<String> {
    let credentials = match &request.way {
        Way::Local(way) => &way.explicit,
        Way::Direct(way) => &way.credentials,
        Way::Ssh(way) => &way.explicit,
    };
    credentials
        .token
        .as_ref()
        .map(|token| token.expose().to_owned())
}

#[test]
fn a_url_option_uses_neither_config_nor_environment_secrets() {
    let config = "{gateway: {remote: {url: 'ws://127.0.0.1:1', token: 'configured'}}}";
    let env = [("CLAWLINE_GATEWAY_TOKEN", "environment")];
    let url = Some("ws://127.0.0.1:2".to_owned());
    let bare = connector(
        config,
        &env,
        ConnectOptions {
            url: url.clone(),
            ..ConnectOptions::default()
        },
    );
    let error = bare.request(None).unwrap_err();
    assert!(error.what.contains("--url needs --token"), "{error}");
    let mut given = bare.clone();
    given.options = ConnectOptions {
        url,
        ..with_token("typed")
    };
    assert_eq!(
        shown(&given.request(None).unwrap()).as_deref(),
        Some("typed")
    );
    assert!(given.request(Some("desktop")).is_err());
}

#[test]
fn a_typed_target_never_gets_the_token_of_another_gateway() {
    let config = "{gateway: {remote: {url: 'ws://127.0.0.1:1', token: 'configured'}}}";
    let connector = plain(config);
    let other = connector.request(Some("ws://127.0.0.1:2")).unwrap();
    assert_eq!(shown(&other), None);
    let same = connector.request(Some("ws://127.0.0.1:1")).unwrap();
    assert_eq!(shown(&same).as_deref(), Some("configured"));
    let default = connector.request(None).unwrap();
    assert_eq!(shown(&default).as_deref(), Some("configured"));
}

#[test]
fn our_variable_serves_any_target_and_openclaw_s_only_the_configured_one() {
    let target = Some("ws://127.0.0.1:2");
    for (name, token) in [
        ("CLAWLINE_GATEWAY_TOKEN", Some("env")),
        ("OPENCLAW_GATEWAY_TOKEN", None),
    ] {
        let connector = connector("{}", &[(name, "env")], ConnectOptions::default());
        let request = connector.request(target).unwrap();
        assert_eq!(shown(&request).as_deref(), token, "{name}");
    }
}

#[test]
fn a_url_of_the_environment_goes_with_secrets_of_the_environment() {
    let config = "{gateway: {remote: {token: 'configured'}}}";
    let url = ("OPENCLAW_GATEWAY_URL", "ws://127.0.0.1:9");
    let bare = connector(config, &[url], ConnectOptions::default());
    assert_eq!(shown(&bare.request(None).unwrap()), None);
    let token = ("OPENCLAW_GATEWAY_TOKEN", "env");
    let both = connector(config, &[url, token], ConnectOptions::default());
    assert_eq!(shown(&both.request(None).unwrap()).as_deref(), Some("env"));
}

#[test]
fn the_default_is_what_is_configured_or_a_refusal_that_says_what_to_type() {
    assert!(plain("{}").configured().unwrap().is_none());
    let error = plain("{}").request(None).unwrap_err();
    assert!(error.next.contains("clawline me@desktop"), "{error:?}");
    let two = plain("{hosts: {home: {}, work: {}}}")
        .request(None)
        .unwrap_err();
    assert!(two.next.contains("home, work"), "{two:?}");
    let none = plain("{gateway: {mode: 'remote'}}")
        .request(None)
        .unwrap_err();
    assert!(none.what.contains("names no gateway"), "{none:?}");
}

#[test]
fn a_host_entry_brings_its_ssh_settings_and_its_token() {
    let config = "{hosts: {home: {ssh: 'me@desktop:2222', token: 't', remote: '127.0.0.1:5', session: 'work'}}}";
    let no_files = |options: ConnectOptions| {
        let mut connector = connector(config, &[], options);
        connector.options.ssh.config = ConfigFile::None;
        connector
    };
    let request = no_files(ConnectOptions::default()).request(None).unwrap();
    let Way::Ssh(way) = &request.way else {
        panic!("ssh")
    };
    let hop = way.spec.destination().unwrap();
    assert_eq!(
        (hop.host.as_str(), hop.port, hop.user.as_str()),
        ("desktop", 2222, "me")
    );
    assert_eq!(way.remote, Some(RemoteEnd::loopback(5)));
    assert_eq!(shown(&request).as_deref(), Some("t"));
    assert_eq!(request.label, "home (me@desktop:2222)");
    assert_eq!(request.session.as_deref(), Some("work"));
    let typed = no_files(with_token("typed")).request(Some("home")).unwrap();
    assert_eq!(shown(&typed).as_deref(), Some("typed"));
}

#[test]
fn a_configured_pin_is_kept_or_refused_and_never_dropped() {
    let pin = "ab".repeat(32);
    let with_url = |url: &str, options: ConnectOptions| {
        let config = format!("{{gateway: {{remote: {{url: '{url}', tlsFingerprint: '{pin}'}}}}}}");
        connector(&config, &[], options)
    };
    let identity = |request: &LinkRequest| match &request.way {
        Way::Direct(way) => way.endpoint.identity(),
        Way::Local(_) | Way::Ssh(_) => String::new(),
    };
    for url in ["wss://gw.example.com:1", "WSS://gw.example.com:1"] {
        let connector = with_url(url, ConnectOptions::default());
        let request = connector.request(None).unwrap();
        assert!(identity(&request).contains('#'), "{url}");
        let typed = with_url(url, with_token("t")).request(Some(url)).unwrap();
        assert!(identity(&typed).contains('#'), "typed {url}");
        assert_eq!(shown(&typed).as_deref(), Some("t"));
    }
    let plain = with_url("ws://127.0.0.1:1", ConnectOptions::default());
    let error = plain.request(None).unwrap_err();
    assert!(error.what.contains("needs a wss:// URL"), "{error:?}");
}

#[test]
fn a_configured_password_goes_over_ssh_too() {
    let config = "{gateway: {mode: 'remote', remote: {sshTarget: 'me@desktop', password: 'p'}}}";
    let password = |options: ConnectOptions| {
        let mut connector = connector(config, &[], options);
        connector.options.ssh.config = ConfigFile::None;
        match connector.request(None).unwrap().way {
            Way::Ssh(way) => way.explicit.password,
            Way::Local(_) | Way::Direct(_) => None,
        }
    };
    assert_eq!(password(ConnectOptions::default()), Some(Secret::new("p")));
    assert_eq!(password(with_token("typed")), None);
}

#[test]
fn ssh_options_for_a_direct_connection_are_refused() {
    let mut connector = plain("{}");
    connector.options.ssh.port = Some(22);
    for target in ["local", "ws://127.0.0.1:1"] {
        let error = connector.request(Some(target)).unwrap_err();
        assert!(
            error.what.starts_with("-p is for connections over SSH"),
            "{error}"
        );
    }
}

/// B17.
#[test]
fn a_host_is_shown_as_it_is_looked_up_and_a_name_that_may_deceive_is_told_before_anything_happens()
{
    let config =
        "{hosts: {'раура.example': {}, desk: {ssh: 'me@pаypal.example', jump: ['хост.example']}}}";
    let direct = connector(config, &[], with_token("typed"));
    let ssh = plain(config);
    for (connector, typed, label, notes) in [
        (
            &direct,
            "wss://pаypal.example./",
            "wss://xn--pypal-4ve.example./",
            &["Cyrillic and Latin"][..],
        ),
        (&direct, "wss://host.com:1", "wss://host.com:1/", &[]),
        (
            &direct,
            "wss://xn--80ak6aa92e.com",
            "wss://xn--80ak6aa92e.com/",
            &["in Cyrillic letters"],
        ),
        (
            &ssh,
            "раура.example",
            "xn--80aa0cbo.example",
            &["looks like \"paypa\""],
        ),
        (
            &ssh,
            "desk",
            "desk (me@xn--pypal-4ve.example)",
            &["reads \"хост.example\"", "Cyrillic and Latin"],
        ),
        (&ssh, "host", "host", &[]),
    ] {
        let request = connector.request(Some(typed)).unwrap();
        assert_eq!(request.label, label, "{typed}");
        assert_eq!(
            request.notes.len(),
            notes.len(),
            "{typed}: {:?}",
            request.notes
        );
        for (said, words) in request.notes.iter().zip(notes) {
            assert!(said.contains(words), "{typed}: {said}");
        }
    }
}

/// B17.
#[test]
fn an_alias_outside_ascii_stays_as_it_is_written_and_a_dot_makes_no_other_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    let lines = "Host büro pаypal\n  HostName 10.0.0.5\nHost whole\n  HostName db.\n";
    std::fs::write(&file, lines).unwrap();
    let options = ConnectOptions {
        ssh: Flags {
            config: ConfigFile::Only(file),
            ..Flags::default()
        },
        ..ConnectOptions::default()
    };
    let connector = connector("{hosts: {desk: {ssh: 'me@büro'}}}", &[], options);
    for (typed, label, notes) in [
        ("хост", "xn--n1agdj", &["reads \"хост\""][..]),
        ("büro", "büro", &[]),
        ("desk", "desk (me@büro)", &[]),
        ("pаypal", "pаypal", &["the alias: \"pаypal\" mixes"]),
    ] {
        let request = connector.request(Some(typed)).unwrap();
        assert_eq!(request.label, label, "{typed}");
        let said = &request.notes;
        assert_eq!(said.len(), notes.len(), "{typed}: {said:?}");
        for (said, words) in said.iter().zip(notes) {
            assert!(said.contains(words), "{typed}: {said}");
        }
    }
    let far = RemoteEnd::Tcp {
        host: "127.0.0.1".into(),
        port: 1,
    };
    let id = |typed: &str| match connector.request(Some(typed)).unwrap().way {
        Way::Ssh(way) => way.gateway_id(&far).to_string(),
        Way::Local(_) | Way::Direct(_) => panic!("{typed}"),
    };
    assert_eq!(id("whole"), id("db"));
    assert_ne!(id("whole"), id("host"));
}
