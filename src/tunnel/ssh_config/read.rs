//! Reading configuration files for one host: blocks, includes, and which lines count.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use super::env::Env;
use super::error::SshConfigError;
use super::exec;
use super::expand::{self, Tokens};
use super::flags::{ConfigFile, Flags, OwnSetting};
use super::glob;
use super::match_block::{self, Facts, MatchError};
use super::options::{Options, Said};
use super::resolve::{DEFAULT_PORT, line_error};
use super::source::Source;
use super::tokens::{split_criteria, split_keyword, split_words};
use super::values::{self, Applied};
use crate::bounded_file::read_bounded;
use crate::tunnel::wildcard;

/// How deep files may include one another; ssh's limit.
const MAX_DEPTH: usize = 16;

/// Largest configuration file that is read.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// One reading of all files for one host.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    pub(super) env: &'a Env,
    /// What `Host` lines are compared with: the host as typed, or its real name in the final pass.
    pub(super) host: &'a str,
    /// The host as it was typed.
    pub(super) original: &'a str,
    pub(super) is_final: bool,
    /// `Match exec` may run its command.
    pub(super) allow_exec: bool,
    /// Set when a `Match final` was met.
    pub(super) wants_final: bool,
    pub(super) options: &'a mut Options,
}

/// What is known of a host while its files are read.
struct Known {
    host: String,
    port: u16,
    user: String,
    key_alias: String,
}

/// Whose file is read.
#[derive(Debug, Clone, Copy)]
struct Scope {
    /// The user's: relative includes live in `~/.ssh`, and `~` is known.
    is_users: bool,
    /// Owner and mode have to be safe.
    check_permissions: bool,
    /// Included from a block that does not apply: nothing in it can.
    is_dead: bool,
    depth: usize,
}

impl Pass<'_> {
    /// Reads the files that the flags name.
    pub(super) fn read_all(&mut self, flags: &Flags) -> Result<(), SshConfigError> {
        let env = self.env;
        let users = Scope {
            is_users: true,
            check_permissions: true,
            is_dead: false,
            depth: 0,
        };
        match &flags.config {
            ConfigFile::None => Ok(()),
            ConfigFile::Only(path) => {
                let scope = Scope {
                    check_permissions: false,
                    ..users
                };
                self.read_file(path, scope, true)
            }
            ConfigFile::Standard => {
                missing_is_empty(self.read_file(&env.user_config, users, true))?;
                let system = Scope {
                    is_users: false,
                    check_permissions: false,
                    ..users
                };
                missing_is_empty(self.read_file(&env.system_config, system, true))
            }
        }
    }

    /// Applies what our own configuration says.
    pub(super) fn apply_own(&mut self, own: &OwnSetting) -> Result<(), SshConfigError> {
        let at = Source::Own(own.at.clone());
        let quoted = format!(
            "\"{}\"",
            own.value.replace('\\', "\\\\").replace('"', "\\\"")
        );
        let outcome = values::apply(self.options, own.keyword, &quoted, &at);
        outcome.map(drop).map_err(|what| line_error(&at, what))
    }

    /// Applies one `-o`.
    pub(super) fn apply_flag(&mut self, option: &str) -> Result<(), SshConfigError> {
        let bad = |what: String| SshConfigError::Line {
            at: Source::Flag,
            what,
        };
        let Some((keyword, rest)) = split_keyword(option) else {
            return Err(bad("-o needs KEY=VALUE".into()));
        };
        if ["host", "match", "include"].contains(&&*keyword.to_ascii_lowercase()) {
            return Err(bad(format!("{keyword} cannot stand behind -o")));
        }
        match values::apply(self.options, keyword, rest, &Source::Flag).map_err(bad)? {
            Applied::Yes => Ok(()),
            Applied::Unknown => Err(bad(format!(
                "-o {} is no option of ssh",
                crate::layer::printable(keyword, 64)
            ))),
        }
    }

    fn read_file(&mut self, path: &Path, scope: Scope, active: bool) -> Result<(), SshConfigError> {
        let text = read(path, scope.check_permissions, self.env.uid)?;
        let mut active = active && !scope.is_dead;
        for (index, line) in text.split('\n').enumerate() {
            let at = Source::line(path, index + 1);
            if let Some((keyword, rest)) = split_keyword(line) {
                active = self.line(keyword, rest, at, scope, active)?;
            }
        }
        Ok(())
    }

    /// Takes one line; answers whether the lines that follow apply.
    fn line(
        &mut self,
        keyword: &str,
        rest: &str,
        at: Source,
        scope: Scope,
        active: bool,
    ) -> Result<bool, SshConfigError> {
        let bad = |what: String| SshConfigError::Line {
            at: at.clone(),
            what,
        };
        match keyword.to_ascii_lowercase().as_str() {
            "host" => {
                let patterns = split_words(rest).map_err(|_| bad(open_quote(keyword)))?;
                if patterns.is_empty() || patterns.iter().any(String::is_empty) {
                    return Err(bad("Host needs a pattern".into()));
                }
                let words = patterns.iter().map(String::as_str);
                let matched = wildcard::matches_list(self.host, words);
                let applies = !scope.is_dead && matched == wildcard::ListMatch::Matched;
                self.options.is_named |=
                    applies && patterns.iter().any(|p| p.eq_ignore_ascii_case(self.host));
                Ok(applies)
            }
            "match" => {
                let words = split_criteria(rest).map_err(|_| bad(open_quote(keyword)))?;
                self.match_line(&words, &at, scope)
            }
            "include" => {
                let words = split_words(rest).map_err(|_| bad(open_quote(keyword)))?;
                if words.is_empty() || words.iter().any(String::is_empty) {
                    return Err(bad("Include needs a file".into()));
                }
                for word in &words {
                    self.include(word, &at, scope, active)?;
                }
                Ok(active)
            }
            _ if !active => Ok(false),
            // Debian's own file has it for everybody; nobody there asked for it.
            "gssapiauthentication" if !scope.is_users => Ok(true),
            _ => {
                if values::apply(self.options, keyword, rest, &at).map_err(bad)? == Applied::Unknown
                {
                    self.options
                        .notice(keyword, "is no option of ssh that we know; skipped", &at);
                }
                Ok(true)
            }
        }
    }

    fn match_line(
        &mut self,
        words: &[String],
        at: &Source,
        scope: Scope,
    ) -> Result<bool, SshConfigError> {
        if scope.is_dead {
            let asks = |word: &String| word.trim_start_matches('!').eq_ignore_ascii_case("final");
            self.wants_final |= words.iter().any(asks);
            return Ok(false);
        }
        let known = self.known()?;
        let facts = Facts {
            host: &known.host,
            original: self.original,
            user: &known.user,
            local_user: &self.env.local_user,
            is_final_pass: self.is_final,
        };
        let exec = |command: &str| {
            if !self.allow_exec {
                return Err(MatchError::ExecForbidden);
            }
            let command = self.tokens(&known).expand(command, expand::IN_PATHS);
            let outcome = command.and_then(|command| exec::succeeds(&command, self.env));
            outcome.map_err(MatchError::Bad)
        };
        match match_block::judge(words, facts, exec) {
            Ok(outcome) => {
                self.wants_final |= outcome.wants_final;
                Ok(outcome.applies)
            }
            Err(MatchError::Bad(what)) => Err(SshConfigError::Line {
                at: at.clone(),
                what,
            }),
            Err(MatchError::ExecForbidden) => Err(SshConfigError::Unsupported {
                at: at.clone(),
                what: "\"Match exec\" would run a command, which is not allowed".into(),
                next: "allow it with tunnel.allowMatchExec: true in clawline.json5, or read another file with -F"
                    .into(),
            }),
            Err(MatchError::Unsupported(name)) => Err(SshConfigError::Unsupported {
                at: at.clone(),
                what: format!(
                    "\"Match {}\" is not supported, and skipping it could reach another host or user",
                    crate::layer::printable(&name, 64)
                ),
                next: "use Match host, originalhost, user, localuser, exec, final or all, or read another file with -F"
                    .into(),
            }),
        }
    }

    /// What is known so far; defaults for the rest.
    fn known(&self) -> Result<Known, SshConfigError> {
        let options = &*self.options;
        let host = match &options.host_name {
            Some(said) if !self.is_final => expand::host_name(&said.value, self.host)
                .map_err(|what| line_error(&said.source, what))?,
            _ => self.host.to_owned(),
        };
        let said = |said: &Said<String>, default: &str| {
            let said = said.as_ref().map(|said| said.value.clone());
            said.unwrap_or_else(|| default.to_owned())
        };
        Ok(Known {
            user: said(&options.user, &self.env.local_user),
            key_alias: said(&options.host_key_alias, self.original),
            port: options
                .port
                .as_ref()
                .map_or(DEFAULT_PORT, |said| said.value),
            host,
        })
    }

    fn tokens<'a>(&'a self, known: &'a Known) -> Tokens<'a> {
        Tokens {
            env: self.env,
            typed: self.original,
            host: &known.host,
            port: known.port,
            user: &known.user,
            key_alias: &known.key_alias,
            jump: "",
        }
    }

    fn include(
        &mut self,
        word: &str,
        at: &Source,
        scope: Scope,
        active: bool,
    ) -> Result<(), SshConfigError> {
        let bad = |what: String| SshConfigError::Line {
            at: at.clone(),
            what,
        };
        if scope.depth >= MAX_DEPTH {
            return Err(SshConfigError::TooDeep { at: at.clone() });
        }
        if word.starts_with('~') && !scope.is_users {
            return Err(bad("a system file cannot include from \"~\"".into()));
        }
        let known = self.known()?;
        let path = self.tokens(&known).path(word).map_err(bad)?;
        let directory = if scope.is_users {
            self.env.home.join(".ssh")
        } else {
            self.env.system_directory().to_owned()
        };
        let inner = Scope {
            check_permissions: true,
            is_dead: scope.is_dead || !active,
            depth: scope.depth + 1,
            ..scope
        };
        // An absolute path replaces the directory.
        for file in glob::files(&directory.join(path)) {
            missing_is_empty(self.read_file(&file, inner, active))?;
        }
        Ok(())
    }
}

fn open_quote(keyword: &str) -> String {
    format!("a quote is not closed after {keyword}")
}

fn missing_is_empty(result: Result<(), SshConfigError>) -> Result<(), SshConfigError> {
    match result {
        Err(SshConfigError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        other => other,
    }
}

/// Reads a file; a directory is an empty one, as for ssh. Bytes that are not UTF-8 are replaced.
fn read(path: &Path, check_permissions: bool, uid: u32) -> Result<String, SshConfigError> {
    let (bytes, meta) = match read_bounded(path, MAX_FILE_BYTES) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Ok(String::new()),
        Err(source) => {
            return Err(SshConfigError::Read {
                file: path.to_owned(),
                source,
            });
        }
    };
    if check_permissions && !is_safe(&meta, uid) {
        return Err(SshConfigError::Permissions {
            file: path.to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Ours or root's, and nobody else may write.
#[cfg(unix)]
fn is_safe(meta: &Metadata, uid: u32) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (meta.uid() == 0 || meta.uid() == uid) && meta.mode() & 0o022 == 0
}

#[cfg(not(unix))]
fn is_safe(_: &Metadata, _: u32) -> bool {
    true
}
