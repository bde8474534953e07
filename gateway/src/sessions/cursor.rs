//! The cursor that fills a gap: a transcript and the last message that was seen in it.

use std::fmt;

/// Opaque to clients: `1.<session id>.<seq>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeltaCursor {
    pub(super) session_id: String,
    pub(super) last_seq: i64,
}

const VERSION: &str = "1";

impl DeltaCursor {
    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        if parts.next() != Some(VERSION) {
            return None;
        }
        let session_id = parts.next().filter(|id| !id.is_empty())?.to_owned();
        let last_seq = parts.next()?.parse().ok().filter(|&seq| seq >= 0)?;
        Some(Self {
            session_id,
            last_seq,
        })
    }
}

impl fmt::Display for DeltaCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}.{}.{}", self.session_id, self.last_seq)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_a_cursor_or_none(text in ".{0,80}") {
            if let Some(cursor) = DeltaCursor::parse(&text) {
                let again = DeltaCursor::parse(&cursor.to_string());
                prop_assert_eq!(again, Some(cursor));
            }
        }

        #[test]
        fn a_cursor_reads_back(last_seq in 0..i64::MAX) {
            let cursor = DeltaCursor { session_id: "a-b-c".to_owned(), last_seq };
            prop_assert_eq!(DeltaCursor::parse(&cursor.to_string()), Some(cursor));
        }
    }
}
