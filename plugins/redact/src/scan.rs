//! One pass over a text: from anchor to anchor, and at each the rules that it can be part of.
//!
//! An anchor is a byte that something to hide cannot do without: the `@` of an address, the `=` behind a name, the
//! first digit of a number. Rules look at bounded places around it, or read on and what they read is then hidden, so
//! the time is linear in the text whatever it holds.

use crate::anchors::{masks, BLOCK};
use crate::bytes::{at, before, begins};
use crate::{email, names, numbers, tokens};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Card,
    Email,
    Ip,
    Iban,
    Jwt,
    PrivateKey,
    Aws,
    Github,
    Gitlab,
    Slack,
    Stripe,
    Google,
    Npm,
    Pypi,
    Openai,
    Authorization,
    Password,
    Secret,
    Ssn,
}

impl Kind {
    pub const ALL: [Kind; 19] = [
        Kind::Card,
        Kind::Email,
        Kind::Ip,
        Kind::Iban,
        Kind::Jwt,
        Kind::PrivateKey,
        Kind::Aws,
        Kind::Github,
        Kind::Gitlab,
        Kind::Slack,
        Kind::Stripe,
        Kind::Google,
        Kind::Npm,
        Kind::Pypi,
        Kind::Openai,
        Kind::Authorization,
        Kind::Password,
        Kind::Secret,
        Kind::Ssn,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Kind::Card => "card",
            Kind::Email => "email",
            Kind::Ip => "ip",
            Kind::Iban => "iban",
            Kind::Jwt => "jwt",
            Kind::PrivateKey => "private_key",
            Kind::Aws => "aws",
            Kind::Github => "github",
            Kind::Gitlab => "gitlab",
            Kind::Slack => "slack",
            Kind::Stripe => "stripe",
            Kind::Google => "google",
            Kind::Npm => "npm",
            Kind::Pypi => "pypi",
            Kind::Openai => "openai",
            Kind::Authorization => "authorization",
            Kind::Password => "password",
            Kind::Secret => "secret",
            Kind::Ssn => "ssn",
        }
    }
}

/// Some of the kinds.
#[derive(Clone, Copy)]
pub struct Kinds(u32);

impl Kinds {
    pub fn none() -> Self {
        Kinds(0)
    }

    /// All but social security numbers: many an internal number looks like one.
    pub fn usual() -> Self {
        Kinds(!(1 << Kind::Ssn as u32))
    }

    pub fn add(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u32;
    }

    #[inline(always)]
    pub fn has(self, kind: Kind) -> bool {
        self.0 >> kind as u32 & 1 != 0
    }
}

#[derive(Clone, Copy)]
pub struct Rules {
    pub kinds: Kinds,
    pub keep_private_ips: bool,
}

/// A value in the form in which it is compared with others: what is only its spelling is left out.
pub fn canonical(kind: Kind, value: &[u8]) -> Vec<u8> {
    match kind {
        Kind::Card | Kind::Iban | Kind::Ssn => value
            .iter()
            .copied()
            .filter(|byte| byte.is_ascii_alphanumeric())
            .collect(),
        Kind::Email | Kind::Ip => value.to_ascii_lowercase(),
        _ => value.to_vec(),
    }
}

/// Call `hide(start, end, kind)` for each part of `text` to hide, from left to right; they never overlap.
pub fn scan(text: &[u8], rules: &Rules, mut hide: impl FnMut(usize, usize, Kind)) {
    let (mut done, mut from) = (0, 0);
    while from < text.len() {
        let masks = if let Some(block) = text.get(from..from + BLOCK) {
            unsafe { masks(block.as_ptr()) }
        } else {
            let mut padded = [0; BLOCK];
            padded[..text.len() - from].copy_from_slice(&text[from..]);
            unsafe { masks(padded.as_ptr()) }
        };
        let mut found = masks.anchors(before(text, from, 1));
        while found != 0 {
            let place = from + found.trailing_zeros() as usize;
            found &= found - 1;
            if place >= done {
                if let Some((start, end, kind)) = judge(text, place, done, rules) {
                    hide(start, end, kind);
                    done = end;
                }
            }
        }
        // What is hidden is not looked at again.
        from = (from + BLOCK).max(done / BLOCK * BLOCK);
    }
}

type Found = Option<(usize, usize, Kind)>;

#[inline(always)]
fn judge(text: &[u8], place: usize, done: usize, rules: &Rules) -> Found {
    let kinds = rules.kinds;
    let rule = |kind: Kind, found: &dyn Fn() -> Option<(usize, usize)>| {
        if !kinds.has(kind) {
            return None;
        }
        found().map(|(start, end)| (start, end, kind))
    };
    match text[place] {
        b'0'..=b'9' => digits(text, place, done, rules),
        b'@' => rule(Kind::Email, &|| email::email(text, place, 1, done)),
        b'%' if begins(text, place, b"%40") => {
            rule(Kind::Email, &|| email::email(text, place, 3, done))
        }
        b':' | b'=' => separator(text, place, done, rules),
        b'_' => underscore(text, place, done, kinds),
        b'-' => dash(text, place, done, kinds),
        b'.' if at(text, place + 1) == b's' => {
            rule(Kind::Slack, &|| tokens::slack_hook(text, place))
        }
        b'J' => rule(Kind::Jwt, &|| tokens::jwt(text, place, done)),
        b'I' => rule(Kind::Aws, &|| tokens::aws(text, place, done)),
        b'z' => rule(Kind::Google, &|| tokens::google(text, place, done)),
        b'b' | b'B' => rule(Kind::Authorization, &|| tokens::authorization(text, place)),
        _ => None,
    }
}

#[inline(always)]
fn digits(text: &[u8], place: usize, done: usize, rules: &Rules) -> Found {
    let kinds = rules.kinds;
    if kinds.has(Kind::Iban) && before(text, place, 1).is_ascii_uppercase() {
        return numbers::iban(text, place, done).map(|(start, end)| (start, end, Kind::Iban));
    }
    if !numbers::may_begin(text, place) {
        return None;
    }
    if kinds.has(Kind::Card) {
        if let Some(end) = numbers::card(text, place) {
            return Some((place, end, Kind::Card));
        }
    }
    if kinds.has(Kind::Ip) {
        if let Some(end) = numbers::ipv4(text, place, rules.keep_private_ips) {
            return Some((place, end, Kind::Ip));
        }
    }
    if kinds.has(Kind::Ssn) {
        return numbers::ssn(text, place).map(|end| (place, end, Kind::Ssn));
    }
    None
}

#[inline(always)]
fn separator(text: &[u8], place: usize, done: usize, rules: &Rules) -> Found {
    let kinds = rules.kinds;
    if begins(text, place, b"://") {
        if !kinds.has(Kind::Password) {
            return None;
        }
        return tokens::url_password(text, place).map(|(start, end)| (start, end, Kind::Password));
    }
    if kinds.has(Kind::Secret) {
        if let Some((start, end)) = names::key_value(text, place, done) {
            return Some((start, end, Kind::Secret));
        }
    }
    if text[place] == b':' && kinds.has(Kind::Ip) {
        return numbers::ipv6(text, place, done, rules.keep_private_ips)
            .map(|(start, end)| (start, end, Kind::Ip));
    }
    None
}

#[inline(always)]
fn underscore(text: &[u8], place: usize, done: usize, kinds: Kinds) -> Found {
    let (found, kind) = match before(text, place, 1) {
        b'p' | b'o' | b'u' | b's' | b'r' | b't' => {
            (tokens::github(text, place, done), Kind::Github)
        }
        b'k' | b'c' => (tokens::stripe(text, place, done), Kind::Stripe),
        b'm' => (tokens::npm(text, place, done), Kind::Npm),
        _ => return None,
    };
    found
        .filter(|_| kinds.has(kind))
        .map(|(start, end)| (start, end, kind))
}

#[inline(always)]
fn dash(text: &[u8], place: usize, done: usize, kinds: Kinds) -> Found {
    let (found, kind) = match (before(text, place, 1), at(text, place + 1)) {
        (b'-', b'B') if before(text, place, 3) == b'-' => {
            (tokens::private_key(text, place, done), Kind::PrivateKey)
        }
        (b'-', _) => (names::option(text, place), Kind::Secret),
        (b't', _) => (tokens::gitlab(text, place, done), Kind::Gitlab),
        (b'k', _) => (tokens::openai(text, place, done), Kind::Openai),
        (b'i', b'A') => (tokens::pypi(text, place, done), Kind::Pypi),
        (b'a'..=b's', _) => (tokens::slack(text, place, done), Kind::Slack),
        _ => return None,
    };
    found
        .filter(|_| kinds.has(kind))
        .map(|(start, end)| (start, end, kind))
}
