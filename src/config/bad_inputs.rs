//! Files that must fail, each with what the message has to say.

use super::*;

fn errors(text: &str) -> String {
    let file = FileText {
        path: Path::new("/c/clawline.json5"),
        dialect: Dialect::Ours,
        text,
    };
    let env = Environment::below(Path::new("/home/me"));
    match fold(&env, Program::Gateway, &[], Some(file)) {
        Ok(folded) => {
            let problems = check::check_serving(&folded.config, &folded.values);
            ConfigErrors(problems).to_string()
        }
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn each_mistake_is_named_with_its_place_its_key_and_what_would_be_right() {
    for (text, parts) in [
        (
            r#"{ gateway: { port: "abc" } }"#,
            &[
                "/c/clawline.json5:1:20: gateway.port: must be a whole number from 1 to 65535",
                "\"abc\"",
            ][..],
        ),
        (
            "{ gateway: { prot: 18789 } }",
            &[
                "/c/clawline.json5:1:14: gateway.prot: unknown key",
                "did you mean \"port\"?",
            ],
        ),
        (
            "{ gateway: { port: 70000 }\n",
            &[
                "/c/clawline.json5:2:1: ends too early",
                "\"{\" opened at 1:1",
            ],
        ),
        (
            "{ gateway: { port: 18789, port: 18790 } }",
            &[
                "/c/clawline.json5:1:27: gateway.port: is there twice",
                "1:14",
            ],
        ),
        (
            r#"{ gateway: { bind: "0.0.0.0" } }"#,
            &[
                "gateway.bind: must be one of loopback, lan, tailnet, custom, auto",
                "0.0.0.0",
            ],
        ),
        (
            r#"{ gateway: { bind: "lan", auth: { mode: "none" } } }"#,
            &["gateway.auth.mode", "loopback alone"],
        ),
        (
            r#"{ gateway: { auth: { mode: "token", token: "" } } }"#,
            &["gateway.auth.token: is empty"],
        ),
        (
            r#"{ gateway: { auth: { token: "undefined" } } }"#,
            &["gateway.auth.token: is a placeholder"],
        ),
        (
            r#"{ gateway: { auth: { password: "replace-me" } } }"#,
            &["gateway.auth.password: is a placeholder"],
        ),
        ("{ __proto__: { x: 1 } }", &["__proto__: unknown key"]),
        ("{ constructor: 1 }", &["constructor: unknown key"]),
        (
            "{ gateway: { port: 1e999 } }",
            &["1:20: gateway.port: is no finite number"],
        ),
        (
            "{ gateway: { port: NaN } }",
            &["gateway.port: is no finite number"],
        ),
        (
            "{ gateway: { port: -Infinity } }",
            &["gateway.port: is no finite number"],
        ),
        (
            "{ gateway: { port: 0x7fffffffffffffff } }",
            &["gateway.port: must be a whole number"],
        ),
        (
            "{ gateway: { port: -0 } }",
            &["gateway.port: must be a whole number"],
        ),
        (
            "{ gateway: { port: 18789.5 } }",
            &["gateway.port: must be a whole number"],
        ),
        ("{ gateway: { port: } }", &["/c/clawline.json5:1:"]),
        ("[]", &["must hold one object"]),
    ] {
        let told = errors(text);
        for part in parts {
            assert!(told.contains(part), "{text}: {part}\n in\n{told}");
        }
        for secret in ["undefined", "replace-me"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
    assert_eq!(errors("{ gateway: { port: 18789 } }"), "");
}

#[test]
fn control_characters_of_a_value_are_shown_not_sent() {
    let told = errors("{ gateway: { bind: '\\u001b]0;x\\u0007' } }");
    assert!(told.contains("\\u{1b}]0;x\\u{7}"), "{told}");
    assert!(!told.contains('\u{1b}'));
}

#[test]
fn what_is_no_text_or_too_much_of_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let env = Environment::below(dir.path());
    let told = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        refusal(&env, &path)
    };
    let utf16: Vec<u8> = "\u{feff}{}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert!(told("utf16", &utf16).contains("looks like UTF-16"));
    assert!(told("bytes", b"{a: '\xff'}").contains("is not UTF-8"));
    let large = vec![b' '; 20 << 20];
    assert!(told("large", &large).contains("is longer than 1048576 bytes"));
    assert!(told("deep", "[".repeat(100_000).as_bytes()).contains("nested deeper than 64"));
    assert!(refusal(&env, dir.path()).contains("is no regular file"));
    assert!(refusal(&env, Path::new("/dev/zero")).contains("is no regular file"));
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refusal(&env, &fifo).contains("is no regular file"));
    let with_mark = dir.path().join("bom");
    std::fs::write(&with_mark, "\u{feff}{}").unwrap();
    assert_eq!(refusal(&env, &with_mark), "");
}

fn refusal(env: &Environment, path: &Path) -> String {
    let request = LoadRequest {
        program: Program::Gateway,
        file: Some(path.to_owned()),
        profile: None,
        flags: Vec::new(),
    };
    load(env, &request).map_or_else(|errors| errors.to_string(), |_| String::new())
}
