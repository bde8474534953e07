//! Commands that are never allowed by a list: those that run something else than what their first word
//! names, and those that a shell would read differently. A person is always asked about them.

use std::path::Path;

/// Programs that run what their arguments say.
const WRAPPERS: &[&str] = &[
    // Shells.
    "sh",
    "bash",
    "dash",
    "zsh",
    "ksh",
    "mksh",
    "fish",
    "csh",
    "tcsh",
    "ash",
    "rbash",
    "pwsh",
    "powershell",
    "cmd",
    "nu",
    "elvish",
    "xonsh",
    "busybox",
    "toybox",
    // Programs that start another.
    "env",
    "xargs",
    "time",
    "nice",
    "ionice",
    "nohup",
    "timeout",
    "stdbuf",
    "setsid",
    "setarch",
    "chroot",
    "unshare",
    "nsenter",
    "flock",
    "script",
    "watch",
    "parallel",
    "sudo",
    "doas",
    "su",
    "runuser",
    "pkexec",
    "systemd-run",
    "start-stop-daemon",
    "strace",
    "ltrace",
    "gdb",
    "lldb",
    "valgrind",
    "perf",
    "chrt",
    "taskset",
    "prlimit",
    "numactl",
    "firejail",
    "bwrap",
    "proot",
    "fakeroot",
    "dbus-run-session",
    "expect",
    "unbuffer",
    "entr",
    "at",
    "batch",
    "crontab",
    "tmux",
    "screen",
    "ssh",
    "scp",
    "sftp",
    "rsync",
    "docker",
    "podman",
    "kubectl",
    "lxc",
    "machinectl",
    "capsh",
    "setpriv",
    "newgrp",
    "sg",
    "ld",
    "ld.so",
    // Programs that read what they run from where they are started.
    "prove",
    "cpan",
    "pydoc",
    "pydoc3",
    "dpkg-buildpackage",
    "run-parts",
    "ldd",
    "c89",
    "c99",
    "sensible-editor",
    "sensible-pager",
    "sensible-browser",
    "coproc",
    "exec",
    "command",
    "builtin",
    "eval",
    "trap",
    "source",
    // Interpreters.
    "python",
    "pypy",
    "perl",
    "ruby",
    "node",
    "nodejs",
    "deno",
    "bun",
    "php",
    "lua",
    "luajit",
    "tclsh",
    "wish",
    "awk",
    "gawk",
    "mawk",
    "nawk",
    "sed",
    "ed",
    "ex",
    "vi",
    "vim",
    "nvim",
    "emacs",
    "java",
    "scala",
    "groovy",
    "guile",
    "racket",
    "sbcl",
    "clisp",
    "r",
    "rscript",
    "julia",
    "octave",
    "gnuplot",
    "m4",
    "make",
    "gmake",
    "cmake",
    "ninja",
    "cargo",
    "rustc",
    "rustup",
    "go",
    "gcc",
    "cc",
    "g++",
    "clang",
    "npm",
    "npx",
    "pnpm",
    "yarn",
    "pip",
    "pipx",
    "uv",
    "uvx",
    "gem",
    "bundle",
    "rake",
    "mvn",
    "gradle",
    "dc",
    "bc",
    "sqlite",
    "psql",
    "mysql",
    "jq",
    "yq",
    "osascript",
    "find",
    "fd",
    "tar",
    "zip",
    "unzip",
    "7z",
    "git",
    "hg",
    "svn",
    "less",
    "more",
    "man",
    "openssl",
    "socat",
    "nc",
    "ncat",
    "telnet",
    "ftp",
    "wget",
    "curl",
    "aria2c",
    "mail",
    "mutt",
    "logrotate",
    "run-parts",
    "ip",
    "tcpdump",
    "nmap",
    "sort",
    "split",
    "pic",
    "troff",
    "eqn",
];

/// What a shell reads as more than text.
const METACHARACTERS: &str = "|&;<>()$`\\\"'*?[]{}!~#^\n";

/// Parts of options that name another program or file with commands.
const OPTION_PARTS: &[&str] = &[
    "exec",
    "program",
    "command",
    "rsh",
    "pager",
    "editor",
    "shell",
    "hook",
    "proxy",
    "checkpoint",
    "filter",
    "preload",
    "plugin",
    "config",
    "upload-pack",
    "ext::",
];

/// Why a person has to be asked about `argv` whatever a list says; `None` when a list may allow it.
pub(super) fn always_asks(argv: &[String], exe: &Path) -> Option<String> {
    let first = argv.first().map(String::as_str).unwrap_or_default();
    let file = exe.to_string_lossy();
    for name in [first, &*file] {
        let name = base(name);
        if WRAPPERS.contains(&name.as_str()) || name.starts_with("ld-") {
            return Some(format!("{name} can run something else"));
        }
    }
    if first.contains('=') {
        return Some("it starts with a variable".into());
    }
    let odd = |c: char| !c.is_ascii_graphic() && c != ' ' || METACHARACTERS.contains(c);
    if argv.iter().any(|word| word.contains(odd)) {
        return Some("a shell would read it differently".into());
    }
    let names_another = |word: &String| {
        let word = word.to_ascii_lowercase();
        OPTION_PARTS.iter().any(|part| word.contains(part))
    };
    if argv.iter().skip(1).any(names_another) {
        return Some("an option may name another program".into());
    }
    None
}

/// The name of a program without directory, version and `.exe`.
fn base(program: &str) -> String {
    let name = program
        .trim()
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default();
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".exe").unwrap_or(&name);
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || ".-_".contains(c));
    // `7z` and `gcc-13` both have a name.
    if bare.is_empty() || WRAPPERS.contains(&name) {
        name
    } else {
        bare
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words as a person types them; quotes hold a word together.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in line.chars() {
            match (quote, c) {
                (Some(q), c) if c == q => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None, ' ') if !word.is_empty() => words.push(std::mem::take(&mut word)),
                (None, ' ') => {}
                (_, c) => word.push(c),
            }
        }
        if !word.is_empty() {
            words.push(word);
        }
        words
    }

    const NEVER: &[&str] = &[
        r#"env -S "sh -c id""#,
        "env -i id",
        "/usr/bin/env id",
        "busybox sh -c id",
        "toybox nc",
        r#"bash -c 'exec "$0"' /bin/id"#,
        "bash --rcfile /tmp/x",
        "sh -c id",
        "/bin/sh -c id",
        "dash script.sh",
        "zsh -c id",
        "pwsh -EncodedCommand aQBkAA==",
        "powershell.exe -enc aQBkAA==",
        "cmd.exe /c dir",
        "ls $(id)",
        "ls `id`",
        "ls; id",
        "ls && id",
        "ls | sh",
        "ls > /tmp/x",
        "ls < /tmp/x",
        "ls &",
        "echo $HOME",
        "echo ${IFS}",
        "cat <<EOF",
        "echo a\\\nb",
        "echo a\nid",
        "sort --compress-program=id",
        "sort --compress-program id",
        r#"FOO=bar SHELLOPTS=xtrace PS4='$(id)' bash x"#,
        "FOO=bar ls",
        "time id",
        "/usr/bin/time -o /tmp/x id",
        "script -c id",
        "flock /tmp/lock id",
        "nice -n 5 id",
        "ionice id",
        "nohup id",
        "timeout 5 id",
        "stdbuf -o0 id",
        "setsid id",
        "xargs id",
        "find . -exec id",
        "find . -delete",
        "tar --checkpoint-action=exec=id",
        "tar -I id -xf x",
        "git -c core.pager=id log",
        "git clone ext::id",
        "rsync -e id a b",
        "ssh -o ProxyCommand=id host",
        "sudo id",
        "python3 -c pass",
        "python3.11 x.py",
        "perl5.36 -e 1",
        "node22 x.js",
        "ruby -e 1",
        "awk BEGIN",
        "sed -n 1e",
        "vim -c x",
        "make -f x",
        "less x",
        "man -P id ls",
        "watch id",
        "systemd-run id",
        "curl -K x",
        "ld.so id",
        "ls \u{200b}",
        "ls a\u{ff5c}b",
    ];

    #[test]
    fn no_wrapper_and_nothing_that_a_shell_reads_differently_is_allowed_by_a_list() {
        assert!(NEVER.len() >= 60, "{}", NEVER.len());
        for line in NEVER {
            let argv = words(line);
            assert!(always_asks(&argv, Path::new(&argv[0])).is_some(), "{line}");
        }
    }

    #[test]
    fn a_wrapper_under_another_name_is_found_by_its_file() {
        let argv = words("/home/me/tool -x");
        assert!(always_asks(&argv, Path::new("/usr/bin/bash")).is_some());
        assert!(always_asks(&argv, Path::new("/usr/bin/tool")).is_none());
    }

    #[test]
    fn plain_commands_may_be_listed() {
        for line in [
            "uptime",
            "df -h",
            "ls -la /var/log",
            "systemctl status nginx.service",
            "/usr/bin/id -u",
        ] {
            let argv = words(line);
            assert_eq!(always_asks(&argv, Path::new(&argv[0])), None, "{line}");
        }
    }
}
