//! Values that their names give away: `password=...`, `"api_key": "..."`, `--token ...`, and fields called so.

use crate::bytes::{at, before, is_alnum, is_slug, is_word, run, run_back};
use crate::words::{endings, is_prose, words, NO_TOKENS};

const MOST_NAME: usize = 64;
const MOST_SPACES: usize = 4;
const MOST_BACKSLASHES: usize = 3;

/// Whether a name says that its value is a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sure {
    No,
    /// It may be something else: a token of a grammar, the outcome of an authentication.
    Perhaps,
    Yes,
}

/// Where `word` begins if the name ends in it.
fn ends_in(name: &[u8], word: &[u8]) -> Option<usize> {
    let mut start = name.len();
    for &letter in word.iter().rev() {
        while matches!(before(name, start, 1), b'_' | b'-' | b'.') {
            start -= 1;
        }
        if before(name, start, 1).to_ascii_lowercase() != letter {
            return None;
        }
        start -= 1;
    }
    Some(start)
}

/// Where a name ends without the digits behind it, and its last two letters as small ones; `None` where they are
/// no secret's.
#[inline(always)]
fn last_letters(text: &[u8], end: usize, least: usize) -> Option<(usize, [u8; 2])> {
    let end = run_back(text, end, least, MOST_NAME, |byte| byte.is_ascii_digit());
    if end < least + 2 {
        return None;
    }
    let last = [text[end - 2] | 0x20, text[end - 1] | 0x20];
    Some((end, last)).filter(|_| !endings(last).is_empty() || !words(last).is_empty())
}

fn sure(name: &[u8], last: [u8; 2]) -> Sure {
    if endings(last)
        .iter()
        .any(|word| ends_in(name, word).is_some())
    {
        return Sure::Yes;
    }
    for word in words(last) {
        if let Some(start) = ends_in(name, word) {
            let (letter, earlier) = (name[start], before(name, start, 1));
            let whole = !is_alnum(earlier)
                || (letter.is_ascii_uppercase() && !earlier.is_ascii_uppercase());
            let other = *word == b"token"
                && NO_TOKENS
                    .iter()
                    .any(|word| ends_in(&name[..start], word).is_some());
            return if whole && !other {
                Sure::Perhaps
            } else {
                Sure::No
            };
        }
    }
    Sure::No
}

/// The same of a whole name.
fn name_is_sure(name: &[u8]) -> Sure {
    last_letters(name, name.len(), 0).map_or(Sure::No, |(end, last)| sure(&name[..end], last))
}

/// Whether a value is one to hide. `loose`: it stands behind a colon or a space and without
/// quotes, as words of a sentence do.
fn accepted(sure: Sure, value: &[u8], loose: bool) -> bool {
    let something = value.iter().any(|&byte| is_alnum(byte) || byte >= 0x80);
    if !something || is_prose(value) || value.iter().all(|byte| matches!(byte, b'x' | b'X')) {
        return false;
    }
    if sure == Sure::Yes {
        return true;
    }
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let count = digits == value.len() && digits <= 4;
    let path =
        matches!(value[0], b'/' | b'~') || value.starts_with(b"./") || value.starts_with(b"0x");
    let letters = value.iter().any(u8::is_ascii_alphabetic);
    let secretish = value.len() >= 20 || (value.len() >= 6 && digits > 0 && letters);
    !count && !path && (!loose || secretish)
}

fn is_scheme(word: &[u8]) -> bool {
    let schemes = [
        "bearer",
        "basic",
        "token",
        "digest",
        "negotiate",
        "apikey",
        "ntlm",
    ];
    schemes
        .iter()
        .any(|scheme| word.eq_ignore_ascii_case(scheme.as_bytes()))
}

/// Whether a field of this name and this text is to be hidden whole.
pub fn is_secret_field(name: &[u8], text: &[u8]) -> bool {
    let sure = name_is_sure(&name[name.len().saturating_sub(MOST_NAME)..]);
    if sure == Sure::No {
        return false;
    }
    let space = text.iter().position(|&byte| byte <= b' ');
    let sentence = space.map_or(false, |space| !is_scheme(&text[..space]));
    accepted(sure, text, false) && (sure == Sure::Yes || !sentence)
}

fn is_bare(byte: u8) -> bool {
    !matches!(
        byte,
        0..=b' '
            | 0x7f
            | b'"'
            | b'\''
            | b'`'
            | b','
            | b';'
            | b'&'
            | b'|'
            | b'<'
            | b'>'
            | b'('
            | b')'
            | b'{'
            | b'}'
            | b'['
            | b']'
    )
}

fn bare(text: &[u8], start: usize) -> (usize, usize) {
    let mut end = run(text, start, is_bare);
    while end > start && matches!(text[end - 1], b'.' | b':' | b'\\') {
        end -= 1;
    }
    (start, end)
}

/// The value that begins at `start`, and whether it is in quotes.
fn value(text: &[u8], start: usize) -> (usize, usize, bool) {
    let escapes = run(text, start, |byte| byte == b'\\') - start;
    let quote = at(text, start + escapes);
    match (escapes, quote) {
        (1..=MOST_BACKSLASHES, b'"' | b'\'') => {
            let first = start + escapes + 1;
            (
                first,
                run(text, first, |byte| byte != b'\\' && byte != quote),
                true,
            )
        }
        (0, b'"') => {
            let mut end = start + 1;
            while end < text.len() && text[end] != b'"' {
                end += 1 + (text[end] == b'\\') as usize;
            }
            (start + 1, end.min(text.len()), true)
        }
        (0, b'\'' | b'`') => {
            let end = run(text, start + 1, |byte| byte != quote);
            if end < text.len() {
                return (start + 1, end, true);
            }
            let (start, end) = bare(text, start + 1);
            (start, end, false)
        }
        _ => {
            let (start, end) = bare(text, start);
            (start, end, false)
        }
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The value behind the `=` or `:` at `place`, if the name before it is a secret's.
pub fn key_value(text: &[u8], place: usize, done: usize) -> Option<(usize, usize)> {
    let (mut end, mut next) = (place, place + 1);
    match (text[place], at(text, next)) {
        (b'=', b'=') | (b':', b':' | b'=') => return None,
        (b'=', b'>') => next += 1,
        _ => {}
    }
    let step_back = |end: usize, is: &dyn Fn(u8) -> bool| {
        if end > done && is(text[end - 1]) {
            end - 1
        } else {
            end
        }
    };
    if text[place] == b'=' {
        end = step_back(end, &|byte| byte == b':');
    }
    end = run_back(text, end, done, MOST_SPACES, is_blank);
    end = step_back(end, &|byte| byte == b']');
    let quoted = step_back(end, &|byte| matches!(byte, b'"' | b'\'' | b'`'));
    if quoted < end {
        end = run_back(text, quoted, done, MOST_BACKSLASHES, |byte| byte == b'\\');
    }
    let (end, last) = last_letters(text, end, done)?;
    let start = run_back(text, end, done, MOST_NAME, |byte| {
        is_slug(byte) || byte == b'.'
    });
    let sure = sure(&text[start..end], last);
    if sure == Sure::No {
        return None;
    }
    let from = next + run(&text[next..text.len().min(next + MOST_SPACES)], 0, is_blank);
    let loose = text[place] == b':' || from > next;
    let (mut first, mut last, quoted) = value(text, from);
    if !quoted && is_scheme(&text[first..last]) && at(text, last) == b' ' {
        let behind = bare(text, last + 1);
        first = behind.0;
        last = behind.1;
    }
    Some((first, last)).filter(|_| accepted(sure, &text[first..last], loose && !quoted))
}

/// The value behind an option of a command, `--password hunter2`, whose second dash is at `place`.
pub fn option(text: &[u8], place: usize) -> Option<(usize, usize)> {
    let last = before(text, place, 2);
    let start = place + 1;
    if is_word(last) || last == b'-' || !at(text, start).is_ascii_alphabetic() {
        return None;
    }
    let end = run(&text[..text.len().min(start + MOST_NAME)], start, is_slug);
    let sure = name_is_sure(&text[start..end]);
    if at(text, end) != b' ' || at(text, end + 1) == b'-' || sure == Sure::No {
        return None;
    }
    let (first, last, _) = value(text, end + 1);
    Some((first, last)).filter(|_| accepted(sure, &text[first..last], false))
}
