//! Which arguments a command's text stands for. Pure.

/// The shells whose one script stands for the whole command: by their full path, because a program of
/// any other place can have such a name.
const SHELLS: [&str; 14] = [
    "/bin/sh",
    "/usr/bin/sh",
    "/bin/bash",
    "/usr/bin/bash",
    "/bin/dash",
    "/usr/bin/dash",
    "/bin/ash",
    "/usr/bin/ash",
    "/bin/zsh",
    "/usr/bin/zsh",
    "/bin/ksh",
    "/usr/bin/ksh",
    "/bin/fish",
    "/usr/bin/fish",
];
/// How the official clients call the shell of Windows.
const CMD: [&str; 4] = ["cmd.exe", "/d", "/s", "/c"];

/// Whether a `rawCommand` says what the arguments do: the arguments as the official clients quote
/// them, or the script that a shell is given.
pub(super) fn is_raw_of(raw: &str, argv: &[String]) -> bool {
    let quoted: Vec<String> = argv.iter().map(|arg| quoted(arg)).collect();
    raw == quoted.join(" ").trim() || is_script(raw, argv)
}

/// Whether somebody who approved this text, and saw nothing else, approved these arguments: the text
/// is a shell's script, or names each argument and none of them means anything to a shell.
pub(super) fn is_approved_as(text: &str, argv: &[String]) -> bool {
    // "A=1 ls" is a variable to a shell, and no program.
    let is_program = argv.first().is_some_and(|program| !program.contains('='));
    is_script(text, argv)
        || (is_program && argv.iter().all(|arg| is_plain(arg)) && text == argv.join(" "))
}

fn is_script(text: &str, argv: &[String]) -> bool {
    let script = match argv {
        [shell, flag, script] if SHELLS.contains(&shell.as_str()) => {
            matches!(flag.as_str(), "-c" | "-lc").then_some(script)
        }
        [call @ .., script] if call == CMD => Some(script),
        _ => None,
    };
    // Other blanks than these mean something to a shell.
    script.is_some_and(|script| script.trim_ascii() == text.trim_ascii())
}

/// Whether a shell that reads the argument would get this very argument.
fn is_plain(arg: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:,+@%=".contains(c);
    !arg.is_empty() && arg.chars().all(is_plain)
}

/// As the official clients quote an argument in a text for people.
fn quoted(arg: &str) -> String {
    if arg.is_empty() {
        "\"\"".to_owned()
    } else if arg.contains('"') || arg.chars().any(char::is_whitespace) {
        format!("\"{}\"", arg.replace('"', "\\\""))
    } else {
        arg.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_raw_command_says_what_the_arguments_do() {
        for (args, raw, is_good) in [
            (&["ls", "-l"][..], "ls -l", true),
            (&["echo", "a b"], "echo \"a b\"", true),
            (&["/bin/sh", "-lc", "ls | wc"], "ls | wc", true),
            (
                &["cmd.exe", "/d", "/s", "/c", "dir | more"],
                "dir | more",
                true,
            ),
            (&["rm", "-rf", "x"], "ls", false),
            (&["/bin/sh", "-lc", "rm x", "ls"], "ls", false),
            (&["env", "sh", "-c", "ls"], "ls", false),
            (&["/opt/evil/sh", "-c", "ls"], "ls", false),
            (&["sh", "-c", "ls"], "ls", false),
            (&["/tmp/cmd.exe", "/c", "ls"], "ls", false),
            (&["/bin/sh", "-x", "ls"], "ls", false),
        ] {
            assert_eq!(is_raw_of(raw, &argv(args)), is_good, "{args:?}");
        }
    }

    #[test]
    fn an_approved_text_covers_only_what_it_shows() {
        for (args, text, is_good) in [
            (&["ls", "-l"][..], "ls -l", true),
            (&["/usr/bin/env", "A=1", "ls"], "/usr/bin/env A=1 ls", true),
            (&["/bin/sh", "-lc", "ls | wc"], "ls | wc", true),
            (
                &["cmd.exe", "/d", "/s", "/c", "dir | more"],
                "dir | more",
                true,
            ),
            // A program that only has a shell's name.
            (&["/opt/evil/sh", "-c", "ls"], "ls", false),
            (&["./sh", "-c", "ls"], "ls", false),
            (&["sh", "-c", "ls"], "ls", false),
            (&["/bin/../tmp/sh", "-c", "ls"], "ls", false),
            (&["C:\\evil\\cmd.exe", "/d", "/s", "/c", "ls"], "ls", false),
            // Where one argument ends cannot be seen.
            (&["rm", "a b"], "rm a b", false),
            (&["rm -rf", "x"], "rm -rf x", false),
            (&["echo", ""], "echo ", false),
            (&["echo", "\"x"], "echo \"x", false),
            // It means something else to a shell.
            (&["echo", "$(id)"], "echo $(id)", false),
            (&["echo", "a;id"], "echo a;id", false),
            (&["echo", "*"], "echo *", false),
            (&["A=1", "ls"], "A=1 ls", false),
            (&["/bin/sh", "-c", "\u{a0}ls"], "ls", false),
        ] {
            assert_eq!(is_approved_as(text, &argv(args)), is_good, "{args:?}");
        }
    }
}
