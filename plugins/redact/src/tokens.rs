//! Keys and tokens that their issuers made to be told: by a prefix, or by their form.

use crate::bytes::{at, before, begins, ends, is_alnum, is_slug, is_word, run};

type Span = Option<(usize, usize)>;

/// A token that begins `size` bytes before `place`, at the beginning of a word.
fn start_of(
    text: &[u8],
    place: usize,
    size: usize,
    done: usize,
    inside: impl Fn(u8) -> bool,
) -> Option<usize> {
    let start = place.checked_sub(size).filter(|&start| start >= done)?;
    Some(start).filter(|&start| !inside(before(text, start, 1)))
}

/// The token from `start` whose letters from `from` on are at least `least`.
fn token(text: &[u8], start: usize, from: usize, least: usize, of: impl Fn(u8) -> bool) -> Span {
    let end = run(text, from, of);
    Some((start, end)).filter(|_| end - from >= least)
}

/// `ghp_`, `gho_`, `ghu_`, `ghs_`, `ghr_` or `github_pat_`, up to their last `_`.
pub fn github(text: &[u8], place: usize, done: usize) -> Span {
    if ends(text, place, b"github_pat") {
        let start = start_of(text, place, 10, done, is_alnum)?;
        return token(text, start, place + 1, 22, is_word);
    }
    let start = start_of(text, place, 3, done, is_alnum)?;
    if !begins(text, start, b"gh") || !matches!(text[start + 2], b'p' | b'o' | b'u' | b's' | b'r') {
        return None;
    }
    token(text, start, place + 1, 30, is_alnum)
}

/// `sk_live_`, `rk_test_` and their like, and `whsec_`, at their first `_`.
pub fn stripe(text: &[u8], place: usize, done: usize) -> Span {
    if ends(text, place, b"whsec") {
        let start = start_of(text, place, 5, done, is_word)?;
        return token(text, start, place + 1, 20, |byte| {
            is_alnum(byte) || matches!(byte, b'+' | b'/' | b'=')
        });
    }
    if !(ends(text, place, b"sk") || ends(text, place, b"rk"))
        || !(begins(text, place, b"_live_") || begins(text, place, b"_test_"))
    {
        return None;
    }
    let start = start_of(text, place, 2, done, is_word)?;
    token(text, start, place + 6, 10, is_alnum)
}

pub fn npm(text: &[u8], place: usize, done: usize) -> Span {
    if !ends(text, place, b"npm") {
        return None;
    }
    let start = start_of(text, place, 3, done, is_word)?;
    token(text, start, place + 1, 36, is_alnum)
}

pub fn gitlab(text: &[u8], place: usize, done: usize) -> Span {
    if !ends(text, place, b"glpat") {
        return None;
    }
    let start = start_of(text, place, 5, done, is_word)?;
    let (_, mut end) = token(text, start, place + 1, 20, |byte| {
        is_slug(byte) || byte == b'.'
    })?;
    while matches!(text[end - 1], b'.' | b'-') && end > place + 1 {
        end -= 1;
    }
    Some((start, end)).filter(|_| end > place + 20)
}

/// `xoxb-` and its like, and `xapp-`.
pub fn slack(text: &[u8], place: usize, done: usize) -> Span {
    let kind = before(text, place, 1);
    let bot = before(text, place, 2) == b'x'
        && matches!(kind, b'a' | b'b' | b'e' | b'o' | b'p' | b'r' | b's');
    if !(bot || kind == b'p') {
        return None;
    }
    let start = start_of(text, place, 4, done, is_word)?;
    let known = (bot && begins(text, start, b"xo")) || begins(text, start, b"xapp");
    if !known {
        return None;
    }
    token(text, start, place + 1, 10, |byte| {
        is_alnum(byte) || byte == b'-'
    })
}

/// What stands behind `hooks.slack.com/services/`; the first `.` is at `place`.
pub fn slack_hook(text: &[u8], place: usize) -> Span {
    if !ends(text, place, b"hooks") || !begins(text, place, b".slack.com/") {
        return None;
    }
    let path = place + b".slack.com/".len();
    let folders: [&[u8]; 3] = [b"services/", b"workflows/", b"triggers/"];
    let folder = folders.iter().find(|folder| begins(text, path, folder))?;
    let start = path + folder.len();
    token(text, start, start, 20, |byte| {
        is_slug(byte) || matches!(byte, b'/' | b'+')
    })
}

pub fn pypi(text: &[u8], place: usize, done: usize) -> Span {
    if !ends(text, place, b"pypi") || !begins(text, place, b"-AgE") {
        return None;
    }
    let start = start_of(text, place, 4, done, is_word)?;
    token(text, start, place + 1, 30, is_slug)
}

/// `sk-...` with digits and capitals in it: names of many words have a `sk-` too.
pub fn openai(text: &[u8], place: usize, done: usize) -> Span {
    if !ends(text, place, b"sk") {
        return None;
    }
    let start = start_of(text, place, 2, done, is_slug)?;
    let (_, end) = token(text, start, place + 1, 20, is_slug)?;
    let body = &text[place + 1..end];
    let mixed = body.iter().any(u8::is_ascii_digit) && body.iter().any(u8::is_ascii_uppercase);
    Some((start, end)).filter(|_| mixed)
}

/// `AKIA` or `ASIA` and 16 more; the `I` is at `place`.
pub fn aws(text: &[u8], place: usize, done: usize) -> Span {
    if at(text, place + 1) != b'A'
        || !matches!(before(text, place, 1), b'K' | b'S')
        || before(text, place, 2) != b'A'
    {
        return None;
    }
    let start = start_of(text, place, 2, done, is_word)?;
    let end = run(text, start, |byte| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit()
    });
    Some((start, end)).filter(|_| end - start == 20 && !is_word(at(text, end)))
}

/// `AIza` and 35 more; the `z` is at `place`.
pub fn google(text: &[u8], place: usize, done: usize) -> Span {
    if !ends(text, place, b"AI") || at(text, place + 1) != b'a' {
        return None;
    }
    let start = start_of(text, place, 2, done, is_slug)?;
    token(text, start, place + 2, 35, is_slug)
}

/// Two or more parts in base64 with points between, of which the first is JSON; the `J` of `eyJ` is at `place`.
pub fn jwt(text: &[u8], place: usize, done: usize) -> Span {
    if !ends(text, place, b"ey") {
        return None;
    }
    let start = start_of(text, place, 2, done, is_slug)?;
    let first = run(text, start, is_slug);
    if first - start < 10 || at(text, first) != b'.' {
        return None;
    }
    let mut end = run(text, first + 1, is_slug);
    let signed = at(text, end) == b'.';
    if end - first <= 10 || !(signed || begins(text, first + 1, b"eyJ")) {
        return None;
    }
    while at(text, end) == b'.' && is_slug(at(text, end + 1)) {
        end = run(text, end + 1, is_slug);
    }
    Some((start, end))
}

/// A private key in PEM, over lines, to its end or that of the text; the fifth dash is at `place`.
pub fn private_key(text: &[u8], place: usize, done: usize) -> Span {
    let start = place.checked_sub(4).filter(|&start| start >= done)?;
    if !begins(text, start, b"-----BEGIN ") {
        return None;
    }
    let label = &text[..text.len().min(place + 60)];
    let end = run(label, place + 1, |byte| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' '
    });
    let private = ends(text, end, b"PRIVATE KEY") || ends(text, end, b"PRIVATE KEY BLOCK");
    if !private || !begins(text, end, b"-----") {
        return None;
    }
    let mut next = end + 5;
    while next < text.len() && !(text[next] == b'-' && begins(text, next, b"-----END")) {
        next += 1;
    }
    let closing = next.saturating_add(8);
    if closing >= text.len() {
        return Some((start, text.len()));
    }
    let last = run(text, closing, |byte| {
        byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' '
    });
    Some((
        start,
        if begins(text, last, b"-----") {
            last + 5
        } else {
            last
        },
    ))
}

/// What stands behind `Bearer` and `Basic`; the first letter is at `place`.
pub fn authorization(text: &[u8], place: usize) -> Span {
    if !matches!(at(text, place + 1), b'a' | b'e' | b'A' | b'E') {
        return None;
    }
    let is = |word: &[u8]| {
        text.get(place..place + word.len())
            .map_or(false, |here| here.eq_ignore_ascii_case(word))
    };
    let bearer = is(b"bearer ");
    if is_word(before(text, place, 1)) || !(bearer || is(b"basic ")) {
        return None;
    }
    let spaces = place + if bearer { 6 } else { 5 };
    let start = run(text, spaces, |byte| byte == b' ');
    if start - spaces > 4 {
        return None;
    }
    if bearer {
        let part = |byte| is_slug(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/' | b'=');
        let (_, end) = token(text, start, start, 8, part)?;
        let good = end - start >= 20 || text[start..end].iter().any(u8::is_ascii_digit);
        return Some((start, end)).filter(|_| good);
    }
    let (_, mut end) = token(text, start, start, 8, |byte| {
        is_alnum(byte) || matches!(byte, b'+' | b'/')
    })?;
    let letters = end;
    while end < letters + 2 && at(text, end) == b'=' {
        end += 1;
    }
    Some((start, end)).filter(|_| names_a_user(&text[start..letters]))
}

/// Whether base64 has a colon in it.
fn names_a_user(code: &[u8]) -> bool {
    code.chunks(4).any(|four| {
        let bits = four.iter().fold(0, |bits, &byte| {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                _ => 63,
            };
            bits << 6 | value as u32
        }) << (6 * (4 - four.len()));
        (0..four.len() - 1).any(|place| (bits >> (16 - 8 * place)) as u8 == b':')
    })
}

/// The password in `scheme://user:password@host`; the colon of `://` is at `place`.
pub fn url_password(text: &[u8], place: usize) -> Span {
    let scheme = before(text, place, 1);
    if !is_alnum(scheme) && !matches!(scheme, b'+' | b'.' | b'-') {
        return None;
    }
    let stops =
        |byte: u8| byte <= b' ' || matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>');
    let from = place + 3;
    let user = run(&text[..text.len().min(from + 256)], from, |byte| {
        !stops(byte) && byte != b':' && byte != b'@'
    });
    if at(text, user) != b':' {
        return None;
    }
    let start = user + 1;
    let most = &text[..text.len().min(start + 512)];
    let end = run(most, start, |byte| !stops(byte));
    let last = text[start..end].iter().rposition(|&byte| byte == b'@')?;
    Some((start, start + last)).filter(|_| last > 0)
}
