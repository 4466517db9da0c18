//! Bytes that compress like programs do, always the same ones.

pub(crate) fn content(noise: &mut impl FnMut() -> u64, size: usize) -> Vec<u8> {
    std::iter::repeat_with(noise)
        .flat_map(|word| (word % 0x0100_0000_0000).to_le_bytes())
        .take(size)
        .collect()
}

/// Always the same numbers.
pub(crate) fn noise() -> impl FnMut() -> u64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}
