//! Which machine this process runs on, and how much of it there is.

use crate::control::Machine;

/// Linux draws it at boot; containers see their machine's.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// This machine. One that does not tell its boot's id is called after the node, which then counts as a machine of its own.
pub fn this_machine(node_name: &str) -> Machine {
    let read = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    let id = if read.trim().is_empty() { node_name } else { read.trim() };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Machine { id: id.to_owned(), cores: u32::try_from(cores).unwrap_or(u32::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processes_of_a_machine_call_it_the_same() {
        let machine = this_machine("n0");
        assert_eq!(machine, this_machine("n0"));
        assert!(machine.cores >= 1 && !machine.id.is_empty());
    }
}
