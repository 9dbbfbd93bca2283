//! What is told by its digits: cards, accounts, addresses.

use crate::bytes::{at, before, ends, is_alnum, is_word, run, run_back};
use std::net::Ipv6Addr;

/// Whether a number may begin here at all: not inside a word, nor behind a decimal point.
#[inline(always)]
pub fn may_begin(text: &[u8], place: usize) -> bool {
    let last = before(text, place, 1);
    !(is_word(last) || (last == b'.' && before(text, place, 2).is_ascii_digit()))
}

/// Whether a number may end here: no word goes on, and no further digits behind a point, a comma, a dash.
fn may_end(text: &[u8], end: usize) -> bool {
    let next = at(text, end);
    let goes_on = matches!(next, b'.' | b',' | b'-') && at(text, end + 1).is_ascii_digit();
    !(is_word(next) || goes_on)
}

/// How cards are written in groups; the longer first.
const GROUPS: [&[usize]; 4] = [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];

/// Where the card number that begins at `place` ends.
pub fn card(text: &[u8], place: usize) -> Option<usize> {
    let last = before(text, place, 1);
    if matches!(last, b'+' | b'-') || (last == b',' && before(text, place, 2).is_ascii_digit()) {
        return None;
    }
    let first = run(text, place, |byte| byte.is_ascii_digit());
    if (13..=19).contains(&(first - place)) {
        return Some(first).filter(|&end| may_end(text, end) && is_card(&text[place..end], false));
    }
    let between = at(text, first);
    if first - place != 4
        || !matches!(between, b' ' | b'-')
        || !at(text, first + 4).is_ascii_digit()
    {
        return None;
    }
    GROUPS.iter().find_map(|sizes| {
        let mut digits = [0; 19];
        let (mut next, mut count) = (place, 0);
        for (number, &size) in sizes.iter().enumerate() {
            if number > 0 {
                if at(text, next) != between {
                    return None;
                }
                next += 1;
            }
            let group = text.get(next..next + size)?;
            if !group.iter().all(u8::is_ascii_digit) {
                return None;
            }
            digits[count..count + size].copy_from_slice(group);
            count += size;
            next += size;
        }
        Some(next).filter(|&end| may_end(text, end) && is_card(&digits[..count], true))
    })
}

/// A network's first digits and length, and Luhn's sum. In one piece, 19 digits are a card only where the network
/// gives out many of these: of all numbers of 64 bits most have as many.
fn is_card(digits: &[u8], in_groups: bool) -> bool {
    let size = digits.len();
    let first = digits[..4]
        .iter()
        .fold(0u32, |number, digit| number * 10 + (digit - b'0') as u32);
    let known = match first {
        4000..=4999 => matches!(size, 13 | 16) || (size == 19 && in_groups),
        5100..=5599 | 2221..=2720 | 2200..=2204 => size == 16,
        3400..=3499 | 3700..=3799 => size == 15,
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => size == 14,
        6011 | 6440..=6599 | 3528..=3589 => size == 16 || (size == 19 && in_groups),
        6200..=6299 => size >= 16,
        5018 | 5020 | 5038 | 5893 | 6304 | 6759 | 6761..=6763 => true,
        _ => false,
    };
    known
        && digits
            .iter()
            .rev()
            .enumerate()
            .fold(0, |sum, (place, digit)| {
                let digit = (digit - b'0') as u32;
                sum + if place % 2 == 0 {
                    digit
                } else {
                    digit * 2 % 10 + digit / 5
                }
            })
            % 10
            == 0
}

/// Countries and how long their account numbers are: SWIFT's registry.
const IBAN_SIZES: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20\
EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25\
MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25\
SV28TL23TN24TR26UA29VA22VG24XK20YE30";

/// The account number whose check digits begin at `place`: together, or a space after every fourth character.
pub fn iban(text: &[u8], place: usize, done: usize) -> Option<(usize, usize)> {
    let start = place.checked_sub(2).filter(|&start| start >= done)?;
    if is_word(before(text, start, 1)) {
        return None;
    }
    let entry = IBAN_SIZES
        .chunks_exact(4)
        .find(|entry| entry[..2] == text[start..place])?;
    let size = ((entry[2] - b'0') * 10 + entry[3] - b'0') as usize;
    let (mut next, mut count) = (start, 0);
    let mut code = [0; 34];
    while count < size {
        if at(text, next) == b' ' && count % 4 == 0 {
            next += 1;
        }
        let byte = at(text, next);
        if !(byte.is_ascii_digit() || (byte.is_ascii_uppercase() && count >= 4)) && count >= 2 {
            return None;
        }
        code[count] = byte;
        count += 1;
        next += 1;
    }
    if is_word(at(text, next)) {
        return None;
    }
    let rest = code[4..size]
        .iter()
        .chain(&code[..4])
        .fold(0, |rest, &byte| {
            if byte.is_ascii_digit() {
                (rest * 10 + (byte - b'0') as u32) % 97
            } else {
                (rest * 100 + (byte - b'A' + 10) as u32) % 97
            }
        });
    Some((start, next)).filter(|_| rest == 1)
}

/// ddd-dd-dddd, without the numbers that are never given out.
pub fn ssn(text: &[u8], place: usize) -> Option<usize> {
    let one = text.get(place..place + 11)?;
    let form = one.iter().enumerate().all(|(number, byte)| match number {
        3 | 6 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let given = &one[..3] != b"000" && &one[..3] != b"666" && one[0] != b'9' && &one[4..6] != b"00";
    let is_it = form
        && given
        && &one[7..] != b"0000"
        && before(text, place, 1) != b'-'
        && may_end(text, place + 11);
    Some(place + 11).filter(|_| is_it)
}

fn octets(text: &[u8], place: usize) -> Option<([u8; 4], usize)> {
    let (mut found, mut next) = ([0; 4], place);
    for (number, octet) in found.iter_mut().enumerate() {
        if number > 0 {
            if at(text, next) != b'.' {
                return None;
            }
            next += 1;
        }
        let end = run(text, next, |byte| byte.is_ascii_digit());
        if !(1..=3).contains(&(end - next)) || (text[next] == b'0' && end - next > 1) {
            return None;
        }
        let value = text[next..end]
            .iter()
            .fold(0u32, |value, digit| value * 10 + (digit - b'0') as u32);
        *octet = u8::try_from(value).ok()?;
        next = end;
    }
    Some((found, next))
}

/// Addresses that lead to nobody from outside: private, shared, loopback, link-local, multicast, broadcast.
fn is_private(address: [u8; 4]) -> bool {
    matches!(
        address,
        [0 | 10 | 127, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [224..=255, ..]
    )
}

/// Where the IPv4 address that begins at `place` ends.
pub fn ipv4(text: &[u8], place: usize, keep_private: bool) -> Option<usize> {
    // The second byte of four decides for most numbers.
    if !(1..=3).any(|size| at(text, place + size) == b'.') {
        return None;
    }
    let (address, end) = octets(text, place)?;
    let (next, after) = (at(text, end), at(text, end + 1));
    let goes_on = is_word(next)
        || (next == b'.' && after.is_ascii_digit())
        || (matches!(next, b'+' | b'~') && is_alnum(after))
        || (next == b'-' && is_alnum(after) && octets(text, end + 1).is_none());
    let of_a_name = before(text, place, 1) == b'-' && {
        let last = before(text, place, 2);
        is_word(last) && !last.is_ascii_digit()
    };
    if goes_on || of_a_name || (keep_private && is_private(address)) || is_version(text, place) {
        return None;
    }
    Some(end)
}

/// Whether the word before says that the number is a version.
fn is_version(text: &[u8], place: usize) -> bool {
    let end = run_back(text, place, 0, 3, |byte| {
        matches!(byte, b' ' | b':' | b'=' | b'"' | b'\'' | b'(')
    });
    let start = run_back(text, end, 0, 12, |byte| byte.is_ascii_alphabetic());
    let word = &text[start..end].to_ascii_lowercase()[..];
    let endings: [&[u8]; 5] = [b"version", b"release", b"firmware", b"build", b"revision"];
    word == b"ver" || word == b"rev" || endings.iter().any(|ending| ends(word, word.len(), ending))
}

const MOST_IPV6: usize = 46;

/// The IPv6 address whose first colon is at `place`: one that begins with four digits, as those in use do, or a mapped
/// IPv4 address. What is shorter is a time, a MAC address or a name in C++ far more often.
pub fn ipv6(text: &[u8], place: usize, done: usize, keep_private: bool) -> Option<(usize, usize)> {
    let start = run_back(text, place, done, 4, |byte| byte.is_ascii_hexdigit());
    let last = before(text, start, 1);
    let group = place - start;
    if is_word(last)
        || matches!(last, b':' | b'.')
        || !(group == 4 || (group == 0 && at(text, place + 1) == b':'))
    {
        return None;
    }
    let mut end = run(text, start, |byte| {
        byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')
    });
    let colons = |two: &[u8]| two[0] == b':' && (two[1] == b':' || end - start > 14);
    let some_digit = text[start..end].iter().any(u8::is_ascii_digit);
    if end - start > MOST_IPV6
        || is_word(at(text, end))
        || !some_digit
        || !text[start..end].windows(2).any(colons)
    {
        // Eight groups without an empty one take 15 characters.
        return None;
    }
    while matches!(text[end - 1], b'.') || (text[end - 1] == b':' && before(text, end, 2) != b':') {
        end -= 1;
        if end <= place {
            return None;
        }
    }
    let address: Ipv6Addr = std::str::from_utf8(&text[start..end]).ok()?.parse().ok()?;
    let parts = address.segments();
    let octets = address.octets();
    let mapped = parts[..6] == [0, 0, 0, 0, 0, 0xffff];
    let private = address.is_loopback()
        || matches!(parts[0], 0xfc00..=0xfdff | 0xfe80..=0xfebf | 0xff00..=0xffff)
        || (mapped && is_private([octets[12], octets[13], octets[14], octets[15]]));
    if (keep_private && private) || !(group == 4 || mapped || address.is_loopback()) {
        return None;
    }
    if at(text, end) == b'%' && is_alnum(at(text, end + 1)) {
        end = run(text, end + 1, is_alnum);
    }
    Some((start, end))
}
