//! The quantities of the equations, each a type of its own, so that bytes can't be added to seconds.
//!
//! All are `f64` in base units. Quotients and products that mean something are defined between them: bytes over bytes/s are
//! seconds. What has no unit (a ratio, a number of ranks) stays an `f64`.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Div, Mul, Sub};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
        pub struct $name(pub f64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0.0);
            /// The unit's symbol.
            pub const UNIT: &'static str = $unit;

            /// The larger of two.
            #[must_use]
            pub const fn max(self, other: Self) -> Self {
                Self(self.0.max(other.0))
            }

            /// The smaller of two.
            #[must_use]
            pub const fn min(self, other: Self) -> Self {
                Self(self.0.min(other.0))
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl Mul<f64> for $name {
            type Output = Self;
            fn mul(self, factor: f64) -> Self {
                Self(self.0 * factor)
            }
        }

        impl Mul<$name> for f64 {
            type Output = $name;
            fn mul(self, quantity: $name) -> $name {
                $name(self * quantity.0)
            }
        }

        impl Div<f64> for $name {
            type Output = Self;
            fn div(self, divisor: f64) -> Self {
                Self(self.0 / divisor)
            }
        }

        /// A ratio of two like quantities.
        impl Div for $name {
            type Output = f64;
            fn div(self, other: Self) -> f64 {
                self.0 / other.0
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                Self(parts.map(|part| part.0).sum())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)?;
                if $unit.is_empty() { Ok(()) } else { write!(f, " {}", $unit) }
            }
        }
    };
}

/// `a / b = c`, and with it `a / c = b`, `b * c = a` and `c * b = a`.
macro_rules! relation {
    ($a:ident / $b:ident = $c:ident) => {
        impl Div<$b> for $a {
            type Output = $c;
            fn div(self, other: $b) -> $c {
                $c(self.0 / other.0)
            }
        }

        impl Div<$c> for $a {
            type Output = $b;
            fn div(self, other: $c) -> $b {
                $b(self.0 / other.0)
            }
        }

        impl Mul<$c> for $b {
            type Output = $a;
            fn mul(self, other: $c) -> $a {
                $a(self.0 * other.0)
            }
        }

        impl Mul<$b> for $c {
            type Output = $a;
            fn mul(self, other: $b) -> $a {
                $a(self.0 * other.0)
            }
        }
    };
}

quantity!(
    /// Bytes of memory or on a link.
    Bytes,
    "B"
);
quantity!(
    /// Bytes per second, on a link in one direction.
    BytesPerS,
    "B/s"
);
quantity!(
    /// Floating-point operations; a multiply and an add are two.
    Flop,
    "FLOP"
);
quantity!(
    /// Dense floating-point operations per second.
    FlopPerS,
    "FLOP/s"
);
quantity!(
    /// Seconds.
    Seconds,
    "s"
);
quantity!(
    /// US dollars.
    Dollars,
    "$"
);
quantity!(
    /// US dollars per second.
    DollarsPerS,
    "$/s"
);
quantity!(
    /// Tokens; also the sequences of a decode pass, each of which makes one.
    Tokens,
    "tokens"
);
quantity!(
    /// Tokens per second.
    TokensPerS,
    "tokens/s"
);
quantity!(
    /// Bytes that a token of context takes, or that a token puts on a link.
    BytesPerToken,
    "B/token"
);
quantity!(
    /// Bytes that an element of a row takes, on one way or on all ways together.
    BytesPerElement,
    "B/element"
);
quantity!(
    /// US dollars per token.
    DollarsPerToken,
    "$/token"
);
quantity!(
    /// Parameters of a model.
    Params,
    "params"
);
quantity!(
    /// Bytes that a parameter is stored in: 2, 1, 0.5.
    BytesPerParam,
    "B/param"
);

relation!(Bytes / BytesPerS = Seconds);
relation!(Flop / FlopPerS = Seconds);
relation!(Dollars / DollarsPerS = Seconds);
relation!(Tokens / TokensPerS = Seconds);
relation!(Bytes / BytesPerToken = Tokens);
relation!(Dollars / DollarsPerToken = Tokens);
relation!(Bytes / BytesPerParam = Params);
relation!(DollarsPerS / DollarsPerToken = TokensPerS);

impl Seconds {
    /// In milliseconds.
    #[must_use]
    pub fn as_millis(self) -> f64 {
        self.0 * 1e3
    }

    /// In microseconds.
    #[must_use]
    pub fn as_micros(self) -> f64 {
        self.0 * 1e6
    }
}

impl Bytes {
    /// In gigabytes of 10^9.
    #[must_use]
    pub fn as_gb(self) -> f64 {
        self.0 / 1e9
    }
}

impl DollarsPerToken {
    /// For a million tokens.
    #[must_use]
    pub fn per_mtok(self) -> f64 {
        self.0 * 1e6
    }
}

impl DollarsPerS {
    /// What so many dollars an hour are.
    #[must_use]
    pub fn per_hour(dollars: f64) -> Self {
        Self(dollars / 3600.0)
    }
}

impl Params {
    /// Arithmetic of one token through these weights: a multiply and an add each.
    #[must_use]
    pub fn flop_per_token(self) -> Flop {
        Flop(2.0 * self.0)
    }
}

/// `a / b` with 0 for 0 / 0: nothing to do takes no time, anything else over 0 is infinite.
#[must_use]
pub fn quotient(a: f64, b: f64) -> f64 {
    if a == 0.0 { 0.0 } else { a / b }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_and_products_undo_each_other() {
        let (bytes, rate) = (Bytes(671e9), BytesPerS(8e12));
        let time = bytes / rate;
        assert_eq!(time.as_millis(), 83.875);
        assert_eq!((rate * time, time * rate, bytes / time), (bytes, bytes, rate));
        assert_eq!(Bytes(6.0) / Bytes(3.0), 2.0);
        assert_eq!(Tokens(10.0) * BytesPerToken(7.0), Bytes(70.0));
        assert_eq!(DollarsPerS::per_hour(3600.0) / TokensPerS(2e6), DollarsPerToken(5e-7));
        assert_eq!([Bytes(1.0), Bytes(2.0)].into_iter().sum::<Bytes>(), Bytes(3.0));
    }

    #[test]
    fn a_quantity_is_written_with_its_unit() {
        assert_eq!(format!("{:.1}", BytesPerS(2.25)), "2.2 B/s");
        assert_eq!(Seconds(1.5).to_string(), "1.5 s");
    }
}
