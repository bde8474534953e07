//! Where programs are looked for, and what surroundings they get: fixed, whatever a caller says.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Refused;

/// Where programs are looked for.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Most names that are looked up at once.
const MAX_NAMES: usize = 256;
/// Variables that a program gets from the node's own surroundings; and every `LC_…`. A list of what is
/// let through, since no list of what is dangerous was ever complete.
const KEPT: [&str; 5] = ["HOME", "LANG", "TERM", "TZ", "USER"];

/// The file that a word names as a program: a path, or a name that is looked for.
pub(super) fn resolve(word: &str, cwd: &Path) -> Option<PathBuf> {
    if word.contains('/') {
        let path = cwd.join(word);
        return path.is_file().then_some(path);
    }
    let mut places = PATH.split(':').map(|place| Path::new(place).join(word));
    places.find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The variables of every program.
pub(super) fn environment() -> BTreeMap<String, String> {
    environment_in(std::env::vars_os())
}

/// The same in given surroundings.
fn environment_in(vars: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<String, String> {
    let is_kept = |name: &str| KEPT.contains(&name) || name.starts_with("LC_");
    let mut env: BTreeMap<String, String> = vars
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| is_kept(name))
        .collect();
    env.insert("PATH".into(), PATH.into());
    env
}

/// The directory of whoever runs the node.
pub(super) fn home() -> PathBuf {
    std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// Answers `system.which`.
pub(super) fn which(params: &Value) -> Result<Value, Refused> {
    let Some(names) = params["bins"].as_array() else {
        return Err(Refused::invalid("bins is not an array of texts"));
    };
    if names.len() > MAX_NAMES {
        return Err(Refused::invalid(format!(
            "bins has more than {MAX_NAMES} names"
        )));
    }
    let mut found = Map::new();
    for (index, name) in names.iter().enumerate() {
        let Some(name) = name.as_str() else {
            return Err(Refused::invalid(format!("bins[{index}] is not a text")));
        };
        // A path would tell which files there are.
        let is_name = !name.is_empty() && !name.contains(['/', '\0']) && name.len() <= 255;
        if is_name && let Some(path) = resolve(name, Path::new("/")) {
            found.insert(name.to_owned(), path.to_string_lossy().into());
        }
    }
    Ok(json!({ "bins": found }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_paths_are_not_looked_for() {
        let reply =
            which(&json!({"bins": ["sh", "../bin/sh", "/bin/sh", "", "nowhere-at-all"]})).unwrap();
        let bins = reply["bins"].as_object().unwrap();
        assert_eq!(bins.keys().collect::<Vec<_>>(), ["sh"]);
        for params in [
            json!({}),
            json!({"bins": [1]}),
            json!({"bins": vec!["x"; 300]}),
        ] {
            assert_eq!(which(&params).expect_err("refused").code, "INVALID_REQUEST");
        }
    }

    #[test]
    fn a_program_gets_what_is_on_the_list_and_nothing_else() {
        let names = [
            "HOME",
            "LC_ALL",
            "PATH",
            "LD_PRELOAD",
            "CARGO",
            "XLC_ALL",
            "USERNAME",
        ];
        let given = environment_in(names.iter().map(|name| (name.into(), "/given".into())));
        let given: Vec<(&str, &str)> = given.iter().map(|(n, v)| (&**n, &**v)).collect();
        let kept = [("HOME", "/given"), ("LC_ALL", "/given"), ("PATH", PATH)];
        assert_eq!(given, kept);
        let env = environment();
        let is_known = |name: &String| {
            name == "PATH" || KEPT.contains(&name.as_str()) || name.starts_with("LC_")
        };
        assert!(env.keys().all(is_known), "{env:?}");
        assert_eq!(env["PATH"], PATH);
    }
}
