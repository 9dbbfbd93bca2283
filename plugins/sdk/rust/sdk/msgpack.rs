//! MessagePack, read where it stands: every read is checked against the end of the block.

/// A value. Text and bytes are those of the block, not copied.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    /// An integer above `i64::MAX`.
    UInt(u64),
    Float(f64),
    Str(&'a str),
    /// A bin, or a str that is not UTF-8.
    Bytes(&'a [u8]),
    Array(Array<'a>),
    Map(Map<'a>),
    /// Type and data.
    Ext(i8, &'a [u8]),
}

impl<'a> Value<'a> {
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// An integer that fits.
    pub fn as_int(self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(number),
            _ => None,
        }
    }

    /// A float, or any integer as one.
    pub fn as_float(self) -> Option<f64> {
        match self {
            Value::Float(number) => Some(number),
            Value::Int(number) => Some(number as f64),
            Value::UInt(number) => Some(number as f64),
            _ => None,
        }
    }

    pub fn as_bool(self) -> Option<bool> {
        match self {
            Value::Bool(it) => Some(it),
            _ => None,
        }
    }

    pub fn as_map(self) -> Option<Map<'a>> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn as_array(self) -> Option<Array<'a>> {
        match self {
            Value::Array(array) => Some(array),
            _ => None,
        }
    }
}

/// The items of an array, in order.
#[derive(Clone, Copy, Debug)]
pub struct Array<'a> {
    pub(super) left: u32,
    pub(super) bytes: &'a [u8],
}

impl Array<'_> {
    pub fn len(&self) -> usize {
        self.left as usize
    }

    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Array<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (raw, rest) = self.bytes.split_at(skip(self.bytes, 0)?);
        self.bytes = rest;
        value(raw)
    }
}

/// The fields of a map, in order, with keys that need not be strings.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    pub(super) left: u32,
    pub(super) bytes: &'a [u8],
}

impl<'a> Map<'a> {
    /// The field called `name`; the last, where there are several.
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        let (mut rest, mut found) = (self, None);
        while let Some((key, raw)) = rest.next_raw() {
            if text(key) == Some(name.as_bytes()) {
                found = Some(raw);
            }
        }
        value(found?)
    }

    pub fn len(&self) -> usize {
        self.left as usize
    }

    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next field as its bytes.
    pub(super) fn next_raw(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        self.left = self.left.checked_sub(1)?;
        let middle = skip(self.bytes, 0)?;
        let end = skip(self.bytes, middle)?;
        let field = (&self.bytes[..middle], &self.bytes[middle..end]);
        self.bytes = &self.bytes[end..];
        Some(field)
    }
}

impl<'a> Iterator for Map<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<(Value<'a>, Value<'a>)> {
        let (key, raw) = self.next_raw()?;
        Some((value(key)?, value(raw)?))
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn number8(bytes: &[u8], at: usize) -> Option<usize> {
    Some(*bytes.get(at)? as usize)
}

fn number16(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_be_bytes(number(bytes, at)?) as usize)
}

fn number32(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_be_bytes(number(bytes, at)?) as usize)
}

/// What begins at `at`: how long its own bytes are, and how many objects follow that are part of it.
#[inline(always)]
fn step(bytes: &[u8], at: usize) -> Option<(usize, u64)> {
    let first = *bytes.get(at)?;
    let size = match first {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => 1,
        0xa0..=0xbf => 1 + (first & 31) as usize,
        0x80..=0x8f => return Some((1, (first & 15) as u64 * 2)),
        0x90..=0x9f => return Some((1, (first & 15) as u64)),
        0xcc | 0xd0 => 2,
        0xcd | 0xd1 | 0xd4 => 3,
        0xd5 => 4,
        0xca | 0xce | 0xd2 => 5,
        0xd6 => 6,
        0xcb | 0xcf | 0xd3 => 9,
        0xd7 => 10,
        0xd8 => 18,
        0xc4 | 0xd9 => 2 + number8(bytes, at + 1)?,
        0xc5 | 0xda => 3 + number16(bytes, at + 1)?,
        0xc6 | 0xdb => 5usize.checked_add(number32(bytes, at + 1)?)?,
        0xc7 => 3 + number8(bytes, at + 1)?,
        0xc8 => 4 + number16(bytes, at + 1)?,
        0xc9 => 6usize.checked_add(number32(bytes, at + 1)?)?,
        0xdc => return Some((3, number16(bytes, at + 1)? as u64)),
        0xdd => return Some((5, number32(bytes, at + 1)? as u64)),
        0xde => return Some((3, number16(bytes, at + 1)? as u64 * 2)),
        0xdf => return Some((5, number32(bytes, at + 1)? as u64 * 2)),
        0xc1 => return None,
    };
    Some((size, 0))
}

/// Where the object that begins at `at` ends; `None`: it is none, or goes past the end.
#[inline(always)]
pub fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let (size, more) = step(bytes, at)?;
    if size > bytes.len() - at {
        return None;
    }
    if more > 0 {
        return skip_all(bytes, at + size, more);
    }
    Some(at + size)
}

fn skip_all(bytes: &[u8], mut at: usize, mut left: u64) -> Option<usize> {
    while left > 0 {
        let (size, more) = step(bytes, at)?;
        if size > bytes.len() - at {
            return None;
        }
        at += size;
        left += more;
        left -= 1;
    }
    Some(at)
}

/// What a str holds; `None` for another object.
#[inline(always)]
pub fn text(raw: &[u8]) -> Option<&[u8]> {
    match *raw.first()? {
        0xa0..=0xbf => raw.get(1..),
        0xd9 => raw.get(2..),
        0xda => raw.get(3..),
        0xdb => raw.get(5..),
        _ => None,
    }
}

/// How many fields a map has and where they begin; `None` for another object.
pub fn map_head(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    match *bytes.get(at)? {
        first @ 0x80..=0x8f => Some(((first & 15) as u32, at + 1)),
        0xde => Some((number16(bytes, at + 1)? as u32, at + 3)),
        0xdf => Some((number32(bytes, at + 1)? as u32, at + 5)),
        _ => None,
    }
}

/// The same for an array.
pub fn array_head(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    match *bytes.get(at)? {
        first @ 0x90..=0x9f => Some(((first & 15) as u32, at + 1)),
        0xdc => Some((number16(bytes, at + 1)? as u32, at + 3)),
        0xdd => Some((number32(bytes, at + 1)? as u32, at + 5)),
        _ => None,
    }
}

/// A map of which all bytes are known to be there.
pub fn map(raw: &[u8]) -> Option<Map<'_>> {
    let (left, at) = map_head(raw, 0)?;
    Some(Map {
        left,
        bytes: &raw[at..],
    })
}

/// One whole object as a value.
pub fn value(raw: &[u8]) -> Option<Value<'_>> {
    if let Some(text) = text(raw) {
        return Some(std::str::from_utf8(text).map_or(Value::Bytes(text), Value::Str));
    }
    if let Some(map) = map(raw) {
        return Some(Value::Map(map));
    }
    if let Some((left, at)) = array_head(raw, 0) {
        return Some(Value::Array(Array {
            left,
            bytes: &raw[at..],
        }));
    }
    let ext = |at: usize| Some(Value::Ext(*raw.get(at)? as i8, raw.get(at + 1..)?));
    Some(match *raw.first()? {
        first @ 0x00..=0x7f => Value::Int(first.into()),
        first @ 0xe0..=0xff => Value::Int((first as i8).into()),
        0xc0 => Value::Nil,
        0xc2 => Value::Bool(false),
        0xc3 => Value::Bool(true),
        0xcc => Value::Int(number8(raw, 1)? as i64),
        0xcd => Value::Int(u16::from_be_bytes(number(raw, 1)?).into()),
        0xce => Value::Int(u32::from_be_bytes(number(raw, 1)?).into()),
        0xcf => {
            let number = u64::from_be_bytes(number(raw, 1)?);
            i64::try_from(number).map_or(Value::UInt(number), Value::Int)
        }
        0xd0 => Value::Int(i8::from_be_bytes(number(raw, 1)?).into()),
        0xd1 => Value::Int(i16::from_be_bytes(number(raw, 1)?).into()),
        0xd2 => Value::Int(i32::from_be_bytes(number(raw, 1)?).into()),
        0xd3 => Value::Int(i64::from_be_bytes(number(raw, 1)?)),
        0xca => Value::Float(f32::from_be_bytes(number(raw, 1)?).into()),
        0xcb => Value::Float(f64::from_be_bytes(number(raw, 1)?)),
        0xc4 => Value::Bytes(raw.get(2..)?),
        0xc5 => Value::Bytes(raw.get(3..)?),
        0xc6 => Value::Bytes(raw.get(5..)?),
        0xd4..=0xd8 => ext(1)?,
        0xc7 => ext(2)?,
        0xc8 => ext(3)?,
        0xc9 => ext(5)?,
        _ => return None,
    })
}
