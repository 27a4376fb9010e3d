//! What this host alone does: bytes through TCP on loopback, bytes copied in memory, rows through the experts' products. Measured by the wall
//! clock, on the spot; nothing is emulated.

use moe::experts::{ExpertKind, Experts, WEIGHT_CACHE_BYTES};
use moe::{ExpertId, LayerShape};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Bytes of a read and of a write.
const PIECE_BYTES: usize = 64 << 10;
/// Most bytes that are moved at once.
const BYTES_MAX: u64 = 256 << 20;
/// Shortest time that counts.
const SHORTEST: Duration = Duration::from_millis(50);
/// Most repetitions.
const REPEATS_MAX: u32 = 100_000;
/// Longest wait for the other end of a connection.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// GB/s of one TCP connection over loopback, `bytes` and more, one way.
///
/// # Errors
/// What the system said.
pub fn tcp_gb_per_s(bytes: u64) -> io::Result<f64> {
    let bytes = bytes.clamp(64 << 20, BYTES_MAX);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || send(TcpStream::connect(address)?, bytes));
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let mut piece = vec![0; PIECE_BYTES];
        let (begun, mut received) = (Instant::now(), 0_u64);
        while received < bytes {
            match stream.read(&mut piece)? {
                0 => break,
                more => received += more as u64,
            }
        }
        let time = begun.elapsed();
        match sender.join() {
            Ok(sent) => sent?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(received as f64 / time.as_secs_f64().max(1e-9) / 1e9)
    })
}

fn send(mut stream: TcpStream, bytes: u64) -> io::Result<()> {
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let piece = vec![1; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE_BYTES as u64);
        stream.write_all(&piece[..now as usize])?;
        left -= now;
    }
    stream.flush()
}

/// GB/s of copying `bytes` (within 1 and 256 MB) from one place in memory to another, by one thread.
#[must_use]
pub fn copy_gb_per_s(bytes: u64) -> f64 {
    let bytes = bytes.clamp(1 << 20, BYTES_MAX) as usize;
    let (from, mut to) = (vec![1_u8; bytes], vec![0_u8; bytes]);
    let (time, times) = repeated(|| {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    });
    bytes as f64 * f64::from(times) / time.as_secs_f64() / 1e9
}

/// Grouped products on one thread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostProduct {
    /// Experts that took turns.
    pub experts: u32,
    /// Rows of each.
    pub rows: u32,
    /// Rows a second.
    pub rows_per_s: f64,
    /// FLOP/s; a multiply and an add are two.
    pub flop_per_s: f64,
}

/// `rows` rows through each of as many experts of `shape` as have room in memory, four at most; weights are made before.
#[must_use]
pub fn products(shape: &LayerShape, rows: u32) -> HostProduct {
    let matrices = 2 + usize::from(shape.gated);
    let bytes = matrices * shape.hidden as usize * shape.expert_inter as usize * size_of::<f32>();
    let count = (WEIGHT_CACHE_BYTES / bytes.max(1)).clamp(1, 4).min(shape.num_experts as usize);
    let experts = u32::try_from(count).unwrap_or(1);
    let all = Experts::new(ExpertKind::Gemm, shape, 1, 0).with_cache_limit(bytes.saturating_mul(count));
    let elements = shape.hidden as usize * rows as usize;
    let (input, mut output) = (vec![0.5_f32; elements], vec![0_f32; elements]);
    let mut round = || {
        for expert in 0..experts {
            all.apply(ExpertId(expert), black_box(&input), &mut output);
            black_box(&mut output);
        }
    };
    round();
    let (time, times) = repeated(round);
    let done = f64::from(experts) * f64::from(rows) * f64::from(times) / time.as_secs_f64();
    HostProduct { experts, rows, rows_per_s: done, flop_per_s: done * shape.expert_flops(1) }
}

/// Repeats `work` until it has taken long enough: how long, and how often.
pub(super) fn repeated(mut work: impl FnMut()) -> (Duration, u32) {
    let begun = Instant::now();
    let mut times = 0;
    loop {
        work();
        times += 1;
        let time = begun.elapsed();
        if time >= SHORTEST || times == REPEATS_MAX {
            return (time.max(Duration::from_nanos(1)), times);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_moves_bytes_and_multiplies() {
        assert!(copy_gb_per_s(1) > 0.01);
        assert!(tcp_gb_per_s(1).expect("loopback") > 0.001);
        let shape = moe::Model::preset("lab-moe").expect("a preset").layer();
        let done = products(&shape, 2);
        assert!(done.rows_per_s > 1.0 && done.experts >= 1, "{done:?}");
        assert!((done.flop_per_s / done.rows_per_s / shape.expert_flops(1) - 1.0).abs() < 1e-9);
    }
}
