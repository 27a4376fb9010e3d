//! Draws a figure to a file, in the format that the file's ending names.

use crate::medium::Medium;
use anyhow::{Context, bail};
use blackboard::figure::Figure;
use std::path::Path;

/// What a file's ending asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Svg,
    Png,
}

/// Draws `figure` to `path`.
///
/// # Errors
/// For an ending other than `.svg` and `.png`, for a format that this build can't draw, and for a file that can't be
/// written.
pub fn write(figure: &Figure, medium: Medium, path: &Path) -> anyhow::Result<()> {
    let bytes = bytes(&shown(figure, medium), medium, format(path)?)?;
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Refuses a file that this build can't draw, before anything is run for it.
///
/// # Errors
/// As [`write()`].
pub fn check(path: &Path) -> anyhow::Result<()> {
    let format = format(path)?;
    let (there, feature) = match format {
        Format::Svg => (cfg!(feature = "plots"), "plots"),
        Format::Png => (cfg!(feature = "png"), "png"),
    };
    if there { Ok(()) } else { Err(missing(feature)) }
}

fn format(path: &Path) -> anyhow::Result<Format> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("svg") => Ok(Format::Svg),
        Some("png") => Ok(Format::Png),
        Some("pdf") => bail!(
            "{}: pictures are .svg or .png; draw a .svg, and `rsvg-convert -f pdf` makes a .pdf of it",
            path.display()
        ),
        _ => bail!("{}: pictures are .svg or .png; give a file with one of these endings", path.display()),
    }
}

fn missing(feature: &str) -> anyhow::Error {
    let format = if feature == "plots" { "pictures".to_owned() } else { feature.to_uppercase() };
    let other = if feature == "plots" { "" } else { ", or give a file that ends in .svg" };
    anyhow::anyhow!("this build can't draw {format}; build it with `--features {feature}`{other}")
}

/// `figure` as SVG for a page that says its title and caption beside it; nothing where this build can't draw.
#[cfg(feature = "plots")]
pub(crate) fn drawn(figure: &Figure) -> Option<String> {
    Some(crate::draw::svg(&bare(figure), Medium::Screen))
}

/// The figure without what stands beside it.
fn bare(figure: &Figure) -> Figure {
    Figure { title: String::new(), caption: String::new(), ..figure.clone() }
}

fn shown(figure: &Figure, medium: Medium) -> Figure {
    if medium == Medium::Column { bare(figure) } else { figure.clone() }
}

#[cfg(not(feature = "plots"))]
pub(crate) fn drawn(_: &Figure) -> Option<String> {
    None
}

#[cfg(not(feature = "plots"))]
fn bytes(_: &Figure, _: Medium, _: Format) -> anyhow::Result<Vec<u8>> {
    Err(missing("plots"))
}

#[cfg(feature = "plots")]
fn bytes(figure: &Figure, medium: Medium, format: Format) -> anyhow::Result<Vec<u8>> {
    match format {
        Format::Svg => Ok(crate::draw::svg(figure, medium).into_bytes()),
        #[cfg(feature = "png")]
        Format::Png => crate::draw::png(figure, medium),
        #[cfg(not(feature = "png"))]
        Format::Png => Err(missing("png")),
    }
}
