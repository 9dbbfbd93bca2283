//! Every text of a record in one walk.

use super::msgpack::{array_head, map_head, skip, text};
use super::write::{write_bin, write_str};

/// What `Record::rewrite` shows the texts of a record to.
pub trait Texts {
    /// Whether to look into the field of this name (empty for one that is no str); it may hold a text, an array, a map.
    fn enter(&mut self, _name: &[u8]) -> bool {
        true
    }

    /// A text, or a bin, in the field `name` or in an array there. To replace it, append the new one to `out` and give
    /// true.
    fn text(&mut self, name: &[u8], text: &[u8], out: &mut Vec<u8>) -> bool;
}

struct Level<'v> {
    left: u64,
    is_map: bool,
    name: &'v [u8],
}

/// Append `raw` to `out` with its texts replaced; false, and `out` of no use, where none was. No recursion: depth costs
/// memory for a level, never stack.
pub fn rewrite(name: &[u8], raw: &[u8], texts: &mut impl Texts, out: &mut Vec<u8>) -> bool {
    let mut levels: Vec<Level> = Vec::new();
    let mut replaced: Vec<u8> = Vec::new();
    let (mut at, mut copied, mut name) = (0, 0, name);
    loop {
        let inner = map_head(raw, at).map(|(count, next)| (count, next, true));
        if let Some((count, next, is_map)) =
            inner.or_else(|| array_head(raw, at).map(|(count, next)| (count, next, false)))
        {
            levels.push(Level {
                left: count.into(),
                is_map,
                name,
            });
            at = next;
        } else {
            let end = match skip(raw, at) {
                Some(end) => end,
                None => return false,
            };
            let one = &raw[at..end];
            let (old, is_bin) = match one[0] {
                0xc4 => (one.get(2..), true),
                0xc5 => (one.get(3..), true),
                0xc6 => (one.get(5..), true),
                _ => (text(one), false),
            };
            if let Some(old) = old {
                replaced.clear();
                if texts.text(name, old, &mut replaced) {
                    if copied == 0 {
                        let size = raw.len() - old.len() + replaced.len() + 8;
                        out.reserve(size.next_power_of_two());
                    }
                    out.extend_from_slice(&raw[copied..at]);
                    let write = if is_bin { write_bin } else { write_str };
                    write(out, &replaced);
                    copied = end;
                }
            }
            at = end;
        }
        // On to the next value: up from what is finished, over keys, past fields that are not to be looked into.
        loop {
            let level = match levels.last_mut() {
                Some(level) => level,
                None => {
                    out.extend_from_slice(&raw[copied..]);
                    return copied > 0;
                }
            };
            if level.left == 0 {
                levels.pop();
                continue;
            }
            level.left -= 1;
            name = level.name;
            if !level.is_map {
                break;
            }
            let key_end = match skip(raw, at) {
                Some(end) => end,
                None => return false,
            };
            name = text(&raw[at..key_end]).unwrap_or_default();
            at = key_end;
            if texts.enter(name) {
                break;
            }
            at = match skip(raw, at) {
                Some(end) => end,
                None => return false,
            };
        }
    }
}
