//! The configuration: JSON, read where it stands. The host has checked that it is JSON.

/// The `config` table of the plugin. Every getter gives `None` for what is not set, and an error that tells what was
/// expected for what is set otherwise; let `Plugin::new` hand it on with `?`.
///
/// ```ignore
/// config.only(&["every", "name"])?;
/// let every = config.int("every")?.unwrap_or(10);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Config<'a>(Json<'a>);

impl<'a> Config<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Config(Json(text))
    }

    /// Refuse every setting that is not one of these.
    pub fn only(&self, names: &[&str]) -> Result<(), String> {
        for (name, _) in self.0.fields().unwrap_or_default() {
            if !names.contains(&name.as_str()) {
                let known = names.join(", ");
                return Err(["`", &name, "`: no such setting; expected ", &known].concat());
            }
        }
        Ok(())
    }

    /// A setting as it is.
    pub fn get(&self, name: &str) -> Option<Json<'a>> {
        self.0.get(name)
    }

    pub fn str(&self, name: &str) -> Result<Option<String>, String> {
        self.typed(name, "a text", Json::str)
    }

    pub fn int(&self, name: &str) -> Result<Option<i64>, String> {
        self.typed(name, "an integer", Json::int)
    }

    pub fn float(&self, name: &str) -> Result<Option<f64>, String> {
        self.typed(name, "a number", Json::float)
    }

    pub fn bool(&self, name: &str) -> Result<Option<bool>, String> {
        self.typed(name, "true or false", Json::bool)
    }

    /// A list of texts.
    pub fn list(&self, name: &str) -> Result<Option<Vec<String>>, String> {
        self.typed(name, "a list of texts", |json| {
            json.items()?.iter().map(Json::str).collect()
        })
    }

    fn typed<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&Json<'a>) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(json) => match read(&json) {
                None => Err(["`", name, "`: expected ", what].concat()),
                found => Ok(found),
            },
        }
    }
}

/// A JSON value, as its text.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(&'a [u8]);

fn blank(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Where the value that begins at `at` ends.
fn end_of(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0u32;
    loop {
        match *text.get(at)? {
            b'"' => {
                at += 1;
                while *text.get(at)? != b'"' {
                    at += 1 + (text[at] == b'\\') as usize;
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            _ => {
                while !matches!(
                    text.get(at),
                    None | Some(b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')
                ) {
                    at += 1;
                }
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

impl<'a> Json<'a> {
    fn trimmed(&self) -> &'a [u8] {
        let text = &self.0[blank(self.0, 0)..];
        end_of(text, 0).map_or(&[], |end| &text[..end])
    }

    /// The values between brackets.
    fn inside(&self, open: u8) -> Option<Vec<Json<'a>>> {
        let text = self.trimmed();
        if *text.first()? != open {
            return None;
        }
        let mut found = Vec::new();
        let mut at = 1;
        loop {
            at = blank(text, at);
            match *text.get(at)? {
                b'}' | b']' => return Some(found),
                b',' | b':' => at += 1,
                _ => {
                    let end = end_of(text, at)?;
                    found.push(Json(&text[at..end]));
                    at = end;
                }
            }
        }
    }

    /// The items of a list.
    pub fn items(&self) -> Option<Vec<Json<'a>>> {
        self.inside(b'[')
    }

    /// Names and values of an object.
    pub fn fields(&self) -> Option<Vec<(String, Json<'a>)>> {
        let all = self.inside(b'{')?;
        all.chunks_exact(2)
            .map(|pair| Some((pair[0].str()?, pair[1])))
            .collect()
    }

    pub fn get(&self, name: &str) -> Option<Json<'a>> {
        self.fields()?
            .into_iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    pub fn is_null(&self) -> bool {
        self.trimmed() == b"null"
    }

    pub fn bool(&self) -> Option<bool> {
        match self.trimmed() {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    pub fn int(&self) -> Option<i64> {
        let text = self.trimmed();
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if digits.is_empty() {
            return None;
        }
        let sign = if digits.len() < text.len() { -1 } else { 1 };
        digits.iter().try_fold(0i64, |number, &digit| match digit {
            b'0'..=b'9' => number
                .checked_mul(10)?
                .checked_add(sign * (digit - b'0') as i64),
            _ => None,
        })
    }

    /// Any number, to some 15 digits: exact parsing would be half of a plugin's size.
    pub fn float(&self) -> Option<f64> {
        let text = self.trimmed();
        let (mut number, mut shift, mut seen_point) = (0f64, 0i32, false);
        let mut at = (text.first() == Some(&b'-')) as usize;
        let start = at;
        while let Some(&byte) = text.get(at) {
            match byte {
                b'0'..=b'9' => {
                    number = number * 10.0 + (byte - b'0') as f64;
                    shift -= seen_point as i32;
                }
                b'.' if !seen_point => seen_point = true,
                b'e' | b'E' if at > start => {
                    let power = &text[at + 1..];
                    shift = shift.checked_add(
                        Json(power.strip_prefix(b"+").unwrap_or(power))
                            .int()?
                            .try_into()
                            .ok()?,
                    )?;
                    break;
                }
                _ => return None,
            }
            at += 1;
        }
        if at == start {
            return None;
        }
        let mut power = 1f64;
        for _ in 0..shift.unsigned_abs().min(400) {
            power *= 10.0;
        }
        let size = if shift < 0 {
            number / power
        } else {
            number * power
        };
        Some(if start > 0 { -size } else { size })
    }

    /// A text, its escapes undone.
    pub fn str(&self) -> Option<String> {
        let text = self.trimmed().strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let mut out: Vec<u8> = Vec::new();
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            at += 1;
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            let escaped = *text.get(at)?;
            at += 1;
            match escaped {
                b'n' => out.push(b'\n'),
                b't' => out.push(b'\t'),
                b'r' => out.push(b'\r'),
                b'b' => out.push(8),
                b'f' => out.push(12),
                b'u' => {
                    let mut unit = hex(text, at)?;
                    at += 4;
                    let low = hex(text, at + 2)
                        .filter(|low| text[at..].starts_with(b"\\u") && low & 0xfc00 == 0xdc00);
                    if let (0xd800..=0xdbff, Some(low)) = (unit, low) {
                        unit = 0x1_0000 + ((unit & 0x3ff) << 10) + (low & 0x3ff);
                        at += 6;
                    }
                    let shown = char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
                    out.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
                }
                other => out.push(other),
            }
        }
        String::from_utf8(out).ok()
    }
}

fn hex(text: &[u8], at: usize) -> Option<u32> {
    text.get(at..at + 4)?.iter().try_fold(0, |number, &digit| {
        Some(number << 4 | (digit as char).to_digit(16)?)
    })
}
