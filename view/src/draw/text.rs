//! Numbers, widths of texts and colours.

use super::Area;
use kuva::plot::ColorMap;
use kuva::render::color::Color;

/// The colour of a part of a scale, from 0 to 1; grey for what is no number.
pub(super) fn shade(part: f64) -> Color {
    let rgb = ColorMap::Viridis.map_rgb(part).filter(|_| part.is_finite());
    rgb.map_or(Color::Rgb(228, 228, 228), |(r, g, b)| Color::Rgb(r, g, b))
}

pub(super) fn overlap(a: &Area, b: &Area) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// `text` for kuva, which would set what is between two dollars as a formula; XML is escaped there.
pub(super) fn plain(text: &str) -> String {
    text.replace(char::is_control, " ").replace('$', "\\$")
}

/// About the width of `text` in DejaVu Sans, which is wider than what stands in for it.
pub(super) fn width(text: &str, size: u32) -> f64 {
    let one = |c: char| match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 0.32,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' => 0.41,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.96,
        'A'..='Z' => 0.73,
        '\0'..'\u{250}' => 0.64,
        _ => 1.0,
    };
    text.chars().map(one).sum::<f64>() * f64::from(size)
}

/// A tick's number.
pub(super) fn number(value: f64) -> String {
    significant(value, 5)
}

/// `value` with at most so many digits that count: `0.25`, `1200`, `3·10⁻⁷`.
pub(super) fn significant(value: f64, digits: usize) -> String {
    let scientific = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let trim = |text: &str| -> String {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    let power: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 {
        "0".to_owned()
    } else if (-3..6).contains(&power) {
        let decimals = usize::try_from(digits as i32 - 1 - power).unwrap_or(0);
        trim(&format!("{value:.decimals$}"))
    } else {
        let raised = |c: char| "⁻⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth("-0123456789".find(c).unwrap_or(0)).unwrap_or(c);
        let exponent: String = exponent.chars().map(raised).collect();
        match trim(mantissa).as_str() {
            "1" => format!("10{exponent}"),
            mantissa => format!("{mantissa}·10{exponent}"),
        }
    }
}
