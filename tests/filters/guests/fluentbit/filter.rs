//! A Fluent Bit filter in msgpack mode that, like Fluent Bit's own test plugin, has no `malloc` to export, and answers
//! with a pointer to bytes that it has freed and that no zero byte follows.

const SECRET: &[u8] = b"\xa8password";

fn header(record: &[u8]) -> (usize, usize) {
    match record[0] {
        first @ 0x80..=0x8f => ((first & 15) as usize, 1),
        0xde => (u16::from_be_bytes([record[1], record[2]]) as usize, 3),
        0xdf => (u32::from_be_bytes([record[1], record[2], record[3], record[4]]) as usize, 5),
        _ => panic!("no map"),
    }
}

#[no_mangle]
pub extern "C" fn rust_filter(_tag: *const u8, _tag_len: u32, _sec: u32, _nsec: u32, record: *const u8, len: u32) -> *const u8 {
    let record = unsafe { std::slice::from_raw_parts(record, len as usize) };
    if record.windows(SECRET.len()).any(|part| part == SECRET) {
        return std::ptr::null();
    }
    let (count, begin) = header(record);
    let mut answer = Vec::with_capacity(record.len() + 32);
    if count + 1 < 16 {
        answer.push(0x80 | (count + 1) as u8);
    } else {
        answer.push(0xde);
        answer.extend_from_slice(&((count + 1) as u16).to_be_bytes());
    }
    answer.extend_from_slice(&record[begin..]);
    answer.extend_from_slice(b"\xa8platform\xa4wasm");
    answer.as_ptr()
}
