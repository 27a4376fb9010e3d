//! `railyard report`: results of any experiments as tables, CSV, JSON, Parquet or a plot, with those of comparisons as a page.

use crate::cli::{ExperimentArgs, ReportArgs};
use crate::failure::Failure;
use crate::output;
use crate::pages;
use crate::subjects::subjects;
use anyhow::anyhow;
use serde_json::{Value, json};
use std::path::Path;
use study::experiment::{
    Collection, Merged, PlotTable, RESULTS_VERSION, Subject, collect, csv, find, summarise, table,
};
use study::text_table::wrapped;
use view::{Medium, picture};

/// Missing points that are named one by one.
const NAMED_MAX: usize = 20;
/// Most different sentences on how far to trust points.
const TRUST_MAX: usize = 4;

pub(crate) fn run(args: &ReportArgs) -> Result<(), Failure> {
    if let Some(path) = &args.html {
        pages::write(&args.from, path)?;
        return output::print(&format!("{}\n", path.display()));
    }
    let found = collect(&args.from).map_err(|error| match pages::a_comparison(&args.from) {
        Some(report) => Failure::Usage(anyhow!(
            "{}: the report of a comparison; `railyard report {} --html FILE` makes its page, and its text is in {}",
            report.display(),
            args.from.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" "),
            report.with_extension("txt").display()
        )),
        None => error.into(),
    })?;
    for (path, problem) in &found.skipped {
        output::say(&format!("skipped {}: {problem}", path.display()));
    }
    if args.csv {
        output::print(&csv(only(&found, "--csv")?).map_err(Failure::failed)?)?;
    } else if args.jsonl {
        let records = found.experiments.iter().flat_map(Merged::records);
        let lines = records.map(|record| serde_json::to_string(&record).map(|line| line + "\n"));
        output::print(&lines.collect::<Result<String, _>>().map_err(Failure::failed)?)?;
    } else if let Some(path) = &args.parquet {
        parquet(only(&found, "--parquet")?, path)?;
    } else if let (Some(path), Some(x), [y, others @ ..]) = (&args.plot, &args.x, args.y.as_slice()) {
        picture::check(path).map_err(Failure::Usage)?;
        let merged = only(&found, "--plot")?;
        let swept = |word: &String| whole_key(merged, word);
        let mut plot =
            PlotTable { series: args.series.iter().map(swept).collect(), ..PlotTable::of(&swept(x), y) };
        plot.y.extend(others.iter().cloned());
        let medium = if args.paper { Medium::Column } else { Medium::Screen };
        save(merged, subject(merged)?, &plot, (medium, path))?;
        output::print(&format!("{}\n", path.display()))?;
    } else if args.json {
        let objects = found.experiments.iter().map(|merged| Ok(object(merged, subject(merged)?)));
        let mut objects = objects.collect::<Result<Vec<Value>, Failure>>()?;
        let object = match objects.len() {
            1 => objects.remove(0),
            _ => json!({ "schema_version": RESULTS_VERSION, "experiments": objects }),
        };
        output::print(&format!("{object:#}\n"))?;
    } else {
        let texts = found.experiments.iter().map(|merged| Ok(text(merged, subject(merged)?, args.wide)));
        output::print(&texts.collect::<Result<Vec<String>, Failure>>()?.join("\n"))?;
    }
    complete(&found)?;
    found.experiments.iter().try_for_each(verdict)
}

/// What an experiment is about.
fn subject(merged: &Merged) -> Result<&'static dyn Subject, Failure> {
    find(&subjects(), &merged.header.subject).ok_or_else(|| {
        let Merged { header, files, .. } = merged;
        let file = files.first().map_or_else(String::new, |file| format!("{}: ", file.display()));
        Failure::Usage(anyhow!("{file}this program knows no {} experiments", header.subject))
    })
}

/// The swept key that `word` means: itself, or the one of which it is the last word, as in headings of tables.
fn whole_key(merged: &Merged, word: &str) -> String {
    let swept = &merged.header.swept;
    let ends = |key: &&String| key.rsplit_once('.').is_some_and(|(_, last)| last == word);
    let mut found = swept.iter().filter(ends);
    match (swept.iter().any(|key| key == word), found.next(), found.next()) {
        (false, Some(key), None) => key.clone(),
        _ => word.to_owned(),
    }
}

/// The experiment that is there alone.
fn only<'a>(found: &'a Collection, flag: &str) -> Result<&'a Merged, Failure> {
    if let [merged] = found.experiments.as_slice() {
        return Ok(merged);
    }
    let names = found.experiments.iter().map(named).collect::<Vec<_>>().join(", ");
    Err(Failure::Usage(anyhow!("{flag} takes one experiment, here are {names}; name the files of one")))
}

#[cfg(feature = "parquet")]
fn parquet(merged: &Merged, path: &Path) -> Result<(), Failure> {
    let columns = merged.columns().map_err(Failure::failed)?;
    view::parquet_file::write(path, &columns).map_err(Failure::Failed)?;
    output::print(&format!("{}\n", path.display()))
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &Merged, _: &Path) -> Result<(), Failure> {
    Err(Failure::Usage(anyhow!(
        "this build can't write Parquet; build it with `--features parquet`, or use --csv"
    )))
}

/// Draws the plots of an experiment's file to `out`, once all points are there.
pub(super) fn draw(merged: &Merged, subject: &dyn Subject, out: &Path) -> Result<(), Failure> {
    if merged.header.shards > 1 {
        return Ok(());
    }
    for plot in &merged.header.plots {
        let path = out.join(format!("{}.svg", plot.file));
        picture::check(&path).map_err(Failure::Usage)?;
        save(merged, subject, plot, (Medium::Screen, &path))?;
        output::say(&path.display().to_string());
    }
    Ok(())
}

fn save(
    merged: &Merged,
    subject: &dyn Subject,
    plot: &PlotTable,
    (medium, path): (Medium, &Path),
) -> Result<(), Failure> {
    let figure = view::figure(merged, subject, plot).map_err(Failure::Usage)?;
    picture::write(&figure, medium, path).map_err(Failure::Failed)
}

/// The table or the JSON object of what has just been run.
pub(super) fn print(merged: &Merged, subject: &dyn Subject, args: &ExperimentArgs) -> Result<(), Failure> {
    let shown = match args.json {
        true => format!("{:#}\n", object(merged, subject)),
        false => text(merged, subject, args.wide),
    };
    output::print(&shown)?;
    verdict(merged)
}

/// Name, subject and hash, what is fixed, what was claimed and found, the table.
fn text(merged: &Merged, subject: &dyn Subject, wide: bool) -> String {
    let (header, width) = (&merged.header, output::width(wide));
    let fixed = if header.fixed.0.is_empty() { String::new() } else { format!(": {}", header.fixed) };
    let name = format!("{} ({}, {}){fixed}", header.name, header.subject, header.experiment);
    let claim = header.claim.iter().map(|claim| format!("claim: {claim}"));
    let findings = merged.findings().into_iter().map(|finding| match finding {
        Ok(text) => format!("finding: {text}"),
        Err(problem) => format!("a finding is left out: {problem}"),
    });
    let lines: String =
        [name].into_iter().chain(claim).chain(findings).map(|line| wrapped(&line, width, "  ")).collect();
    let seeds =
        if header.seeds.len() > 1 { "; means and 95% intervals (Student's t) over seeds" } else { "" };
    let trust: String =
        trusted(merged).iter().map(|text| wrapped(&format!("trust: {text}"), width, "  ")).collect();
    format!("{lines}{}emulated time{seeds}\n{trust}", table(merged, &summarise(merged), subject, width))
}

/// What records say of how far they can be trusted, each once; of many the first and how many more.
fn trusted(merged: &Merged) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for flat in merged.records() {
        let text = flat.record.value("trust.text").and_then(Value::as_str);
        if let Some(text) = text.filter(|text| !all.iter().any(|known| known == text)) {
            all.push(text.to_owned());
        }
    }
    let more = all.len().saturating_sub(TRUST_MAX);
    if more > 0 {
        all.truncate(TRUST_MAX);
        all.push(format!("{more} more, each in the JSON of its points (trust)"));
    }
    all
}

fn object(merged: &Merged, subject: &dyn Subject) -> Value {
    let header = &merged.header;
    let rows: Vec<Value> = summarise(merged).iter().map(|row| row.json(subject)).collect();
    json!({
        "schema_version": RESULTS_VERSION,
        "name": header.name,
        "subject": header.subject,
        "claim": header.claim,
        "findings": merged.findings().into_iter().flatten().collect::<Vec<_>>(),
        "experiment": header.experiment,
        "fixed": header.fixed,
        "swept": header.swept,
        "seeds": header.seeds,
        "backends": header.backends,
        "points": header.points,
        "missing": merged.missing,
        "rows": rows,
    })
}

/// A failure that names the points which no file has, of every experiment by its files.
fn complete(found: &Collection) -> Result<(), Failure> {
    let incomplete = found.experiments.iter().filter(|merged| !merged.missing.is_empty());
    let told: Vec<String> = incomplete
        .map(|merged| {
            let points: Vec<String> =
                merged.missing.iter().take(NAMED_MAX).map(ToString::to_string).collect();
            let more = merged.missing.len().saturating_sub(NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let (missing, all) = (merged.missing.len(), merged.header.points);
            format!("{}: {missing} of {all} points are missing: {}{more}", named(merged), points.join(", "))
        })
        .collect();
    if told.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(anyhow!("{}; run their shards to the end", told.join("; "))))
}

/// An experiment's name and its first file: several may have one name.
fn named(merged: &Merged) -> String {
    let file = merged.files.first().map_or_else(String::new, |file| file.display().to_string());
    format!("{} ({file})", merged.header.name)
}

/// A failure that names the first record which is not verified or not valid.
pub(super) fn verdict(merged: &Merged) -> Result<(), Failure> {
    let Some(flat) = merged.records().find(|flat| !flat.record.verified || !flat.record.valid) else {
        return Ok(());
    };
    let record = flat.record;
    let what = if record.verified { "is invalid" } else { "was not verified" };
    let problem = record.problem.as_deref().unwrap_or("no reason was recorded");
    let settings = flat.settings;
    let comma = if settings.0.is_empty() { "" } else { ", " };
    Err(Failure::Failed(anyhow!(
        "{}: point {} ({settings}{comma}seed {}, {}) {what}: {problem}",
        flat.name,
        flat.point,
        flat.seed,
        record.backend
    )))
}
