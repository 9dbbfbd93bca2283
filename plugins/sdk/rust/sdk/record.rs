//! A record: its tag and time, and its fields, to be read and changed.

use super::memory::Arena;
use super::msgpack::{array_head, map, map_head, skip, text, value, Map, Value};
use super::texts::{self, Texts};
use super::write::{write_map_head, write_str, ToValue};

/// When a record was made, since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

impl Time {
    pub(super) fn head(self) -> Vec<u8> {
        let mut head = vec![0x92, 0x92, 0xd7, 0x00];
        head.extend_from_slice(&(self.seconds as u32).to_be_bytes());
        head.extend_from_slice(&self.nanoseconds.to_be_bytes());
        head.push(0x80);
        head
    }
}

#[derive(Clone, Copy)]
struct Field<'a> {
    key: &'a [u8],
    /// The text of the key; `None` where it is no str.
    name: Option<&'a [u8]>,
    value: &'a [u8],
}

/// One record. Names and values that are read from it live as long as the call.
///
/// Fields are found by name; where several have one name, the last counts, and a change leaves but that one.
pub struct Record<'a> {
    arena: &'a Arena,
    tag: &'a str,
    head: &'a [u8],
    fields: Vec<Field<'a>>,
    changed: bool,
    scratch: Vec<u8>,
    pub(super) extra: Vec<u8>,
    pub(super) extra_count: u32,
}

impl<'a> Record<'a> {
    pub(super) fn new(arena: &'a Arena, tag: &'a str, head: &'a [u8]) -> Self {
        Record {
            arena,
            tag,
            head,
            fields: Vec::new(),
            changed: false,
            scratch: Vec::new(),
            extra: Vec::new(),
            extra_count: 0,
        }
    }

    /// Take the entry that begins at `at`; gives where it ends, `None` where there is no whole one.
    pub(super) fn read(&mut self, block: &'a [u8], at: usize) -> Option<usize> {
        self.changed = false;
        self.fields.clear();
        let (parts, stamp) = array_head(block, at)?;
        if parts != 2 {
            return None;
        }
        let head_end = skip(block, stamp)?;
        let (count, mut next) = map_head(block, head_end)?;
        self.head = &block[at..head_end];
        for _ in 0..count {
            let key_end = skip(block, next)?;
            let end = skip(block, key_end)?;
            let key = &block[next..key_end];
            self.fields.push(Field {
                key,
                name: text(key),
                value: &block[key_end..end],
            });
            next = end;
        }
        Some(next)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head);
        write_map_head(out, self.fields.len());
        for field in &self.fields {
            out.extend_from_slice(field.key);
            out.extend_from_slice(field.value);
        }
    }

    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// The tag the record came under.
    pub fn tag(&self) -> &'a str {
        self.tag
    }

    /// The time in the head, behind the arrays around it, and what follows it there: the metadata.
    fn stamp(&self) -> (&'a [u8], &'a [u8]) {
        let inside = |raw: &'a [u8]| array_head(raw, 0).map(|(_, at)| &raw[at..]);
        let whole = inside(self.head).unwrap_or_default();
        let stamp = inside(whole).unwrap_or(whole);
        stamp.split_at(skip(stamp, 0).unwrap_or(stamp.len()))
    }

    /// Its time; zero where it has none that can be read.
    pub fn time(&self) -> Time {
        match value(self.stamp().0) {
            Some(Value::Int(seconds)) => Time {
                seconds,
                nanoseconds: 0,
            },
            Some(Value::Float(time)) => {
                // What the cast rounds down is a positive part of a second.
                let seconds = time as i64 - (time < (time as i64) as f64) as i64;
                let nanoseconds = ((time - seconds as f64) * 1e9) as u32;
                Time {
                    seconds,
                    nanoseconds,
                }
            }
            Some(Value::Ext(0, &[a, b, c, d, e, f, g, h])) => Time {
                seconds: u32::from_be_bytes([a, b, c, d]).into(),
                nanoseconds: u32::from_be_bytes([e, f, g, h]),
            },
            _ => Time {
                seconds: 0,
                nanoseconds: 0,
            },
        }
    }

    /// Whether it is none but marks where a group of records begins or ends: an EventTime of second -1 or -2.
    pub(super) fn is_marker(&self) -> bool {
        match self.stamp().0 {
            [0xd7, 0, time @ ..] | [0xc7, 8, 0, time @ ..] => {
                matches!(time, [0xff, 0xff, 0xff, 0xfe | 0xff, 0, 0, 0, 0])
            }
            _ => false,
        }
    }

    /// Its metadata; `None` where it has none.
    pub fn metadata(&self) -> Option<Map<'a>> {
        map(self.stamp().1).filter(|map| !map.is_empty())
    }

    /// Add a record of your own, made by `fill`, before this one. At most 16 for each that came.
    pub fn emit(&mut self, time: Time, fill: impl FnOnce(&mut Record)) {
        new_record(self.tag, time, fill, &mut self.extra);
        self.extra_count += 1;
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Its fields in order, those left out whose name is not text.
    pub fn iter<'r>(&'r self) -> impl Iterator<Item = (&'a str, Value<'a>)> + 'r {
        self.fields
            .iter()
            .filter_map(|field| Some((std::str::from_utf8(field.name?).ok()?, value(field.value)?)))
    }

    fn place(&self, name: &str) -> Option<usize> {
        let name = Some(name.as_bytes());
        self.fields.iter().rposition(|field| field.name == name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.place(name).is_some()
    }

    /// A field's value.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        value(self.fields[self.place(name)?].value)
    }

    /// A value inside maps: `record.at(&["kubernetes", "labels", "app"])`.
    pub fn at(&self, path: &[&str]) -> Option<Value<'a>> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.get(first)?, |value, name| value.as_map()?.get(name))
    }

    /// A field's text; `None` where it is absent or no text.
    pub fn str(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    /// The bytes of a text or a bin, whether UTF-8 or not.
    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        match self.get(name)? {
            Value::Str(text) => Some(text.as_bytes()),
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A field's integer, where it fits.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_int()
    }

    /// A field's number.
    pub fn float(&self, name: &str) -> Option<f64> {
        self.get(name)?.as_float()
    }

    pub fn bool(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    /// Give a field a value: in its place, or at the end where it is new.
    pub fn set<V: ToValue>(&mut self, name: &str, value: V) {
        let raw = self.packed(value);
        self.put(name, raw);
    }

    /// The same for a field inside maps; those that are missing are made, what is no map and in the way is replaced.
    pub fn set_at<V: ToValue>(&mut self, path: &[&str], value: V) {
        let raw = self.packed(value);
        self.put_at(path, Some(raw));
    }

    /// Remove a field; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.fields.len();
        self.fields
            .retain(|field| field.name != Some(name.as_bytes()));
        let removed = self.fields.len() < before;
        self.changed |= removed;
        removed
    }

    /// Remove a field inside maps; whether it was there.
    pub fn remove_at(&mut self, path: &[&str]) -> bool {
        let there = self.at(path).is_some();
        if there {
            self.put_at(path, None);
        }
        there
    }

    /// Give a field another name, in place of one that had it; whether it was there.
    pub fn rename(&mut self, from: &str, to: &str) -> bool {
        let place = match self.place(from) {
            Some(place) => place,
            None => return false,
        };
        if from != to {
            let key = self.packed(to);
            self.fields[place].key = key;
            self.fields[place].name = text(key);
            self.only(place, &[from, to]);
            self.changed = true;
        }
        true
    }

    /// Offer every text at any depth to `texts`, which may write another in its place. Keys stay as they are.
    pub fn rewrite(&mut self, texts: &mut impl Texts) {
        for field in &mut self.fields {
            let name = field.name.unwrap_or_default();
            if texts.enter(name) {
                self.scratch.clear();
                if texts::rewrite(name, field.value, texts, &mut self.scratch) {
                    field.value = self.arena.keep(&mut self.scratch);
                    self.changed = true;
                }
            }
        }
    }

    fn packed<V: ToValue>(&mut self, value: V) -> &'a [u8] {
        self.scratch.clear();
        value.put(&mut self.scratch);
        self.arena.keep(&mut self.scratch)
    }

    fn put(&mut self, name: &str, raw: &'a [u8]) {
        match self.place(name) {
            Some(place) => {
                self.changed |= self.fields[place].value != raw;
                self.fields[place].value = raw;
                self.only(place, &[name]);
            }
            None => {
                let key = self.packed(name);
                self.fields.push(Field {
                    key,
                    name: text(key),
                    value: raw,
                });
                self.changed = true;
            }
        }
    }

    /// Remove what has one of these names and is not at `place`.
    fn only(&mut self, place: usize, names: &[&str]) {
        let (mut at, before) = (0, self.fields.len());
        self.fields.retain(|field| {
            at += 1;
            at == place + 1 || !names.iter().any(|name| field.name == Some(name.as_bytes()))
        });
        self.changed |= self.fields.len() < before;
    }

    fn put_at(&mut self, path: &[&str], raw: Option<&'a [u8]>) {
        let (first, rest) = match path.split_first() {
            Some(parts) => parts,
            None => return,
        };
        if rest.is_empty() {
            match raw {
                Some(raw) => self.put(first, raw),
                None => drop(self.remove(first)),
            }
            return;
        }
        let mut made = Vec::new();
        nested(
            self.place(first).map(|place| self.fields[place].value),
            rest,
            raw,
            &mut made,
        );
        let kept = self.arena.keep(&mut made);
        self.put(first, kept);
    }
}

/// Append the map `old` with the field at `path` changed or, where `new` is `None`, removed.
fn nested(old: Option<&[u8]>, path: &[&str], new: Option<&[u8]>, out: &mut Vec<u8>) {
    let (name, rest) = match path.split_first() {
        Some(parts) => parts,
        None => return out.extend_from_slice(new.unwrap_or(&[0xc0])),
    };
    let gone = new.is_none() && rest.is_empty();
    let mut fields: Vec<(&[u8], &[u8])> = Vec::new();
    let mut left = old.and_then(map);
    while let Some(field) = left.as_mut().and_then(Map::next_raw) {
        fields.push(field);
    }
    let is_it = |key: &[u8]| text(key) == Some(name.as_bytes());
    let place = fields.iter().rposition(|(key, _)| is_it(key));
    let same = fields.iter().filter(|(key, _)| is_it(key)).count();
    write_map_head(out, fields.len() - same + !gone as usize);
    for (at, (key, raw)) in fields.iter().enumerate() {
        if Some(at) == place && !gone {
            out.extend_from_slice(key);
            nested(Some(raw), rest, new, out);
        } else if !is_it(key) {
            out.extend_from_slice(key);
            out.extend_from_slice(raw);
        }
    }
    if place.is_none() && !gone {
        write_str(out, name.as_bytes());
        nested(None, rest, new, out);
    }
}

/// Append an entry of one's own.
pub(super) fn new_record(tag: &str, time: Time, fill: impl FnOnce(&mut Record), out: &mut Vec<u8>) {
    let arena = Arena::new();
    let head = time.head();
    let mut record = Record::new(&arena, tag, &head);
    fill(&mut record);
    record.write(out);
}
