//! Values at even distances or even factors: `{ from, to, step }`, `{ from, to, steps }`, `{ from, to, steps, scale = "log" }`.

use super::value::Value;

/// Most values of one range.
const VALUES_MAX: usize = 100_000;

/// How the values of a range follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spacing {
    /// By this much, up to `to` at most.
    Step(f64),
    /// So many, evenly, both ends included.
    Linear(usize),
    /// So many, by equal factors, both ends included.
    Log(usize),
    /// By this factor, up to `to` at most.
    Factor(f64),
}

/// The values from `from` to `to`. Between whole ends (and by whole steps) they are whole, rounded where they fall between.
///
/// # Errors
/// What is wrong.
pub fn range(from: &Value, to: &Value, spacing: Spacing) -> Result<Vec<Value>, String> {
    let (Some(first), Some(last)) = (from.number(), to.number()) else {
        return Err("the ends of a range are numbers".to_owned());
    };
    if first > last {
        return Err(format!("the range goes from {from} down to {to}; give the smaller end first"));
    }
    let mut whole = matches!((from, to), (Value::Integer(_), Value::Integer(_)));
    let (count, place): (usize, Box<dyn Fn(usize) -> f64>) = match spacing {
        Spacing::Step(step) => {
            if step.is_nan() || step <= 0.0 {
                return Err(format!("step = {step}: give a number above 0"));
            }
            whole &= step.fract() == 0.0;
            // A step that divides the range in decimal arithmetic should reach its end in binary.
            let steps = ((last - first) / step * (1.0 + 1e-12)).floor();
            if steps >= VALUES_MAX as f64 {
                return Err(format!("more than {VALUES_MAX} values; give a larger step"));
            }
            (steps as usize + 1, Box::new(move |at| first + at as f64 * step))
        }
        Spacing::Factor(factor) => {
            if factor.is_nan() || factor <= 1.0 || first <= 0.0 {
                return Err(format!(
                    "factor = {factor}: give a number above 1, and a range that begins above 0"
                ));
            }
            whole &= factor.fract() == 0.0;
            let steps = ((last / first).ln() / factor.ln() + 1e-9).floor();
            if steps >= VALUES_MAX as f64 {
                return Err(format!("more than {VALUES_MAX} values; give a larger factor"));
            }
            (steps as usize + 1, Box::new(move |at| first * factor.powi(at as i32)))
        }
        Spacing::Linear(count) => (count, Box::new(move |at| first + share(at, count) * (last - first))),
        Spacing::Log(count) => {
            if first <= 0.0 {
                return Err(format!("from = {from}: a log range begins above 0"));
            }
            (count, Box::new(move |at| first * (last / first).powf(share(at, count))))
        }
    };
    if count == 0
        || count > VALUES_MAX
        || (count == 1 && first < last && matches!(spacing, Spacing::Linear(_) | Spacing::Log(_)))
    {
        return Err(format!(
            "steps = {count}: give from 2 to {VALUES_MAX} values (1 if both ends are equal)"
        ));
    }
    // A power may differ in its last bits from one machine to the next.
    let digits = if matches!(spacing, Spacing::Log(_)) { 6 } else { 12 };
    let value = |at| {
        let exact = at + 1 == count && matches!(spacing, Spacing::Linear(_) | Spacing::Log(_));
        let number = if exact { last } else { tidy(place(at), digits) };
        if whole { Value::Integer(number.round() as i64) } else { Value::Number(number) }
    };
    let values: Vec<Value> = (0..count).map(value).collect();
    if let Some(twice) = values.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("the range has {} twice; give fewer steps", twice[0]));
    }
    Ok(values)
}

fn share(at: usize, count: usize) -> f64 {
    if count > 1 { at as f64 / (count - 1) as f64 } else { 0.0 }
}

/// `number` to so many significant digits: the same on every machine, and 0.3 instead of 0.30000000000000004.
fn tidy(number: f64, digits: usize) -> f64 {
    format!("{number:.*e}", digits - 1).parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::range as values;
    use super::*;

    #[track_caller]
    fn check(from: Value, to: Value, spacing: Spacing, expected: &str) {
        let list = values(&from, &to, spacing).expect("a range");
        assert_eq!(Value::List(list).to_string(), expected);
    }

    #[test]
    fn whole_ends_give_whole_values() {
        check(Value::Integer(32), Value::Integer(512), Spacing::Log(5), "32,64,128,256,512");
        check(Value::Integer(1), Value::Integer(100), Spacing::Log(4), "1,5,22,100");
        check(Value::Integer(1), Value::Integer(10), Spacing::Linear(4), "1,4,7,10");
        check(Value::Integer(1), Value::Integer(10), Spacing::Step(4.0), "1,5,9");
        check(Value::Integer(3), Value::Integer(3), Spacing::Linear(1), "3");
        check(Value::Integer(1), Value::Integer(9), Spacing::Factor(2.0), "1,2,4,8");
    }

    #[test]
    fn fractions_are_written_as_people_do() {
        check(Value::Number(0.1), Value::Number(0.5), Spacing::Step(0.1), "0.1,0.2,0.3,0.4,0.5");
        check(Value::Integer(1), Value::Integer(2), Spacing::Step(0.5), "1,1.5,2");
        check(Value::Number(1.0), Value::Number(10.0), Spacing::Log(3), "1,3.16228,10");
    }

    #[test]
    fn ranges_that_are_none_are_refused() {
        let (one, ten) = (Value::Integer(1), Value::Integer(10));
        for (from, to, spacing, message) in [
            (&ten, &one, Spacing::Linear(2), "smaller end first"),
            (&one, &ten, Spacing::Linear(11), "twice"),
            (&one, &ten, Spacing::Linear(1), "from 2"),
            (&one, &ten, Spacing::Step(0.0), "above 0"),
            (&one, &ten, Spacing::Step(1e-9), "larger step"),
            (&one, &ten, Spacing::Factor(1.0), "above 1"),
            (&Value::Integer(0), &ten, Spacing::Log(3), "above 0"),
            (&Value::Text("a".to_owned()), &ten, Spacing::Log(3), "numbers"),
        ] {
            let error = values(from, to, spacing).expect_err(message);
            assert!(error.contains(message), "{error}");
        }
    }
}
