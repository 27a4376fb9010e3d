//! Which machine this process runs on, and how much of it there is.

use crate::control::Machine;

/// Linux draws it at boot; containers see their machine's.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// What a machine is called that does not tell: nodes that don't know better count as one machine, so that cores are not counted twice.
const UNKNOWN: &str = "unknown";

/// This machine.
pub fn this_machine() -> Machine {
    let read = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    let id = if read.trim().is_empty() { UNKNOWN } else { read.trim() };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Machine { id: id.to_owned(), cores: u32::try_from(cores).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processes_of_a_machine_call_it_the_same() {
        let machine = this_machine();
        assert_eq!(machine, this_machine());
        assert!(machine.cores >= 1 && !machine.id.is_empty());
    }
}
