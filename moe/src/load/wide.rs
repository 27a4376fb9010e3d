//! A wide table of text: a line a layer, a column an expert, with or without a header.

use super::rows::{EXPERT, LAYER, Names, Rows, STEP, is_called};
use super::tables::number;

/// What the columns of a wide table are.
pub(super) struct Wide {
    /// How many there are.
    pub(super) columns: usize,
    layer: Option<usize>,
    step: Option<usize>,
    /// Column and number of each expert.
    experts: Vec<(usize, u32)>,
    /// Of the last line: its step, and the layers of that step if lines don't number them.
    at: (u32, u32),
    /// First fields while each is one more than the one before, without a header to say what they are.
    counting: Option<Vec<f64>>,
}

impl Wide {
    /// Told from the first line, which is in `rows` if it is a layer.
    pub(super) fn of_first(fields: &[&str], rows: &mut Rows) -> Result<Self, String> {
        // Lines may end in a delimiter.
        let fields = fields.strip_suffix(&[""]).unwrap_or(fields);
        let values: Option<Vec<f64>> = fields.iter().map(|field| field.parse().ok()).collect();
        let numbers_columns = |values: &[f64]| (0..).zip(values).all(|(at, &value)| f64::from(at) == value);
        match values {
            Some(values) if values.len() < 4 => Err(format!(
                "{} columns without a header; give a header layer,expert,count, or JSON",
                values.len()
            )),
            Some(values) if !numbers_columns(&values) => {
                let experts = (0..fields.len()).zip(0..).collect();
                let counting = Some(Vec::new());
                let mut wide =
                    Self { columns: fields.len(), layer: None, step: None, experts, at: (0, 0), counting };
                wide.push(fields, rows).map(|()| wide)
            }
            _ => Self::of_header(fields),
        }
    }

    fn of_header(fields: &[&str]) -> Result<Self, String> {
        let column = |names: Names| fields.iter().position(|name| is_called(name, names));
        let unnamed = || fields.first().is_some_and(|name| name.is_empty()).then_some(0);
        let (layer, step) = (column(LAYER).or_else(unnamed), column(STEP));
        let mut experts = Vec::new();
        for (at, name) in fields.iter().enumerate() {
            if Some(at) == layer || Some(at) == step {
                continue;
            }
            let of_layer = is_called(name, EXPERT) || name.to_ascii_lowercase().contains("layer");
            match number(name).filter(|_| !of_layer) {
                Some(expert) if experts.iter().any(|&(_, other)| other == expert) => {
                    return Err(format!("two columns of expert {expert}; leave one out"));
                }
                Some(expert) => experts.push((at, expert)),
                None => {
                    return Err(format!(
                        "not JSON, and column `{name}` is no expert's; give a header layer,expert,count or layer,0,1,2,..."
                    ));
                }
            }
        }
        Ok(Self { columns: fields.len(), layer, step, experts, at: (0, 0), counting: None })
    }

    /// A layer of at least as many fields as there are columns.
    pub(super) fn push(&mut self, fields: &[&str], rows: &mut Rows) -> Result<(), String> {
        let whole = |at: usize, name: &str| {
            number(fields[at]).ok_or_else(|| format!("`{name}` is `{}`: give a number", fields[at]))
        };
        let step = self.step.map_or(Ok(0), |at| whole(at, STEP[0]))?;
        let next = if step == self.at.0 { self.at.1 } else { 0 };
        let layer = self.layer.map_or(Ok(next), |at| whole(at, LAYER[0]))?;
        self.at = (step, next + 1);
        for &(at, expert) in &self.experts {
            let count = fields[at]
                .parse()
                .map_err(|_| format!("layer {layer}, expert {expert} is `{}`: give a number", fields[at]))?;
            rows.push([step, layer, 0], expert, count)?;
        }
        if let Some(firsts) = &mut self.counting {
            firsts.push(fields[0].parse().unwrap_or(f64::NAN));
        }
        Ok(())
    }

    /// Whether the first column may be what the others are.
    pub(super) fn check(&self) -> Result<(), String> {
        let firsts = self.counting.as_deref().unwrap_or_default();
        if firsts.len() > 1 && firsts.windows(2).all(|pair| pair[1] == pair[0] + 1.0) {
            return Err(
                "the first column counts up: are these layers? give a header, layer,0,1,2,...".to_owned()
            );
        }
        Ok(())
    }
}
