//! MessagePack, written.

use super::msgpack::Value;

fn write_head(out: &mut Vec<u8>, len: usize, fixed: Option<(usize, u8)>, heads: [u8; 3]) {
    match (fixed, len) {
        (Some((most, first)), _) if len < most => out.push(first | len as u8),
        (_, 0..=0xff) if heads[0] != 0 => out.extend_from_slice(&[heads[0], len as u8]),
        (_, 0..=0xffff) => {
            out.push(heads[1]);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(heads[2]);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

pub fn write_str(out: &mut Vec<u8>, text: &[u8]) {
    write_head(out, text.len(), Some((32, 0xa0)), [0xd9, 0xda, 0xdb]);
    out.extend_from_slice(text);
}

pub fn write_bin(out: &mut Vec<u8>, bytes: &[u8]) {
    write_head(out, bytes.len(), None, [0xc4, 0xc5, 0xc6]);
    out.extend_from_slice(bytes);
}

pub fn write_map_head(out: &mut Vec<u8>, len: usize) {
    write_head(out, len, Some((16, 0x80)), [0, 0xde, 0xdf]);
}

pub fn write_array_head(out: &mut Vec<u8>, len: usize) {
    write_head(out, len, Some((16, 0x90)), [0, 0xdc, 0xdd]);
}

/// A number in digits.
pub fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out[start..].reverse();
}

/// What can be put into a record.
pub trait ToValue {
    /// Append it as MessagePack.
    fn put(&self, out: &mut Vec<u8>);
}

impl ToValue for str {
    fn put(&self, out: &mut Vec<u8>) {
        write_str(out, self.as_bytes());
    }
}

impl ToValue for String {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_str().put(out);
    }
}

impl ToValue for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(if *self { 0xc3 } else { 0xc2 });
    }
}

impl ToValue for () {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(0xc0);
    }
}

impl ToValue for f64 {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(0xcb);
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl ToValue for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        let number = *self;
        match number {
            0..=0x7f => out.push(number as u8),
            0x80..=0xff => out.extend_from_slice(&[0xcc, number as u8]),
            0x100..=0xffff => {
                out.push(0xcd);
                out.extend_from_slice(&(number as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                out.push(0xce);
                out.extend_from_slice(&(number as u32).to_be_bytes());
            }
            _ => {
                out.push(0xcf);
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
    }
}

impl ToValue for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        match *self {
            0..=i64::MAX => (*self as u64).put(out),
            -32..=-1 => out.push(*self as u8),
            -0x80..=-33 => out.extend_from_slice(&[0xd0, *self as u8]),
            -0x8000..=-0x81 => {
                out.push(0xd1);
                out.extend_from_slice(&(*self as i16).to_be_bytes());
            }
            -0x8000_0000..=-0x8001 => {
                out.push(0xd2);
                out.extend_from_slice(&(*self as i32).to_be_bytes());
            }
            _ => {
                out.push(0xd3);
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    }
}

macro_rules! as_wider {
    ($($narrow:ty => $wide:ty),*) => {$(
        impl ToValue for $narrow {
            fn put(&self, out: &mut Vec<u8>) {
                (*self as $wide).put(out);
            }
        }
    )*};
}

as_wider!(i8 => i64, i16 => i64, i32 => i64, isize => i64, u8 => u64, u16 => u64, u32 => u64, usize => u64, f32 => f64);

impl<T: ToValue + ?Sized> ToValue for &T {
    fn put(&self, out: &mut Vec<u8>) {
        (**self).put(out);
    }
}

impl<T: ToValue> ToValue for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.put(out),
            None => ().put(out),
        }
    }
}

impl<T: ToValue> ToValue for [T] {
    fn put(&self, out: &mut Vec<u8>) {
        write_array_head(out, self.len());
        for value in self {
            value.put(out);
        }
    }
}

impl<T: ToValue> ToValue for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_slice().put(out);
    }
}

impl ToValue for Value<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Value::Nil => ().put(out),
            Value::Bool(it) => it.put(out),
            Value::Int(number) => number.put(out),
            Value::UInt(number) => number.put(out),
            Value::Float(number) => number.put(out),
            Value::Str(text) => text.put(out),
            Value::Bytes(bytes) => write_bin(out, bytes),
            Value::Array(array) => {
                write_array_head(out, array.len());
                out.extend_from_slice(array.bytes);
            }
            Value::Map(map) => {
                write_map_head(out, map.len());
                out.extend_from_slice(map.bytes);
            }
            Value::Ext(kind, data) => {
                write_head(out, data.len(), None, [0xc7, 0xc8, 0xc9]);
                out.push(kind as u8);
                out.extend_from_slice(data);
            }
        }
    }
}
