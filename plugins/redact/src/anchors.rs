//! Where to look: the anchors of 64 bytes at a time, by SIMD.

pub const BLOCK: usize = 64;

/// Bit by bit for 64 bytes.
#[derive(Clone, Copy, Default)]
pub struct Masks {
    digits: u64,
    letters: u64,
    capitals: u64,
    colons: u64,
    dashes: u64,
    points: u64,
    /// s
    esses: u64,
    /// % = @ _
    marks: u64,
    /// B b
    first_letters: u64,
    /// I J z
    later_letters: u64,
}

#[cfg(target_arch = "wasm32")]
#[target_feature(enable = "simd128")]
pub unsafe fn masks(block: *const u8) -> Masks {
    use core::arch::wasm32::*;
    // Bits that a byte's lower and upper half have in common tell what it is.
    const PERCENT: u8 = 1;
    const EQUALS: u8 = 2;
    const COLON: u8 = 4;
    const AT: u8 = 8;
    const LINE: u8 = 16;
    const B: u8 = 32;
    const I_J: u8 = 64;
    const Z: u8 = 128;
    let low = u8x16(
        AT,
        0,
        B,
        0,
        0,
        PERCENT,
        0,
        0,
        0,
        I_J,
        COLON | I_J | Z,
        0,
        0,
        EQUALS,
        0,
        LINE,
    );
    let high = u8x16(
        0,
        0,
        PERCENT,
        EQUALS | COLON,
        AT | B | I_J,
        LINE,
        B,
        Z,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    );
    let mut found = Masks::default();
    for part in 0..4 {
        let bytes = v128_load(block.add(part * 16) as *const v128);
        let lows = u8x16_swizzle(low, v128_and(bytes, u8x16_splat(15)));
        let kinds = v128_and(lows, u8x16_swizzle(high, u8x16_shr(bytes, 4)));
        let bits = |are| (u8x16_bitmask(are) as u64) << (part * 16);
        let range = |bytes, first, count| {
            bits(u8x16_lt(
                u8x16_sub(bytes, u8x16_splat(first)),
                u8x16_splat(count),
            ))
        };
        let any = |wanted| {
            bits(u8x16_ne(
                v128_and(kinds, u8x16_splat(wanted)),
                u8x16_splat(0),
            ))
        };
        found.digits |= range(bytes, b'0', 10);
        found.letters |= range(v128_or(bytes, u8x16_splat(0x20)), b'a', 26);
        found.capitals |= range(bytes, b'A', 26);
        found.colons |= any(COLON);
        found.dashes |= bits(u8x16_eq(bytes, u8x16_splat(b'-')));
        found.points |= bits(u8x16_eq(bytes, u8x16_splat(b'.')));
        found.esses |= bits(u8x16_eq(bytes, u8x16_splat(b's')));
        found.marks |= any(PERCENT | EQUALS | AT | LINE);
        found.first_letters |= any(B);
        found.later_letters |= any(I_J | Z);
    }
    found
}

#[cfg(not(target_arch = "wasm32"))]
pub unsafe fn masks(block: *const u8) -> Masks {
    let mut found = Masks::default();
    for (place, byte) in std::slice::from_raw_parts(block, BLOCK).iter().enumerate() {
        let bit = |is: bool| (is as u64) << place;
        found.digits |= bit(byte.is_ascii_digit());
        found.letters |= bit(byte.is_ascii_alphabetic());
        found.capitals |= bit(byte.is_ascii_uppercase());
        found.colons |= bit(*byte == b':');
        found.dashes |= bit(*byte == b'-');
        found.points |= bit(*byte == b'.');
        found.esses |= bit(*byte == b's');
        found.marks |= bit(b"%=@_".contains(byte));
        found.first_letters |= bit(b"Bb".contains(byte));
        found.later_letters |= bit(b"IJz".contains(byte));
    }
    found
}

impl Masks {
    /// The places to judge, given the byte before the block: anchors that have around them what their rules ask for
    /// first. What is outside the block is taken for granted.
    pub fn anchors(&self, last: u8) -> u64 {
        let ahead = |mask: u64, count: u32| !(!mask >> count);
        let behind = |mask: u64, count: u32| !(!mask << count);
        let (digits, letters) = (self.digits, self.letters);
        let after_letter = letters << 1 | last.is_ascii_alphabetic() as u64;
        let after_digit = digits << 1 | last.is_ascii_digit() as u64;
        // The colons of a time: two digits before, one after.
        let times = after_digit & digits >> 1 & !behind(digits | letters, 3);
        let mut found = self.marks
            | self.colons & !times
            | self.dashes & (after_letter | behind(self.dashes, 1))
            | self.points & ahead(self.esses, 1)
            | self.first_letters & !after_letter
            | self.later_letters & after_letter;
        // Of a row of digits the first.
        let first = digits & !after_digit;
        if first != 0 {
            let (two, three) = (ahead(digits, 1), ahead(digits, 1) & ahead(digits, 2));
            let card = three & ahead(digits, 3);
            let ip =
                ahead(self.points, 1) | two & ahead(self.points, 2) | three & ahead(self.points, 3);
            let ssn = three & ahead(self.dashes, 3);
            let iban = two & behind(self.capitals, 1) & behind(self.capitals, 2);
            found |= first & (iban | !after_letter & (card | ip | ssn));
        }
        found
    }
}
