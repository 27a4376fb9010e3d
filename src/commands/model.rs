//! `railyard model NAME|FILE`: what is understood of a model, layer by layer, in parameters and bytes.

use crate::failure::Failure;
use crate::output;
use moe::Model;
use moe::model::{Block, Layer, Mixer, Parts};
use moe::rows::{bf16_row_bytes, fp8_row_bytes};
use serde_json::{Value, json};
use study::text_table::{Column, TextTable, wrapped};

/// Contexts that caches are told of, tokens.
const CONTEXTS: [u64; 4] = [1, 4_096, 131_072, 1_000_000];

/// The model for people.
pub(super) fn text(model: &Model, ranks: Option<u32>) -> Result<String, Failure> {
    let (all, active, bytes) = (model.params(), model.active(), model.weight_bytes());
    let width = output::width(false);
    let bits = (8.0 * model.storage.cache().bytes()) as u32;
    let mut text = wrapped(
        &format!(
            "{}: {} layers of {}, {} parameters, {} of them for a token ({} without embeddings); {}B as stored",
            model.name,
            model.num_layers(),
            model.hidden,
            scaled(all.total()),
            scaled(active.total()),
            scaled(active.without_embeddings()),
            scaled(bytes.total())
        ),
        width,
        "",
    );
    for (kind, count) in model.kinds.iter().zip(model.counts()).filter(|(_, count)| *count > 0) {
        let parts = kind.mixers.iter().map(Mixer::name).chain(kind.blocks.iter().map(Block::name));
        text.push_str(&wrapped(
            &format!("{count:>4} x  {}{}", parts.collect::<Vec<_>>().join("; "), cache_of(kind, bits)),
            width,
            "        ",
        ));
    }
    text.push('\n');
    text.push_str(&weights(&all, &active, &bytes).fit(width));
    text.push_str(&caches(model).fit(width));
    if model.routed().is_some() {
        let row = model.row_width() as usize;
        let (out, back) = (fp8_row_bytes(row), bf16_row_bytes(row));
        text.push_str(&format!("a row: {out} B to an expert in FP8, {back} B back in BF16\n"));
    }
    let list = |name: &str, words: &[String]| match words {
        [] => String::new(),
        words => wrapped(&format!("{name}: {}", words.join(", ")), width, "  "),
    };
    if model.mtp_depth > 0 {
        let params = scaled(model.mtp_params());
        text.push_str(&format!(
            "predicts {} more token(s): {params} parameters beside these\n",
            model.mtp_depth
        ));
    }
    if let Some(ranks) = ranks {
        let (all_experts, one_each) = of_rank(model, &bytes, ranks)?;
        text.push_str(&wrapped(
            &format!(
                "{ranks} ranks: {}B of experts on the fullest, {}B a rank on the mean, {}B of all else on each",
                scaled(all_experts),
                scaled(one_each),
                scaled(bytes.total() - bytes.experts)
            ),
            width,
            "  ",
        ));
    }
    text.push_str(&wrapped(&format!("source: {}", model.source), width, "  "));
    text.push_str(&list("not counted", &model.other_parts));
    text.push_str(&list("assumed, as its type does", &model.assumed));
    text.push_str(&list("ignored", &model.ignored));
    Ok(text)
}

/// The same as an object.
pub(super) fn object(model: &Model, ranks: Option<u32>) -> Result<Value, Failure> {
    let (all, active, bytes) = (model.params(), model.active(), model.weight_bytes());
    let bits = (8.0 * model.storage.cache().bytes()) as u32;
    let cache = |context| {
        let (held, read) = model.cache(context);
        json!({ "context": context, "held_bytes": held.bytes(bits), "read_bytes": read.bytes(bits), "held": held, "read": read })
    };
    let mut object = json!(model);
    let fields = json!({
        "num_layers": model.num_layers(),
        "counts": model.counts(),
        "total_params": all.total(),
        "active_params": active.total(),
        "active_params_without_embeddings": active.without_embeddings(),
        "mtp_params": model.mtp_params(),
        "params": all,
        "weight_bytes": bytes,
        "total_weight_bytes": bytes.total(),
        "cache_bits": bits,
        "cache": CONTEXTS.map(cache),
        "row_bytes": { "fp8_out": fp8_row_bytes(model.row_width() as usize), "bf16_back": bf16_row_bytes(model.row_width() as usize) },
    });
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    if let Some(ranks) = ranks {
        let (fullest, mean) = of_rank(model, &bytes, ranks)?;
        object["ranks"] =
            json!({ "ranks": ranks, "expert_bytes_fullest": fullest, "expert_bytes_mean": mean });
    }
    Ok(object)
}

/// What a token leaves in the cache of a layer, in words; an entry in so many bits.
fn cache_of(kind: &Layer, bits: u32) -> String {
    let held = |context| kind.mixers.iter().map(|mixer| mixer.held(context).bytes(bits)).sum::<u64>();
    let (first, second) = (held(1), held(2));
    match second - first {
        0 if first == 0 => String::new(),
        0 => format!("; {first} B of state a sequence"),
        each => format!("; {each} B of cache a token"),
    }
}

/// Bytes of experts on the fullest of `ranks` ranks, each expert on one of them, and on the mean.
fn of_rank(model: &Model, bytes: &Parts, ranks: u32) -> Result<(f64, f64), Failure> {
    let experts = model.layers().filter_map(Layer::routed).map(Block::experts).fold(0.0, f64::max);
    if experts == 0.0 {
        return Err(Failure::Usage(anyhow::anyhow!("--ranks: {} has no experts to share out", model.name)));
    }
    if ranks == 0 || f64::from(ranks) > experts {
        return Err(Failure::Usage(anyhow::anyhow!(
            "--ranks {ranks}: give between 1 and the {experts} experts of a layer"
        )));
    }
    let most = (experts / f64::from(ranks)).ceil();
    Ok((bytes.experts * most / experts, bytes.experts / f64::from(ranks)))
}

fn weights(all: &Parts, active: &Parts, bytes: &Parts) -> TextTable {
    type Row = (&'static str, fn(&Parts) -> f64);
    let mut table = TextTable::new([
        Column::left("weights"),
        Column::right("para-\nmeters"),
        Column::right("for a\ntoken"),
        Column::right("bytes\nstored"),
        Column::right("bits\neach"),
    ]);
    let rows: [Row; 8] = [
        ("embedding", |parts| parts.embedding),
        ("output head", |parts| parts.head),
        ("attention, recurrences", |parts| parts.mixers),
        ("dense blocks", |parts| parts.dense),
        ("routers", |parts| parts.router),
        ("shared experts", |parts| parts.shared),
        ("routed experts", |parts| parts.experts),
        ("norms, streams", |parts| parts.norms),
    ];
    for (name, part) in rows.into_iter().filter(|(_, part)| part(all) > 0.0) {
        table.row([
            name.to_owned(),
            scaled(part(all)),
            scaled(part(active)),
            scaled(part(bytes)),
            format!("{:.3}", 8.0 * part(bytes) / part(all)),
        ]);
    }
    table
}

fn caches(model: &Model) -> TextTable {
    let bits = (8.0 * model.storage.cache().bytes()) as u32;
    let mut table = TextTable::new([
        Column::left(format!("a sequence's cache, {bits} bits")),
        Column::right("bytes\nheld"),
        Column::right("read by the\nnext token"),
    ]);
    for context in CONTEXTS {
        let (held, read) = model.cache(context);
        table.row([
            format!("{context} tokens"),
            scaled(held.bytes(bits) as f64),
            scaled(read.bytes(bits) as f64),
        ]);
    }
    table
}

/// A count or bytes to four digits, in thousands, millions or billions (k, M, G).
fn scaled(count: f64) -> String {
    let (unit, size) = [(" G", 1e9), (" M", 1e6), (" k", 1e3)]
        .into_iter()
        .find(|(_, size)| count >= *size)
        .unwrap_or((" ", 1.0));
    let shown = count / size;
    let digits = if shown >= 100.0 { 1 } else { 2 };
    format!("{shown:.digits$}{unit}")
}
