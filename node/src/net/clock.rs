//! The two clocks of the host that the shell reads: monotonic time, shared by all processes, and the CPU time
//! of this one.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds since an arbitrary point that all processes of one host share (CLOCK_MONOTONIC: containers
/// share it too, hosts do not). Never goes back, is not set by anyone, and stands still while the host is
/// suspended.
pub fn monotonic_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds of CPU, user and system, that all threads of this process have used since it started.
pub fn process_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// Neither clock is ever negative, and u64 lasts for 584 years.
fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_advances_and_never_goes_back() {
        let (start, mut last) = (monotonic_ns(), 0);
        while last < start + 1_000_000 {
            let now = monotonic_ns();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn work_costs_cpu_time() {
        let start = process_cpu_ns();
        while process_cpu_ns() < start + 1_000_000 {
            std::hint::black_box(start);
        }
    }
}
