//! OpenSSH's two wildcards, `*` and `?`, and its comma lists with `!`.

/// True when `text` fits `pattern`, where `*` stands for any run of characters and `?` for one.
/// Compares bytes; takes time in proportion to the product of the lengths, whatever the pattern.
pub(crate) fn matches(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
    let (mut t, mut p) = (0, 0);
    // Where to go back to: the last star, and how much it has taken.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&have) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&want) if want == b'?' || want == have => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                star = Some((star_at, taken + 1));
                p = star_at + 1;
                t = taken + 1;
            }
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|b| *b == b'*'))
}

/// What a list of patterns says of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListMatch {
    /// A `!pattern` fits: the whole list does not match.
    Negated,
    /// Nothing fits.
    None,
    /// A pattern fits and no negated one does.
    Matched,
}

/// Compares `text` with each pattern; a `!` before a pattern turns a fit into a refusal of the list.
pub(crate) fn matches_list<'a>(
    text: &str,
    patterns: impl IntoIterator<Item = &'a str>,
) -> ListMatch {
    let mut found = ListMatch::None;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches(text, pattern) => return ListMatch::Negated,
            None if matches(text, pattern) => found = ListMatch::Matched,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_and_question_marks_fit_as_in_openssh() {
        for (text, pattern, fits) in [
            ("desktop", "desktop", true),
            ("desktop", "desk*", true),
            ("desktop", "*top", true),
            ("desktop", "d*k*p", true),
            ("desktop", "deskto?", true),
            ("desktop", "desktop?", false),
            ("desktop", "desk", false),
            ("", "", true),
            ("", "*", true),
            ("", "?", false),
            ("[h]:22", "[h]:22", true),
            ("h", "[h]", false),
            (
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
                "*a*a*a*a*a*a*a*a*a*c",
                false,
            ),
        ] {
            assert_eq!(matches(text, pattern), fits, "{text} {pattern}");
        }
    }

    #[test]
    fn a_negated_pattern_refuses_the_whole_list() {
        assert_eq!(matches_list("a.x", ["*.x", "!b.x"]), ListMatch::Matched);
        assert_eq!(matches_list("b.x", ["*.x", "!b.x"]), ListMatch::Negated);
        assert_eq!(matches_list("c", ["!b.x"]), ListMatch::None);
    }

    proptest! {
        #[test]
        fn a_star_fits_whatever_stands_in_its_place(a in "[ab]{0,6}", b in "[ab]{0,6}", c in "[ab]{0,6}") {
            let text = [&*a, &*b, &*c].concat();
            let pattern = [&*a, "*", &*c].concat();
            prop_assert!(matches(&text, &pattern));
        }
    }
}
