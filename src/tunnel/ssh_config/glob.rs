//! File names with `*`, `?` and `[…]`, for `Include`.

use std::path::{Path, PathBuf};

/// Files that fit `pattern`, sorted; a pattern without wildcards gives itself when it exists. As in
/// the shell, a wildcard never fits a leading dot. Directories that cannot be read hold nothing.
pub(super) fn files(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?', '[']) {
            for path in &mut found {
                path.push(part);
            }
            continue;
        }
        found = found
            .iter()
            .flat_map(|directory| entries(directory, &name))
            .collect();
    }
    found.retain(|path| path.exists());
    found.sort();
    found
}

fn entries(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let place = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    let pattern: Vec<char> = pattern.chars().collect();
    entries
        .flatten()
        .filter(|entry| {
            let name: Vec<char> = entry.file_name().to_string_lossy().chars().collect();
            let hidden = name.first() == Some(&'.');
            (!hidden || pattern.first() == Some(&'.')) && fits(&name, &pattern)
        })
        .map(|entry| directory.join(entry.file_name()))
        .collect()
}

/// True when a file name fits a pattern. Stars are tried from the left, as in `wildcard::matches`.
fn fits(name: &[char], pattern: &[char]) -> bool {
    let (mut n, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&have) = name.get(n) {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
            continue;
        }
        match step(pattern.get(p..).unwrap_or_default(), have) {
            Some(length) => {
                p += length;
                n += 1;
            }
            None => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                star = Some((star_at, taken + 1));
                p = star_at + 1;
                n = taken + 1;
            }
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|c| *c == '*'))
}

/// How many pattern characters stand for `have` at the start of `pattern`, if they fit.
fn step(pattern: &[char], have: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', set @ ..] => {
            let (negated, skipped) = match set {
                ['!' | '^', ..] => (true, 1),
                _ => (false, 0),
            };
            let members = set.get(skipped..)?;
            // A bracket right at the start is a member.
            let Some(length) = members.iter().skip(1).position(|c| *c == ']') else {
                return (have == '[').then_some(1);
            };
            let members = members.get(..=length)?;
            let fits = class_holds(members, have) != negated;
            fits.then_some(1 + skipped + members.len() + 1)
        }
        [want, ..] if *want == have => Some(1),
        _ => None,
    }
}

fn class_holds(mut members: &[char], have: char) -> bool {
    loop {
        match members {
            [from, '-', to, rest @ ..] => {
                if (*from..=*to).contains(&have) {
                    return true;
                }
                members = rest;
            }
            [one, rest @ ..] => {
                if *one == have {
                    return true;
                }
                members = rest;
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_as_in_the_shell() {
        for (name, pattern, expected) in [
            ("10-home.conf", "*.conf", true),
            ("10-home.conf", "[0-9][0-9]-*", true),
            ("a", "[!a]", false),
            ("b", "[!a]", true),
            ("]", "[]]", true),
            ("[", "[", true),
            ("abc", "a?c", true),
            ("abc", "*b", false),
            ("", "*", true),
        ] {
            let (name, pattern): (Vec<char>, Vec<char>) =
                (name.chars().collect(), pattern.chars().collect());
            assert_eq!(fits(&name, &pattern), expected, "{name:?} {pattern:?}");
        }
    }

    #[test]
    fn files_come_sorted_and_hidden_ones_stay_out() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", ".hidden.conf", "c.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let found = files(&dir.path().join("*.conf"));
        assert_eq!(
            found,
            ["a.conf", "b.conf"].map(|name| dir.path().join(name))
        );
        assert_eq!(files(&dir.path().join("c.txt")).len(), 1);
        assert!(files(&dir.path().join("none")).is_empty());
        assert!(files(&dir.path().join("x/*/y")).is_empty());
    }
}
