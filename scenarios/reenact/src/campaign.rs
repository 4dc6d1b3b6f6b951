//! Many runs: the processes they run in, what they add up to, and what is kept of them.

pub mod honesty;
pub mod interrupt;
pub mod intervals;
pub mod keep;
pub mod pool;
pub mod tally;

/// What this build is called in kept plans: the version, and a hash of the program itself, so that a step and a trace
/// are only compared within one build.
pub fn build() -> String {
    let program = std::fs::read("/proc/self/exe").unwrap_or_default();
    // FNV-1a in eights: the program has some megabytes, and this is asked once.
    let hash = program.chunks(8).fold(0xcbf2_9ce4_8422_2325_u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    });
    format!("{} {hash:016x}", env!("CARGO_PKG_VERSION"))
}
