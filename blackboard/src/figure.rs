//! A plot as data: axes with units, series, markers and a caption that names the inputs. Drawing it is another module's work.

/// How an axis is divided.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// Equal steps.
    Linear,
    /// Equal factors; all values are above 0.
    Log,
    /// One place a name, in this order; a value is the index of its place.
    Categories(Vec<String>),
}

/// One axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it shows, with the unit: `step time, ms`.
    pub label: String,
    /// How it is divided.
    pub scale: Scale,
}

impl Axis {
    /// An axis of equal steps.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Linear }
    }

    /// An axis of equal factors.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: Scale::Log }
    }

    /// An axis of names.
    pub fn categories<T: Into<String>>(label: impl Into<String>, names: impl IntoIterator<Item = T>) -> Self {
        Self { label: label.into(), scale: Scale::Categories(names.into_iter().map(Into::into).collect()) }
    }
}

/// What a marker stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A value that a source states.
    Stated,
    /// A value that the equations give.
    Computed,
}

/// A mean with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// Half the width of its 95% interval; `None` where there is none.
    pub half: Option<f64>,
}

impl From<f64> for Mean {
    fn from(value: f64) -> Self {
        Self { value, half: None }
    }
}

impl Mean {
    /// The ends of the interval: twice the value where there is none.
    #[must_use]
    pub fn ends(&self) -> (f64, f64) {
        let half = self.half.unwrap_or(0.0);
        (self.value - half, self.value + half)
    }
}

/// Something drawn in a figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// A line through points, in order.
    Line {
        /// For the legend.
        label: String,
        /// (x, y).
        points: Vec<(f64, f64)>,
        /// Dashed: a bound or a reference.
        dashed: bool,
    },
    /// A line through marked points, in order, with a band where they have intervals.
    Means {
        /// For the legend; empty where there is nothing to tell apart.
        label: String,
        /// (x, y).
        points: Vec<(f64, Mean)>,
    },
    /// Single points with a text beside each.
    Marks {
        /// For the legend.
        label: String,
        /// What they stand for.
        mark: Mark,
        /// (x, y, text).
        points: Vec<(f64, f64, String)>,
    },
    /// Bars over the places of a [`Scale::Categories`] x axis, one series after the other on top of each other, with a whisker where they have
    /// intervals. Several such layers stand side by side.
    Bars {
        /// (legend, one value a place if it has one), from the axis up.
        series: Vec<(String, Vec<Option<Mean>>)>,
    },
    /// Spans of time along x, each in the row of a [`Scale::Categories`] y axis.
    Spans {
        /// (row, begin, end, text in it).
        spans: Vec<(usize, f64, f64, String)>,
    },
    /// A grid of values as colours. Both axes are [`Scale::Categories`].
    Heat {
        /// What the colours mean, with the unit.
        label: String,
        /// `[rows of y][places of x]`.
        values: Vec<Vec<f64>>,
    },
}

/// A plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Name of its file without the ending: `a-step-time`.
    pub id: &'static str,
    /// The chapter it belongs to.
    pub chapter: &'static str,
    /// What it shows.
    pub title: String,
    /// The inputs, and where they are from.
    pub caption: String,
    /// Horizontal.
    pub x: Axis,
    /// Vertical.
    pub y: Axis,
    /// From back to front.
    pub layers: Vec<Layer>,
}
