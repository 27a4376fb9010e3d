//! Claims as text for people.

use crate::claims::{Claim, Verdict};
use blackboard::text::number;
use std::fmt::Write;

fn with_unit(value: f64, unit: &str) -> String {
    if unit.is_empty() { number(value) } else { format!("{} {unit}", number(value)) }
}

/// Claims, five lines each under a heading a chapter, and how many came out how.
#[must_use]
pub fn claims(claims: &[Claim]) -> String {
    let mut text = String::new();
    let mut chapter = None;
    for claim in claims {
        if chapter != Some(claim.chapter) {
            chapter = Some(claim.chapter);
            let _ = writeln!(text, "{}. {}\n", claim.chapter.letter(), claim.chapter.title());
        }
        text.push_str(&self::claim(claim, claims.len() == 1));
        text.push('\n');
    }
    let counts: Vec<String> = Verdict::ALL
        .into_iter()
        .map(|verdict| (verdict, claims.iter().filter(|claim| claim.verdict == verdict).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    let plural = if claims.len() == 1 { "" } else { "s" };
    let _ = writeln!(text, "{} claim{plural}: {}.", claims.len(), counts.join(", "));
    text
}

/// One claim; all that it computes if `in_full`.
fn claim(claim: &Claim, in_full: bool) -> String {
    let inputs: Vec<String> = claim
        .inputs
        .iter()
        .map(|&(name, unit, value)| format!("{name} = {}", with_unit(value, unit)))
        .collect();
    let inputs = if inputs.is_empty() { "none".to_owned() } else { inputs.join(", ") };
    let computed = claim.computed();
    let tolerance = if claim.tolerance > 0.0 {
        format!(", +-{}%", number(100.0 * claim.tolerance))
    } else {
        String::new()
    };
    let mut text = format!(
        "{:<4} {} ({})\n     formula   {}\n     inputs    {inputs}\n     computed  {} ({}); stated: {}{tolerance}; {}\n     why       {}\n",
        claim.id,
        claim.claim,
        claim.source,
        claim.formula,
        with_unit(computed.value, computed.unit),
        computed.label,
        claim.stated.text(),
        claim.verdict.name().to_uppercase(),
        claim.note,
    );
    if in_full {
        let width = claim.values.iter().map(|value| value.label.len()).max().unwrap_or(0);
        for value in &claim.values {
            let _ = writeln!(text, "     {:<width$}  {}", value.label, with_unit(value.value, value.unit));
        }
    }
    text
}

/// What changed from `before` to `after`, a line each; the same claims in the same order.
#[must_use]
pub fn changes(before: &[Claim], after: &[Claim]) -> String {
    let mut text = String::new();
    for (old, new) in before.iter().zip(after) {
        let (was, is) = (old.computed().value, new.computed().value);
        if was.to_bits() == is.to_bits() && old.verdict == new.verdict && old.values == new.values {
            continue;
        }
        let verdict = if old.verdict == new.verdict {
            format!("{} as before", new.verdict)
        } else {
            format!("{} -> {}", old.verdict, new.verdict)
        };
        let unit = new.computed().unit;
        let _ = writeln!(
            text,
            "{:<4} {}: {} -> {}; {verdict}",
            new.id,
            new.computed().label,
            with_unit(was, unit),
            with_unit(is, unit)
        );
        let others = old
            .values
            .iter()
            .zip(&new.values)
            .skip(1)
            .filter(|(old, new)| old.value.to_bits() != new.value.to_bits());
        for (old, new) in others {
            let _ = writeln!(
                text,
                "       {}: {} -> {}",
                new.label,
                with_unit(old.value, old.unit),
                with_unit(new.value, new.unit)
            );
        }
    }
    if text.is_empty() { "nothing changes\n".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::{Board, Preset};

    #[test]
    fn a_claim_is_told_with_formula_inputs_and_verdict() {
        let text = claims(&Board::default().select("A6").expect("there is one"));
        for part in [
            "A. Batch size",
            "B* = rho N_tot / N_act",
            "rho = 300, sparsity = 8",
            "2400 tokens (B*)",
            "REPRODUCES",
            "1 claim: 1 reproduces.",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    #[test]
    fn only_what_changes_is_told() {
        let (before, after) = (Board::default(), Board::varied(Preset::Talk, ["rho=150"]).expect("known"));
        let text = changes(&before.claims(), &after.claims());
        assert!(
            text.contains("A6   B*: 2400 tokens -> 1200 tokens; reproduces -> order of magnitude\n"),
            "{text}"
        );
        assert!(!text.contains("\nE2 "), "{text}");
        assert_eq!(changes(&before.claims(), &before.claims()), "nothing changes\n");
    }
}
