//! Matrices of bytes as text that other programs read: numbers between blanks, a line a sender, an empty line between racks.

use super::detail::Detail;
use super::matrix::MatrixBy;
use super::record::Record;
use super::{BackendKind, Page, Report};

/// The matrices of every configuration that has them: a line that begins with `#`, then a square of bytes, a row a sender.
///
/// Rank by rank; where that is wider than the page, and of more ranks than a detail has one by one, rack by rack.
pub(super) fn pairs(report: &Report, page: Page) -> String {
    let mut text = String::new();
    let mut told = None;
    for record in &report.rows {
        // One for all latencies and backends: what ran sends the same bytes, which was checked.
        let Some(detail) = record.detail.as_ref().filter(|_| told != Some(record.configuration)) else {
            continue;
        };
        told = Some(record.configuration);
        for (phase, matrix) in [("dispatch", &detail.dispatch_bytes), ("combine", &detail.combine_bytes)] {
            if matrix.is_empty() {
                text.push_str(&format!("# {phase}, {}: more racks than a matrix has\n\n", record.title));
                continue;
            }
            let (square, by) = fitting(detail, matrix, page);
            text.push_str(&format!(
                "# {phase}, {}: bytes from each {by} (row) to each {by} (column), {}\n{square}\n",
                record.title,
                if by == "rank" { "racks apart" } else { "on the diagonal between ranks of the rack" },
            ));
        }
    }
    for record in &report.rows {
        text.push_str(&waits(record).unwrap_or_default());
    }
    if text.is_empty() {
        text.push_str("# no bytes of pairs: nothing was sent by closed forms\n");
    }
    text
}

/// Pairs of each phase that are named as those that wait longest.
const WAITS_TOLD: usize = 3;

/// Who waited longest for whose last row, a line a phase that begins with `#`.
fn waits(record: &Record) -> Option<String> {
    let detail = record.detail.as_ref().filter(|detail| !detail.dispatch_wait_us.is_empty())?;
    let how = match record.backend {
        BackendKind::Quic => "stamps of a measured step",
        _ => "simulated",
    };
    let what = if detail.matrix_by == MatrixBy::Rank { "rank" } else { "rack" };
    let told = [
        ("dispatch", &detail.dispatch_wait_us, record.dispatch_us),
        ("combine", &detail.combine_wait_us, record.combine_us),
    ]
    .map(|(phase, waits, us)| {
        let cell = |(from, row): (usize, &'_ Vec<f64>)| {
            row.iter().copied().enumerate().map(move |(to, wait)| (from, to, wait)).collect::<Vec<_>>()
        };
        let mut pairs: Vec<(usize, usize, f64)> = waits.iter().enumerate().flat_map(cell).collect();
        pairs.retain(|(_, _, wait)| *wait > 0.0);
        pairs.sort_by(|one, other| other.2.total_cmp(&one.2).then((one.0, one.1).cmp(&(other.0, other.1))));
        let longest = pairs.iter().take(WAITS_TOLD);
        let longest: Vec<String> =
            longest.map(|(from, to, wait)| format!("{what} {to} for {what} {from}, {wait:.2} us")).collect();
        let longest = if longest.is_empty() { "nobody".to_owned() } else { longest.join("; ") };
        format!(
            "# waits, {phase}, {}, {} latency, {} ({how}): {longest} (of {us:.2})\n",
            record.title, record.latency, record.backend
        )
    });
    Some(told.concat())
}

/// The square rank by rank if it is known so and fits the page, else rack by rack.
fn fitting(detail: &Detail, matrix: &[Vec<u64>], page: Page) -> (String, &'static str) {
    if detail.matrix_by == MatrixBy::Rank {
        let square = square(matrix, &detail.rack_sizes);
        let fits = |width: usize| square.lines().all(|line| line.len() <= width);
        if detail.rack_sizes.len() == 1 || page.width.is_none_or(fits) {
            return (square, "rank");
        }
        return (self::square(&by_rack(matrix, &detail.rack_sizes), &[]), "rack");
    }
    (square(matrix, &[]), "rack")
}

/// Sums over the ranks of each pair of racks.
fn by_rack(matrix: &[Vec<u64>], sizes: &[u32]) -> Vec<Vec<u64>> {
    let racks = sizes.iter().zip(0..).flat_map(|(&size, rack)| std::iter::repeat_n(rack, size as usize));
    let racks: Vec<usize> = racks.collect();
    let mut sums = vec![vec![0; sizes.len()]; sizes.len()];
    for (row, &from) in matrix.iter().zip(&racks) {
        for (bytes, &to) in row.iter().zip(&racks) {
            sums[from][to] += bytes;
        }
    }
    sums
}

/// Aligned columns; between racks of `sizes` two more blanks and an empty line.
fn square(matrix: &[Vec<u64>], sizes: &[u32]) -> String {
    let width = matrix.iter().flatten().map(|bytes| bytes.to_string().len()).max().unwrap_or(1);
    let ends: Vec<usize> = sizes
        .iter()
        .scan(0, |end, &size| {
            *end += size as usize;
            Some(*end)
        })
        .collect();
    let border = |at: usize| at > 0 && ends.contains(&at);
    let mut text = String::new();
    for (from, row) in matrix.iter().enumerate() {
        if border(from) {
            text.push('\n');
        }
        for (to, bytes) in row.iter().enumerate() {
            let gap = match to {
                0 => "",
                _ if border(to) => "   ",
                _ => " ",
            };
            text.push_str(&format!("{gap}{bytes:>width$}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_is_read_back_and_racks_stand_apart() {
        let matrix = [[0, 1, 200], [3, 0, 4], [5, 6, 0]].map(|row| row.to_vec());
        let text = square(&matrix, &[2, 1]);
        assert_eq!(text, "  0   1   200\n  3   0     4\n\n  5   6     0\n");
        let read: Vec<Vec<u64>> = text
            .lines()
            .filter(|line| !line.is_empty())
            .map(|line| line.split_whitespace().map(|word| word.parse().expect("a number")).collect())
            .collect();
        assert_eq!(read, matrix);
        assert_eq!(by_rack(&matrix, &[2, 1]), [[4, 204], [11, 0]]);
    }
}
