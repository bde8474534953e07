//! The tables of differences: what an answer or event of ours has otherwise than the recorded one, and why.
//! A difference that no row names fails, and so does a row that no difference needs.

use std::collections::BTreeSet;
use std::fmt;

/// How something of ours differs from what was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// We lack a member, or the items of a list.
    Missing,
    /// We have a member, or items, that no recording has.
    Added,
    /// Ours is of a type that no recording has there.
    Type,
    /// We refuse what was answered, or answer what was refused.
    Outcome,
    /// A refusal has another code or other words.
    Words,
    /// Whatever is below is not ours to shape.
    Free,
    /// We lack some of what is below.
    Less,
}

/// One reason for differences of a method's answers, or of an event.
pub struct Row {
    /// The method, or the event with its kind.
    of: &'static str,
    how: How,
    /// Where, from the payload; `*` is every item of a list.
    paths: &'static [&'static str],
    why: &'static str,
}

const WHOLE: &[&str] = &[""];

pub const fn missing(of: &'static str, paths: &'static [&'static str], why: &'static str) -> Row {
    row(of, How::Missing, paths, why)
}

pub const fn added(of: &'static str, paths: &'static [&'static str], why: &'static str) -> Row {
    row(of, How::Added, paths, why)
}

pub const fn typed(of: &'static str, paths: &'static [&'static str], why: &'static str) -> Row {
    row(of, How::Type, paths, why)
}

pub const fn free(of: &'static str, paths: &'static [&'static str], why: &'static str) -> Row {
    row(of, How::Free, paths, why)
}

pub const fn less(of: &'static str, paths: &'static [&'static str], why: &'static str) -> Row {
    row(of, How::Less, paths, why)
}

pub const fn outcome(of: &'static str, why: &'static str) -> Row {
    row(of, How::Outcome, WHOLE, why)
}

/// For some `cases` of a recording.
pub const fn outcomes(of: &'static str, cases: &'static [&'static str], why: &'static str) -> Row {
    row(of, How::Outcome, cases, why)
}

/// For some `cases` of a recording.
pub const fn wordings(of: &'static str, cases: &'static [&'static str], why: &'static str) -> Row {
    row(of, How::Words, cases, why)
}

pub const fn words(of: &'static str, why: &'static str) -> Row {
    row(of, How::Words, WHOLE, why)
}

const fn row(of: &'static str, how: How, paths: &'static [&'static str], why: &'static str) -> Row {
    Row {
        of,
        how,
        paths,
        why,
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    pub of: String,
    pub how: How,
    pub path: String,
    /// What is behind it, for outcomes and words.
    pub detail: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            of,
            how,
            path,
            detail,
        } = self;
        write!(f, "{of}: {how:?} {path:?} {detail}")
    }
}

/// What is wrong with the differences that were found, in the light of a table.
pub fn verdict(found: &BTreeSet<Difference>, rows: &[&[Row]]) -> Vec<String> {
    let mut complaints = Vec::new();
    let rows: Vec<&Row> = rows.iter().copied().flatten().collect();
    for difference in found {
        if !rows
            .iter()
            .any(|row| row.paths.iter().any(|path| row.explains(path, difference)))
        {
            complaints.push(format!("no row explains {difference}"));
        }
    }
    for row in rows {
        if row.why.is_empty() {
            complaints.push(format!("the row of {} gives no reason", row.of));
        }
        for path in row.paths {
            if !found
                .iter()
                .any(|difference| row.explains(path, difference))
            {
                complaints.push(format!(
                    "no longer needed: {} {:?} {path:?}",
                    row.of, row.how
                ));
            }
        }
    }
    complaints
}

impl Row {
    fn explains(&self, path: &str, difference: &Difference) -> bool {
        let is_below = || {
            let rest = difference.path.strip_prefix(path);
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let is_there = match self.how {
            How::Free => is_below(),
            How::Less => difference.how == How::Missing && is_below(),
            how => how == difference.how && path == difference.path,
        };
        self.of == difference.of && is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(how: How, path: &str) -> BTreeSet<Difference> {
        BTreeSet::from([Difference {
            of: "m".into(),
            how,
            path: path.into(),
            detail: String::new(),
        }])
    }

    #[test]
    fn a_difference_needs_a_row_and_a_row_a_difference() {
        let rows: &[&[Row]] = &[&[missing("m", &["/a"], "because")]];
        assert!(verdict(&found(How::Missing, "/a"), rows).is_empty());
        assert_eq!(verdict(&BTreeSet::new(), rows).len(), 1);
        assert_eq!(verdict(&found(How::Missing, "/b"), rows).len(), 2);
        assert_eq!(verdict(&found(How::Added, "/a"), rows).len(), 2);
        assert_eq!(verdict(&found(How::Missing, "/a"), &[]).len(), 1);
        let other: &[&[Row]] = &[&[missing("n", &["/a"], "because")]];
        assert_eq!(verdict(&found(How::Missing, "/a"), other).len(), 2);
        let mute: &[&[Row]] = &[&[missing("m", &["/a"], "")]];
        assert_eq!(verdict(&found(How::Missing, "/a"), mute).len(), 1);
    }

    #[test]
    fn what_is_less_below_a_path_is_neither_more_nor_of_another_type() {
        let rows: &[&[Row]] = &[&[less("m", &["/a"], "theirs has a hundred members")]];
        assert!(verdict(&found(How::Missing, "/a/b"), rows).is_empty());
        assert_eq!(verdict(&found(How::Type, "/a/b"), rows).len(), 2);
        assert_eq!(verdict(&found(How::Added, "/a/b"), rows).len(), 2);
        assert_eq!(verdict(&found(How::Missing, "/b"), rows).len(), 2);
    }

    #[test]
    fn what_is_free_is_free_below_its_path_alone() {
        let rows: &[&[Row]] = &[&[free("m", &["/a"], "a text of the user's")]];
        assert!(verdict(&found(How::Type, "/a/b"), rows).is_empty());
        assert_eq!(verdict(&found(How::Type, "/a"), rows).len(), 2);
        assert_eq!(verdict(&found(How::Added, "/ab"), rows).len(), 2);
    }
}
