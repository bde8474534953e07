//! The head of a request, looked at byte by byte before hyper reads it. hyper is lenient where others
//! read the same bytes in another way, and such a difference is how requests are smuggled past a
//! proxy; what two readers could understand in two ways is refused here.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::{MAX_HEAD, MAX_HEADERS};

/// What is read at once while the head is looked for.
const CHUNK: usize = 2048;
/// What a refused peer may still send before the connection is given up.
const MAX_WASTE: u64 = 256 * 1024;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The head has not ended yet.
    More,
    /// One reading only.
    Good,
    /// Refused with this status.
    Bad(u16, &'static str),
}

/// A stream whose first bytes were read already, and are read again from here.
pub(super) struct Headed<S> {
    stream: S,
    head: Vec<u8>,
    at: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Headed<S> {
    /// Reads the head. `None` when the peer is gone, or was refused. The caller sets the deadline.
    pub(super) async fn read(mut stream: S, strict: bool) -> Option<Self> {
        let mut head = Vec::new();
        let mut scan = Scan::default();
        loop {
            if !strict {
                break;
            }
            match scan.look(&head) {
                Verdict::Good => break,
                Verdict::Bad(status, reason) => {
                    refuse(stream, status, reason).await;
                    return None;
                }
                Verdict::More => {}
            }
            let len = head.len();
            head.resize(len + CHUNK, 0);
            let count = stream.read(&mut head[len..]).await.unwrap_or(0);
            head.truncate(len + count);
            if count == 0 {
                return None;
            }
        }
        Some(Self {
            stream,
            head,
            at: 0,
        })
    }

    /// The stream itself, and what of the first bytes nobody has read again.
    pub(super) fn into_parts(mut self) -> (S, Vec<u8>) {
        let rest = self.head.split_off(self.at.min(self.head.len()));
        (self.stream, rest)
    }
}

/// Says no, and lets the peer read it: a close with unread bytes would reset the connection.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, status: u16, reason: &str) {
    let body = format!(r#"{{"error":{{"message":"{reason}","type":"bad_request"}}}}"#);
    let length = body.len();
    let phrase = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Refused");
    let answer = format!(
        "HTTP/1.1 {status} {phrase}\r\nconnection: close\r\ncache-control: no-store\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    if stream.write_all(answer.as_bytes()).await.is_ok() && stream.shutdown().await.is_ok() {
        let _ = tokio::io::copy(&mut stream.take(MAX_WASTE), &mut tokio::io::sink()).await;
    }
}

/// A head as far as it has come. What was looked at is not looked at again when more comes.
#[derive(Default)]
struct Scan {
    seen: Seen,
    /// Where the line begins that has not ended.
    line: usize,
    /// What of it was searched for its end.
    searched: usize,
    has_request_line: bool,
}

impl Scan {
    /// Looks at what came since the last time; `bytes` is everything from the beginning.
    fn look(&mut self, bytes: &[u8]) -> Verdict {
        let too_long = Verdict::Bad(431, "the head of the request is too long");
        loop {
            let new = bytes.get(self.searched..).unwrap_or_default();
            let Some(at) = new.iter().position(|byte| *byte == b'\n') else {
                self.searched = bytes.len();
                return if bytes.len() > MAX_HEAD {
                    too_long
                } else {
                    Verdict::More
                };
            };
            let end = self.searched + at;
            let line = bytes.get(self.line..end).unwrap_or_default();
            (self.line, self.searched) = (end + 1, end + 1);
            match self.take(line) {
                Verdict::More if self.line > MAX_HEAD => return too_long,
                Verdict::More => {}
                done => return done,
            }
        }
    }

    /// One line, without its LF.
    fn take(&mut self, line: &[u8]) -> Verdict {
        let Some((b'\r', line)) = line.split_last() else {
            return Verdict::Bad(400, "a line must end with CR LF");
        };
        if line
            .iter()
            .any(|byte| matches!(byte, 0..=8 | 10..=31 | 127))
        {
            return Verdict::Bad(400, "control characters are not taken");
        }
        let looked = if !self.has_request_line {
            self.has_request_line = true;
            request_line(line)
        } else if line.is_empty() {
            return match self.line > MAX_HEAD {
                true => Verdict::Bad(431, "the head of the request is too long"),
                false => self.seen.verdict(),
            };
        } else {
            self.seen.header(line)
        };
        match looked {
            Ok(()) => Verdict::More,
            Err(refused) => refused,
        }
    }
}

fn request_line(line: &[u8]) -> Result<(), Verdict> {
    let mut parts = line.split(|byte| *byte == b' ');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some([_, ..]), Some([_, ..]), Some(version), None) => match version {
            b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                Err(Verdict::Bad(505, "only HTTP/1.1 is spoken here"))
            }
            _ => Err(Verdict::Bad(400, "no HTTP request")),
        },
        _ => Err(Verdict::Bad(400, "no HTTP request")),
    }
}

/// What the headers said so far.
#[derive(Default)]
struct Seen {
    headers: usize,
    lengths: usize,
    hosts: usize,
    encodings: usize,
}

impl Seen {
    fn header(&mut self, line: &[u8]) -> Result<(), Verdict> {
        let bad = |reason| Err(Verdict::Bad(400, reason));
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(Verdict::Bad(431, "too many headers"));
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return bad("folded headers are not taken");
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return bad("a header has no colon");
        };
        let (name, value) = line.split_at(colon);
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            return bad("the name of a header is malformed");
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                return bad("Content-Length is no number");
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encodings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return bad("only chunked is known as Transfer-Encoding");
            }
        } else if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        }
        Ok(())
    }

    fn verdict(&self) -> Verdict {
        if self.lengths + self.encodings > 1 {
            return Verdict::Bad(400, "the length of the body is said twice");
        }
        if self.hosts > 1 {
            return Verdict::Bad(400, "Host is said twice");
        }
        Verdict::Good
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Headed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(rest @ [_, ..]) = this.head.get(this.at..) {
            let count = rest.len().min(buf.remaining());
            buf.put_slice(rest.get(..count).unwrap_or_default());
            this.at += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(context, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Headed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(bytes: &[u8]) -> Verdict {
        Scan::default().look(bytes)
    }

    const GOOD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX-Y: \tz\r\n\r\nmore";

    #[test]
    fn a_plain_head_is_good_once_it_is_whole() {
        let end = GOOD.len() - "more".len();
        for cut in 0..end {
            assert_eq!(verdict(&GOOD[..cut]), Verdict::More, "{cut}");
        }
        assert_eq!(verdict(&GOOD[..end]), Verdict::Good);
        assert_eq!(verdict(GOOD), Verdict::Good);
    }

    #[test]
    fn a_long_head_that_comes_byte_by_byte_is_cut_where_a_whole_one_is() {
        let line = format!("X: {}\r\n", "y".repeat(1000));
        let head = format!("GET / HTTP/1.1\r\n{}", line.repeat(20)).into_bytes();
        let mut scan = Scan::default();
        let cut = (0..=head.len()).find(|end| scan.look(&head[..*end]) != Verdict::More);
        let cut = cut.unwrap();
        assert!((MAX_HEAD..MAX_HEAD + line.len()).contains(&cut), "{cut}");
        assert!(matches!(verdict(&head), Verdict::Bad(431, _)));
    }

    proptest! {
        #[test]
        fn pieces_are_read_as_the_whole_is(
            lines in proptest::collection::vec("[A-Za-z: \t]{0,12}(\r\n|\n|\r)", 0..8),
            at in any::<proptest::sample::Index>(),
        ) {
            let bytes = format!("GET / HTTP/1.1\r\n{}", lines.concat()).into_bytes();
            let cut = at.index(bytes.len() + 1);
            let mut scan = Scan::default();
            let early = scan.look(&bytes[..cut]);
            let late = match early {
                Verdict::More => scan.look(&bytes),
                done => done,
            };
            prop_assert_eq!(late, verdict(&bytes));
        }

        #[test]
        fn any_bytes_get_a_verdict_and_a_refusal_stays_one(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let early = verdict(&bytes[..bytes.len() / 2]);
            if let Verdict::Bad(..) = early {
                prop_assert_eq!(verdict(&bytes), early);
            }
        }
    }
}
