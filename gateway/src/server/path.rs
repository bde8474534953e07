//! Paths: which are refused before any route sees them.

/// Rounds in which a path is decoded; one that is still encoded then is refused.
const MAX_ROUNDS: usize = 4;

/// Whether nothing in a path could be read in two ways: no broken escape, no control character, no
/// backslash, no dot segment and no empty segment, however often it is encoded.
pub(super) fn is_plain(path: &str) -> bool {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..MAX_ROUNDS {
        let Some(decoded) = decode(&bytes) else {
            return false;
        };
        if decoded == bytes {
            return is_simple(&decoded);
        }
        bytes = decoded;
    }
    false
}

fn is_simple(path: &[u8]) -> bool {
    let is_text = std::str::from_utf8(path).is_ok_and(|text| !text.chars().any(char::is_control));
    is_text
        && !path.contains(&b'\\')
        && path
            .split(|byte| *byte == b'/')
            .enumerate()
            .all(|(at, part)| {
                let is_edge = at == 0 || part.as_ptr_range().end == path.as_ptr_range().end;
                !matches!(part, b"." | b"..") && (is_edge || !part.is_empty())
            })
}

/// One round of percent decoding; `None` for an escape that is none.
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    loop {
        match rest {
            [b'%', high, low, after @ ..] => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(*high)? * 16 + digit(*low)?;
                out.push(u8::try_from(value).ok()?);
                rest = after;
            }
            [b'%', ..] => return None,
            [byte, after @ ..] => {
                out.push(*byte);
                rest = after;
            }
            [] => return Some(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_be_read_in_two_ways_is_not_plain() {
        for path in [
            "/",
            "/healthz",
            "/a/b/",
            "/a%20b",
            "/%e2%82%ac",
            "/a.b/..c",
            "/api/channels;a",
        ] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "/..%2f..%2fetc/passwd",
            "/%2e%2e/",
            "/a/../b",
            "/./a",
            "/%zz",
            "/%",
            "/%4",
            "/%00",
            "/%0a",
            "//evil",
            "/api//channels",
            "/a%2f%2fb",
            "/\\evil",
            "/%5cevil",
            "/%252e%252e/x",
            "/%ff",
            "/%25252525252e",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_gets_a_verdict(path in ".{0,80}") {
            let _ = is_plain(&path);
        }
    }
}
