//! `--sweep` of `railyard roofline`: a short form of one line of `[sweep]`.

use serde::{Serialize, Serializer};
use study::experiment::{Spacing, Value, range};

/// One input and its values, in order.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    /// As it was typed.
    text: String,
    /// A key of what is swept, if there is one of that name.
    pub(crate) input: String,
    pub(crate) values: Vec<Value>,
}

impl Serialize for Sweep {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// `batch=1..8192`, `batch=1..8192*2`, `context=0..1e6:1e5`, `ranks=8,64,72`, `scheme=flat,dedup`.
pub(crate) fn sweep(text: &str) -> Result<Sweep, String> {
    let form = |problem: String| {
        format!(
            "{problem}; give NAME=A..B, NAME=A..B:STEP, NAME=A..B*FACTOR or NAME=A,B,C, as in batch=1..8192*2"
        )
    };
    let (name, values) = text.split_once('=').ok_or_else(|| form("no `=`".to_owned()))?;
    let input = name.trim().replace('-', "_");
    let spaced =
        |rest: &str, mark: char| rest.split_once(mark).map(|(to, by)| (to.to_owned(), by.to_owned()));
    let values = match values.split_once("..") {
        None => values.split(',').map(item).collect(),
        Some((from, rest)) => {
            let (to, spacing) = if let Some((to, factor)) = spaced(rest, '*') {
                (to, Spacing::Factor(size(&factor).map_err(form)?))
            } else if let Some((to, step)) = spaced(rest, ':') {
                (to, Spacing::Step(size(&step).map_err(form)?))
            } else {
                (rest.to_owned(), Spacing::Step(1.0))
            };
            number(from).and_then(|from| range(&from, &number(&to)?, spacing))
        }
    };
    Ok(Sweep { text: text.to_owned(), input, values: values.map_err(form)? })
}

/// One of several values: a number or a word, which the input takes or refuses.
fn item(text: &str) -> Result<Value, String> {
    match text.trim().parse::<f64>() {
        Err(_) if !text.trim().is_empty() => Ok(Value::Text(text.trim().to_owned())),
        _ => number(text),
    }
}

/// A number, whole where it is written so.
fn number(text: &str) -> Result<Value, String> {
    match text.trim().parse::<i64>() {
        Ok(whole) => Ok(Value::Integer(whole)),
        Err(_) => size(text).map(Value::Number),
    }
}

fn size(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(format!("`{text}` is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let values = |text: &str| Value::List(sweep(text).expect(text).values).to_string();
        assert_eq!(values("batch=1..4"), "1,2,3,4");
        assert_eq!(values("batch=1..9*2"), "1,2,4,8");
        assert_eq!(values("context=0..1e6:5e5"), "0,500000,1000000");
        assert_eq!(values("price=2,3.5"), "2,3.5");
        assert_eq!(values("common-weights=replicated,even"), "replicated,even");
        assert_eq!(sweep("micro-batches=1").expect("either hyphen").input, "micro_batches");
        assert_eq!(sweep("batch=1..10000").expect("many").values.len(), 10_000);
    }

    #[test]
    fn what_is_no_range_is_refused_with_the_form() {
        for (text, problem) in [
            ("batch", "no `=`"),
            ("batch=1..x", "`x` is no number"),
            ("batch=5..1", "smaller end first"),
            ("batch=1..2:0", "above 0"),
            ("batch=0..8*2", "above 0"),
            ("batch=1..1e9", "more than"),
            ("batch=1,inf", "`inf` is no number"),
            ("batch=1,", "`` is no number"),
        ] {
            let error = sweep(text).expect_err(text);
            assert!(error.contains(problem) && error.contains("batch=1..8192*2"), "{error}");
        }
    }
}
