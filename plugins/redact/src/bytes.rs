//! Looking at bytes around a place without ever leaving the text.

/// The byte at `at`, 0 outside: no rule takes a 0 for anything.
#[inline(always)]
pub fn at(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// The byte `back` places before `at`, 0 outside.
#[inline(always)]
pub fn before(text: &[u8], at: usize, back: usize) -> u8 {
    at.checked_sub(back).map_or(0, |place| text[place])
}

#[inline(always)]
pub fn is_alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

#[inline(always)]
pub fn is_word(byte: u8) -> bool {
    is_alnum(byte) || byte == b'_'
}

/// base64 for URLs.
#[inline(always)]
pub fn is_slug(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

/// Whether `word` ends at `end`.
#[inline(always)]
pub fn ends(text: &[u8], end: usize, word: &[u8]) -> bool {
    text[..end].ends_with(word)
}

/// Whether `word` begins at `at`.
#[inline(always)]
pub fn begins(text: &[u8], at: usize, word: &[u8]) -> bool {
    text.get(at..).map_or(false, |rest| rest.starts_with(word))
}

/// Where the bytes from `at` on that are `of` a kind end.
#[inline(always)]
pub fn run(text: &[u8], mut at: usize, of: impl Fn(u8) -> bool) -> usize {
    while at < text.len() && of(text[at]) {
        at += 1;
    }
    at
}

/// Where the bytes before `at` that are `of` a kind begin: at most `most` of them, none before `least`.
#[inline(always)]
pub fn run_back(
    text: &[u8],
    at: usize,
    least: usize,
    most: usize,
    of: impl Fn(u8) -> bool,
) -> usize {
    let least = least.max(at.saturating_sub(most));
    let mut start = at;
    while start > least && of(text[start - 1]) {
        start -= 1;
    }
    start
}
