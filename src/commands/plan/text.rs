//! A plan as text: the answer first, then why, the front, and how to prove and start it.

use blackboard::published::{Asked, trust};
use blackboard::text::number;
use moe::LayerShape;
use serving::cost::Overlap;
use std::path::Path;
use study::plan::{Ask, Binds, Choice, Launch, Part, Plan, Role};
use study::scenario::quoted;
use study::text_table::{Column, TextTable};
use topology::Hardware;

/// Where what a line says begins.
const INDENT: usize = 13;
/// Rows of the front and of the changes that are printed.
const ROWS: usize = 12;

/// All that is told.
pub(super) struct Shown<'a> {
    pub(super) ask: &'a Ask,
    pub(super) plan: &'a Plan,
    pub(super) launches: &'a [Launch],
    pub(super) proof: &'a (&'static str, String),
    pub(super) out: Option<&'a Path>,
    pub(super) model: &'a str,
    pub(super) shape: &'a LayerShape,
    pub(super) hardware: &'a Hardware,
}

impl Shown<'_> {
    /// In lines of `width`.
    pub(super) fn text(&self, width: Option<usize>) -> String {
        let mut text = crate::output::fitted(&self.answer(), INDENT);
        text += &self.near(width);
        text += &self.refused();
        text += &self.front(width);
        text + &self.proved(width)
    }

    fn answer(&self) -> String {
        let Shown { ask, plan, .. } = self;
        let best = &plan.best;
        let mut lines = vec![
            line("best", &used(best)),
            line("carries", &carries(ask, best)),
            line("keeps", &self.keeps(best)),
            line("binds", &plan.binds.iter().map(|binds| bound(*binds)).collect::<Vec<_>>().join("; ")),
        ];
        if let Some(other) = &plan.runner_up {
            let share = if ask.load.rate.is_some() {
                format!("{} ranks", other.ranks)
            } else {
                format!("{} of its requests a second", number(other.rate / best.rate))
            };
            lines.push(line("runner-up", &format!("{}: {share}{}", used(other), self.flips())));
        }
        let load = &ask.load;
        lines.push(line("asked", &format!(
            "{} on {}; {} tokens in, {} out{}; TTFT {} ms and TPOT {} ms for 9 of 10 requests; ${} a rank and hour",
            self.model,
            self.hardware.name,
            number(load.input_len),
            number(load.output_len),
            load.rate.map_or_else(String::new, |rate| format!(", {} requests a second", number(rate))),
            number(ask.limits.ttft_ms),
            number(ask.limits.tpot_ms),
            number(ask.usd_per_rank_hour),
        )));
        lines.push(line(
            "looked at",
            &format!(
                "{} layouts by closed forms, {} of them served on the virtual clock",
                plan.looked_at.0, plan.looked_at.1
            ),
        ));
        let trust = trust(self.hardware, &self.asked()).text;
        lines.push(line(
            "trust",
            &format!("simulated; {trust}; whole servers fall shorter still (docs/plan.md)"),
        ));
        lines.extend(plan.notes.iter().map(|note| line("note", note)));
        lines.join("\n") + "\n"
    }

    /// What the best's parts ask of their ranks, tokens aside: they come and go.
    fn asked(&self) -> Vec<Asked> {
        let of = |part: &Part| {
            let layout = &part.layout;
            let racks = (layout.racks / layout.pp).max(1);
            Asked {
                overlaps: layout.overlap != Overlap::None,
                ..Asked::layer(self.shape, &vec![layout.ep() / racks; racks as usize], None)
            }
        };
        self.plan.best.parts.iter().map(of).collect()
    }

    fn keeps(&self, choice: &Choice) -> String {
        let of = |part: &Part| {
            let Some(trial) = &part.trial else { return "not served".to_owned() };
            let times = match part.layout.role {
                Role::Prefill => format!(
                    "TTFT mean {}, p90 {} ms without the handover of {} ms",
                    number(trial.ttft_ms),
                    number(trial.p90_ttft_ms),
                    number(part.handover_ms)
                ),
                Role::Decode => {
                    format!("TPOT mean {}, p90 {} ms", number(trial.tpot_ms), number(trial.p90_tpot_ms))
                }
                Role::Whole => format!(
                    "TTFT mean {}, p90 {} ms; TPOT mean {}, p90 {} ms",
                    number(trial.ttft_ms),
                    number(trial.p90_ttft_ms),
                    number(trial.tpot_ms),
                    number(trial.p90_tpot_ms)
                ),
            };
            format!("{times}; {:.0}% of requests keep the limits", trial.kept * 100.0)
        };
        let parts = choice.parts.iter().map(of).collect::<Vec<_>>().join("; ");
        let Some(both) = &choice.together else { return format!("at that load: {parts}") };
        let (ttft, tpot) = (number(both.ttft_ms), number(both.tpot_ms));
        let (late, slow) = (number(both.p90_ttft_ms), number(both.p90_tpot_ms));
        format!(
            "at that load, both pools together, the worst of three seeds: TTFT mean {ttft}, p90 {late} ms; TPOT mean {tpot}, p90 {slow} ms; {:.1}% of requests keep the limits. Each alone at all that it carries: {parts}",
            both.kept * 100.0
        )
    }

    fn flips(&self) -> String {
        let of = |flip: &study::plan::Flip| {
            let name = if flip.limit == "ttft_ms" { "TTFT" } else { "TPOT" };
            format!("with a limit on {name} of {} ms", number(flip.at_ms))
        };
        let flips: Vec<String> = self.plan.flips.iter().map(of).collect();
        if flips.is_empty() {
            "; no other limit within a factor of 4 makes it win".to_owned()
        } else {
            format!("; it wins {}", flips.join(", or "))
        }
    }

    fn near(&self, width: Option<usize>) -> String {
        let mut table = TextTable::new([
            Column::left("changed in one word"),
            Column::right("requests/s,\nbest = 1"),
            Column::left("bound by"),
        ]);
        for near in self.plan.near.iter().take(ROWS) {
            let binds = near.binds.map_or("", |binds| bound(binds));
            table.row([near.change.clone(), format!("{:.2}", near.share), binds.to_owned()]);
        }
        let heading = "The best with one word changed and the rest of that part free, on all the racks, by closed forms:";
        format!("\n{}", crate::output::fitted(heading, 0)) + &table.fit(width)
    }

    fn refused(&self) -> String {
        let of = |refused: &study::plan::Refused| {
            format!("{} x {} ranks: {}\n", refused.size.0, refused.size.1, refused.problem)
        };
        let lines: String = self.plan.refused.iter().map(of).collect();
        if lines.is_empty() { lines } else { format!("\nLeft out:\n{}", crate::output::fitted(&lines, 2)) }
    }

    fn front(&self, width: Option<usize>) -> String {
        let mut table = TextTable::new([
            Column::right("tokens/s\na user"),
            Column::right("tokens/s\na rank"),
            Column::right("TTFT\nms"),
            Column::right("ranks"),
            Column::left("layout"),
        ]);
        let front = &self.plan.front;
        let rows = front.len().min(ROWS);
        for row in 0..rows {
            let point = &front[row * (front.len() - 1) / (rows - 1).max(1)];
            table.row([
                number(point.tokens_per_s_per_user),
                number(point.tokens_per_s_per_rank),
                number(point.ttft_ms),
                point.layout.ranks().to_string(),
                point.layout.to_string(),
            ]);
        }
        let heading = format!(
            "The front of speed a user against throughput a rank, by closed forms, {rows} of {} points:",
            front.len()
        );
        format!("\n{}", crate::output::fitted(&heading, 0)) + &table.fit(width)
    }

    fn proved(&self, width: Option<usize>) -> String {
        let mut lines = vec!["\nProve it, with steps from remembered frames:".to_owned()];
        match self.out {
            Some(dir) => lines.push(format!(
                "  railyard serve-bench {}",
                quoted(&dir.join(format!("{}.toml", self.proof.0)).display().to_string())
            )),
            None => lines.push(
                "  the same command with --out DIR writes the experiment for railyard serve-bench".to_owned(),
            ),
        }
        lines.push("Start it (flags of vLLM and SGLang; not run here):".to_owned());
        for launch in self.launches {
            lines.push(crate::output::fitted(&format!("  # {}", launch.what), 4).trim_end().to_owned());
            lines.push(pasted(&launch.command, width));
        }
        lines.join("\n") + "\n"
    }
}

/// A command in lines that a shell takes as one, broken before flags.
fn pasted(command: &str, width: Option<usize>) -> String {
    let mut lines = vec![String::new()];
    for (number, part) in command.split(" --").enumerate() {
        let part = if number == 0 { format!("  {part}") } else { format!(" --{part}") };
        let last = lines.last_mut().expect("there is one");
        // Room for the backslash.
        let fits = width.is_none_or(|width| last.chars().count() + part.chars().count() + 2 <= width);
        if fits || last.is_empty() {
            last.push_str(&part);
        } else {
            last.push_str(" \\");
            lines.push(format!("   {part}"));
        }
    }
    lines.join("\n")
}

fn line(word: &str, text: &str) -> String {
    format!("{word:<11}= {text}")
}

/// What of the yard a choice uses, and how.
fn used(choice: &Choice) -> String {
    let of = |part: &Part| {
        let layout = &part.layout;
        let role = layout.role.prefix();
        format!("{role}{} x {} ranks, {layout}", part.replicas, layout.ranks())
    };
    choice.parts.iter().map(of).collect::<Vec<_>>().join("; ")
}

fn carries(ask: &Ask, choice: &Choice) -> String {
    format!(
        "up to {} requests a second on {} ranks: {} tokens/s a rank, {}${} a million tokens of answers{}",
        number(choice.rate),
        choice.ranks,
        number(choice.tokens_per_s_per_rank),
        // An answer of one token has no time between tokens.
        if choice.tokens_per_s_per_user.is_finite() {
            format!("{} a user, ", number(choice.tokens_per_s_per_user))
        } else {
            String::new()
        },
        number(choice.usd_per_mtok),
        if ask.load.rate.is_some() { " at the rate asked for" } else { "" },
    )
}

fn bound(binds: Binds) -> &'static str {
    match binds {
        Binds::Memory => "memory for caches",
        Binds::Ttft => "the limit on TTFT",
        Binds::Tpot => "the limit on TPOT",
        Binds::Prompts => "prompts fill the steps",
        Binds::Seats => "tokens of a step",
    }
}

#[cfg(test)]
mod tests {
    use super::pasted;

    #[test]
    fn a_command_is_broken_before_flags_and_stays_one() {
        let command = "vllm serve model --tensor-parallel-size 8 --max-num-seqs 256 --enable-expert-parallel";
        assert_eq!(pasted(command, None), format!("  {command}"));
        let narrow = pasted(command, Some(50));
        assert!(
            narrow.lines().count() > 1 && narrow.lines().all(|line| line.chars().count() <= 50),
            "{narrow}"
        );
        let joined = narrow.replace("\\\n", " ");
        assert_eq!(joined.split_whitespace().collect::<Vec<_>>().join(" "), command);
    }
}
