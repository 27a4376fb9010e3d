//! What the page says first: how many claims hold, and which don't, with what holds instead.

use super::claim::{class, told};
use crate::page::escaped;
use lecture::claims::{Claim, Verdict};

/// Claims that don't reproduce: their verdicts, and what is said of them.
struct Group {
    verdicts: &'static [Verdict],
    id: &'static str,
    /// In a sentence of numbers.
    short: &'static str,
    title: &'static str,
}

const WRONG: Group = Group {
    verdicts: &[Verdict::Contradicts, Verdict::WrongInput],
    id: "wrong",
    short: "wrong",
    title: "Where the sources are wrong",
};
const NEAR: Group = Group {
    verdicts: &[Verdict::OrderOfMagnitude],
    id: "near",
    short: "right within a factor of three only",
    title: "Right within a factor of three only",
};
const ASSUMED: Group = Group {
    verdicts: &[Verdict::Assumption],
    id: "assumed",
    short: "not derivable",
    title: "Stated, and not derivable",
};

impl Group {
    fn of<'a>(&self, claims: &'a [Claim]) -> Vec<&'a Claim> {
        claims.iter().filter(|claim| self.verdicts.contains(&claim.verdict)).collect()
    }

    /// Its claims as a list; nothing where there are none.
    fn html(&self, claims: &[Claim]) -> String {
        let of = self.of(claims);
        if of.is_empty() {
            return String::new();
        }
        let Self { id, title, .. } = self;
        let lines: String = of.into_iter().map(line).collect();
        format!(
            "<section class=\"first\" aria-labelledby=\"{id}\"><h2 id=\"{id}\">{title}</h2><ul>\n{lines}</ul></section>\n"
        )
    }
}

/// Heading, answer and lists.
pub(super) fn head(claims: &[Claim]) -> String {
    let held = claims.iter().filter(|claim| claim.verdict == Verdict::Reproduces).count();
    let rest: String = [WRONG, NEAR, ASSUMED]
        .iter()
        .map(|group| (group.short, group.of(claims).len()))
        .filter(|(_, count)| *count > 0)
        .map(|(short, count)| format!("; {short}: {count}"))
        .collect();
    let (all, plural) = (claims.len(), if claims.len() == 1 { "" } else { "s" });
    format!(
        "<header><h1>The lecture, sentence by sentence</h1>\n<p class=\"lead\">{held} of {all} claim{plural} hold as stated{rest}. \
         Each has its formula here: move what goes in, and see what becomes of it.</p></header>\n\
         <div class=\"firsts\">{}<div class=\"beside\">{}{}</div></div>\n",
        WRONG.html(claims),
        NEAR.html(claims),
        ASSUMED.html(claims)
    )
}

/// A claim in a line, with what holds instead.
fn line(claim: &Claim) -> String {
    let computed = claim.computed();
    format!(
        "<li><a href=\"#{0}\">{0}</a> <q>{1}</q> <span class=\"{2}\">{3}</span><br>Stated {4}, computed {5} ({6}): {7}.</li>\n",
        claim.id,
        escaped(claim.claim),
        class(claim.verdict),
        claim.verdict,
        escaped(claim.stated.text()),
        escaped(&told(computed.value, computed.unit)),
        escaped(&computed.label),
        escaped(claim.note)
    )
}
