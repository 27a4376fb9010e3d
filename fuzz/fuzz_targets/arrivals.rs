//! A trace of requests, in every format.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serving::arrivals::trace::{TraceOptions, ZeroLengths, read_trace};

fuzz_target!(|data: &[u8]| {
    let Some((how, text)) = data.split_first() else { return };
    let zero_lengths = [ZeroLengths::Error, ZeroLengths::Drop, ZeroLengths::One][usize::from(how % 3)];
    let request_rate = (how & 4 != 0).then_some(10.0);
    let options = TraceOptions { zero_lengths, request_rate, ..TraceOptions::default() };
    let _ = read_trace(&mut &text[..], "trace", &options);
});
