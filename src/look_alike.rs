//! Names of hosts as people read them: one form for each, and a word about those that may be taken for
//! another.
//!
//! A name outside ASCII is looked up, compared and shown in its ASCII form (`xn--…`). The letters behind it
//! stand beside it, for people.

use std::collections::BTreeSet;

use unicode_script::{Script, UnicodeScript as _};
use unicode_security::mixed_script::AugmentedScriptSet;
use unicode_security::{MixedScript as _, skeleton};

use crate::layer::{is_unsafe_to_show, printable};

/// What an encoded part of a name starts with.
const ENCODED: &str = "xn--";
/// Longest part of a name, and longest name, that is shown.
const SHOWN: usize = 80;

/// The name of a host in its one form: in ASCII, in lower case, and without the dot that ends a whole name.
/// `None` when no host can have this name.
pub fn canonical(host: &str) -> Option<String> {
    looked_up(host).map(|name| without_dot(&name).to_owned())
}

/// The same with the dot, where there is one: it says that no search domain is to be tried.
pub fn looked_up(host: &str) -> Option<String> {
    let name = match host.is_ascii() {
        true => host.to_ascii_lowercase(),
        false => match url::Host::parse(host) {
            Ok(url::Host::Domain(name)) => name,
            _ => return None,
        },
    };
    let bare = without_dot(&name);
    (!bare.is_empty() && !bare.ends_with('.')).then_some(name)
}

/// A name without the dot that ends a whole one.
pub fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether `host`, which is looked up, is what was written in letters outside ASCII. An alias is not.
pub fn is_written(written: &str, host: &str) -> bool {
    !written.is_ascii() && looked_up(written).is_some_and(|name| name == host)
}

/// What is worth saying of a name before its host is trusted: the letters behind an encoded one, and a
/// warning where they may deceive. `None` for a name in plain ASCII.
pub fn note(host: &str) -> Option<String> {
    let name = canonical(host)?;
    if !name.split('.').any(|part| part.starts_with(ENCODED)) {
        return None;
    }
    let shown = printable(&name, SHOWN);
    let (letters, decoded) = idna::domain_to_unicode(&name);
    let warnings: Vec<String> = letters.split('.').filter_map(warning).collect();
    let reads = if decoded.is_err() || letters.contains(is_hidden) {
        format!("{shown} is encoded, and no name comes out that can be shown")
    } else if letters.contains(is_right_to_left) {
        // It could turn round what stands beside it.
        format!("{shown} is a name that is written from right to left")
    } else {
        format!("{shown} reads \"{}\"", printable(&letters, SHOWN))
    };
    Some(match warnings.is_empty() && decoded.is_ok() {
        true => reads,
        false => format!(
            "{reads}{}; trust it only if you know for sure that it is written so",
            warnings
                .iter()
                .map(|w| format!("; {w}"))
                .collect::<String>()
        ),
    })
}

/// What may deceive in an alias, which is shown as it was written.
pub fn note_on_alias(alias: &str) -> Option<String> {
    let warnings: Vec<String> = alias.split('.').filter_map(warning).collect();
    (!warnings.is_empty()).then(|| format!("the alias: {}", warnings.join("; ")))
}

/// Why a part of a name may be taken for another.
fn warning(part: &str) -> Option<String> {
    if part.is_ascii() {
        return None;
    }
    let shown = match part.contains(is_right_to_left) || part.contains(is_hidden) {
        true => "it".to_owned(),
        false => format!("\"{}\"", printable(part, SHOWN)),
    };
    if part.contains(is_hidden) {
        return Some("it has characters that cannot be seen".to_owned());
    }
    let scripts = scripts(part).into_iter().collect::<Vec<_>>().join(" and ");
    if !is_one_way_of_writing(part) {
        return Some(format!(
            "{shown} mixes {scripts} letters, as names do that pass for others"
        ));
    }
    let looks = in_plain_letters(part)?;
    Some(format!(
        "{shown} looks like \"{looks}\", and is written in {scripts} letters"
    ))
}

/// Whether all letters belong to one way of writing. Japanese, Korean and Chinese have several scripts, and
/// Latin letters among them are usual.
fn is_one_way_of_writing(part: &str) -> bool {
    let others: String = part
        .chars()
        .filter(|c| c.script() != Script::Latin)
        .collect();
    let others = AugmentedScriptSet::for_str(&others);
    part.is_single_script() || others.hanb || others.jpan || others.kore
}

/// The scripts of a part, by name.
fn scripts(part: &str) -> BTreeSet<&'static str> {
    let of_letters = part.chars().map(|c| c.script());
    of_letters
        .filter(|script| !matches!(script, Script::Common | Script::Inherited | Script::Unknown))
        .map(Script::full_name)
        .collect()
}

/// What a part looks like, where that is a name in plain ASCII.
fn in_plain_letters(part: &str) -> Option<String> {
    let looks: String = part
        .chars()
        .map(|c| match c.is_ascii() {
            true => c.to_string(),
            false => skeleton(c.encode_utf8(&mut [0; 4])).collect(),
        })
        .collect();
    let is_latin = part.chars().all(|c| {
        matches!(
            c.script(),
            Script::Latin | Script::Common | Script::Inherited
        )
    });
    // "æ" is written for "ae", and nobody takes it for that.
    let is_honest = is_latin && looks.chars().count() != part.chars().count();
    (looks.is_ascii() && !is_honest).then_some(looks)
}

/// Characters that leave no mark on a screen; the joiners have their uses, and none that can be seen here.
fn is_hidden(c: char) -> bool {
    is_unsafe_to_show(c) || matches!(c, '\u{200c}' | '\u{200d}' | '\u{ad}' | '\u{34f}')
}

/// The blocks of the scripts that run from right to left.
fn is_right_to_left(c: char) -> bool {
    matches!(c,
        '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefe}'
        | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(name: &str) -> String {
        idna::domain_to_ascii(name).unwrap()
    }

    #[test]
    fn a_host_has_one_name_however_it_is_written() {
        for (typed, name) in [
            ("HOST.", "host"),
            ("Host.Example.", "host.example"),
            ("host。com", "host.com"),
            ("host．com。", "host.com"),
            ("ｈｏｓｔ", "host"),
            ("хост.example", "xn--n1agdj.example"),
            ("XN--N1AGDJ.example", "xn--n1agdj.example"),
            ("büro", "xn--bro-hoa"),
            ("::1", "::1"),
            ("fe80::1%eth0", "fe80::1%eth0"),
            ("192.0.2.1", "192.0.2.1"),
            ("a_b", "a_b"),
        ] {
            assert_eq!(canonical(typed).as_deref(), Some(name), "{typed}");
        }
        for (typed, name) in [
            ("HOST.", "host."),
            ("host．com。", "host.com."),
            ("ХОСТ.example.", "xn--n1agdj.example."),
            ("Host", "host"),
        ] {
            assert_eq!(looked_up(typed).as_deref(), Some(name), "{typed}");
        }
        for none in [
            "",
            ".",
            "host..",
            "。",
            "１９２.0.2.1",
            "a。。b。。",
            "ä b",
            "xn--\u{e4}",
        ] {
            assert_eq!(canonical(none), None, "{none}");
            assert_eq!(looked_up(none), None, "{none}");
        }
    }

    #[test]
    fn a_name_that_may_deceive_is_warned_about_however_it_is_written() {
        for (name, words) in [
            (
                "pаypal.example",
                "\"pаypal\" mixes Cyrillic and Latin letters",
            ),
            (
                "a.gοοgle.example",
                "\"gοοgle\" mixes Greek and Latin letters",
            ),
            (
                "раура.example",
                "\"раура\" looks like \"paypa\", and is written in Cyrillic letters",
            ),
            ("ѕсоре.example", "looks like \"scope\""),
            (
                "gıthub.example",
                "looks like \"github\", and is written in Latin letters",
            ),
            ("хостλ.example", "mixes Cyrillic and Greek letters"),
        ] {
            for written in [
                name.to_owned(),
                encoded(name),
                encoded(name).to_uppercase() + ".",
            ] {
                let said = note(&written).unwrap();
                assert!(said.starts_with(&encoded(name)), "{said}");
                assert!(said.contains(words), "{written}: {said}");
                assert!(said.contains("trust it only if"), "{said}");
            }
        }
        let said = note("xn--zzzzzz99999999.example").unwrap();
        assert!(
            said.contains("no name comes out") && said.contains("trust it only if"),
            "{said}"
        );
    }

    #[test]
    fn an_alias_is_no_name_that_is_looked_up_and_what_may_deceive_in_it_is_told() {
        assert!(is_written("büro", "xn--bro-hoa"));
        for (alias, host) in [
            ("büro", "10.0.0.5"),
            ("büro", "xn--bro-hoa."),
            ("host", "host"),
            ("ä b", "a"),
        ] {
            assert!(!is_written(alias, host), "{alias}");
        }
        let said = note_on_alias("pаypal").unwrap();
        assert!(said.contains("mixes Cyrillic and Latin"), "{said}");
        for honest in ["büro", "host", "xn--bro-hoa"] {
            assert_eq!(note_on_alias(honest), None, "{honest}");
        }
    }

    #[test]
    fn an_honest_name_is_shown_in_its_letters_without_a_warning() {
        for name in [
            "хост.example",
            "büro",
            "münchen.example",
            "lærdal.no",
            "œuvre.fr",
            "日本語.example",
            "nhk日本.example",
            "한국a",
        ] {
            let said = note(name).unwrap();
            assert_eq!(said, format!("{} reads \"{name}\"", encoded(name)));
        }
        let hebrew = note("שלום.example").unwrap();
        assert!(
            hebrew.is_ascii() && hebrew.contains("from right to left"),
            "{hebrew}"
        );
        for plain in [
            "host",
            "HOST.",
            "host。com",
            "::1",
            "192.0.2.1",
            "a_b",
            "",
            "-",
            "x--n",
        ] {
            assert_eq!(note(plain), None, "{plain}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_one_name_or_none_and_can_be_shown(host in any::<String>()) {
            if let Some(name) = canonical(&host) {
                prop_assert!(name.is_ascii() && !name.ends_with('.'));
                prop_assert!(looked_up(&host).is_some_and(|n| without_dot(&n) == name));
                prop_assert_eq!(canonical(&name), Some(name));
            }
            if let Some(said) = note(&host) {
                prop_assert!(!said.contains(is_hidden) && !said.contains(is_right_to_left));
            }
        }

        #[test]
        fn so_has_any_encoded_text(code in "[a-zA-Z0-9-]{0,20}", rest in "(\\.[a-z]{1,5}\\.?)?") {
            let host = format!("xn--{code}{rest}");
            let said = note(&host).unwrap_or_default();
            prop_assert!(!said.contains(is_hidden) && !said.contains(is_right_to_left));
        }
    }
}
