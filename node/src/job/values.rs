//! Rows of values and of lengths, made and read by jobs.

use crate::wire::RowData;
use bytes::Bytes;
use moe::rows;

pub(super) fn lengths(rows: usize, bytes: usize) -> Vec<RowData> {
    vec![RowData::Len(u32::try_from(bytes).expect("hidden is bounded")); rows]
}

/// FP8 rows of `states`, without origins.
pub(super) fn quantised(states: &[f32], width: usize) -> Vec<RowData> {
    let rows = states.chunks_exact(width).map(|state| {
        let mut row = Vec::with_capacity(rows::fp8_row_bytes(width));
        rows::quantise_fp8(state, &mut row);
        Bytes::from(row).into()
    });
    rows.collect()
}

pub(super) fn narrow_row(values: &[f32]) -> RowData {
    let mut row = Vec::with_capacity(rows::bf16_row_bytes(values.len()));
    rows::to_bf16(values, &mut row);
    Bytes::from(row).into()
}

pub(super) fn bytes_of(data: &RowData) -> &[u8] {
    match data {
        RowData::Bytes(bytes) => bytes,
        RowData::Len(_) => panic!("a payload run has payload rows"),
    }
}
