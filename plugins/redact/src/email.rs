//! Addresses of people: `local@domain`, and `local%40domain` as it stands in URLs.

use crate::bytes::{at, before, ends, is_alnum};

const MOST_LOCAL: usize = 64;
const MOST_DOMAIN: usize = 253;

/// The names of systemd's units have the form of an address: user@1000.service.
const NO_DOMAINS: [&[u8]; 10] = [
    b"service", b"socket", b"timer", b"mount", b"slice", b"scope", b"target", b"device", b"path",
    b"swap",
];

/// Letters from U+00C0 to U+052F: Latin, Greek and Cyrillic ones, two bytes each.
fn is_letter(first: u8, second: u8) -> bool {
    (0xc3..=0xd4).contains(&first) && (0x80..=0xbf).contains(&second)
}

fn is_local(byte: u8) -> bool {
    is_alnum(byte) || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-')
}

/// The address whose `@`, of `width` bytes, is at `place`.
pub fn email(text: &[u8], place: usize, width: usize, done: usize) -> Option<(usize, usize)> {
    let mut start = place;
    while start > done {
        let byte = text[start - 1];
        if is_local(byte) {
            start -= 1;
        } else if start - done >= 2 && is_letter(text[start - 2], byte) {
            start -= 2;
        } else {
            break;
        }
        if place - start > MOST_LOCAL {
            return None;
        }
    }
    while start < place && matches!(text[start], b'.' | b'%' | b'+' | b'-') {
        start += 1;
    }
    let of_a_url = before(text, start, 1) == b'/' && before(text, start, 2) == b'/';
    if start == place || of_a_url || &text[start..place] == b"git" {
        return None;
    }
    domain(text, place + width).map(|end| (start, end))
}

/// Where the domain that begins at `start` ends: as many labels as end in one that can be the last.
fn domain(text: &[u8], start: usize) -> Option<usize> {
    let (mut next, mut label, mut labels, mut letters_only) = (start, start, 0, true);
    let mut good = None;
    loop {
        let byte = at(text, next);
        if next - start > MOST_DOMAIN {
            return good;
        }
        if is_letter(byte, at(text, next + 1)) {
            next += 2;
        } else if is_alnum(byte) || byte == b'-' {
            letters_only &= byte.is_ascii_alphabetic();
            next += 1;
        } else {
            if next == label || text[label] == b'-' || text[next - 1] == b'-' || next - label > 63 {
                return good;
            }
            let last = &text[label..next];
            if labels == 0 && no_host(last) {
                return None;
            }
            let can_be_last =
                (letters_only && (2..=24).contains(&last.len())) || last.starts_with(b"xn--");
            if labels > 0 && can_be_last && !NO_DOMAINS.contains(&last) {
                good = Some(next);
            }
            if byte != b'.' {
                return good;
            }
            labels += 1;
            next += 1;
            label = next;
            letters_only = true;
        }
    }
}

/// The first label of a version (`lodash@4.17.21`), or of a picture's name (`logo@2x.png`).
fn no_host(label: &[u8]) -> bool {
    let digits = label.iter().filter(|byte| byte.is_ascii_digit()).count();
    (digits == label.len() && digits < 3)
        || (label.len() == 2 && digits == 1 && ends(label, 2, b"x"))
}
