//! A model's gate as it is written: a rule of the registry with its options, groups and scaling.

use super::{GATES, Gate, GateOption, SelectionRule};
use crate::error::ModelError;
use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::ser::SerializeStructVariant;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A gate of the registry with its options. Written as an enum would be: `"softmax_after_topk"`,
/// `{"sigmoid": {"bias": true, "norm_topk": true}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateKind {
    gate: &'static dyn Gate,
    bias: bool,
    norm_topk: bool,
}

impl GateKind {
    /// `gate` without options.
    #[must_use]
    pub const fn of(gate: &'static dyn Gate) -> Self {
        Self { gate, bias: false, norm_topk: false }
    }

    /// The same with [`GateOption::Bias`] as `on` says, where the gate takes it.
    #[must_use]
    pub fn bias(self, on: bool) -> Self {
        self.with(GateOption::Bias, on)
    }

    /// The same with [`GateOption::NormTopk`] as `on` says, where the gate takes it.
    #[must_use]
    pub fn norm_topk(self, on: bool) -> Self {
        self.with(GateOption::NormTopk, on)
    }

    /// The rule.
    #[must_use]
    pub fn gate(self) -> &'static dyn Gate {
        self.gate
    }

    /// Whether `option` is on.
    #[must_use]
    pub const fn has(self, option: GateOption) -> bool {
        match option {
            GateOption::Bias => self.bias,
            GateOption::NormTopk => self.norm_topk,
        }
    }

    fn with(mut self, option: GateOption, on: bool) -> Self {
        let on = on && self.gate.options().contains(&option);
        match option {
            GateOption::Bias => self.bias = on,
            GateOption::NormTopk => self.norm_topk = on,
        }
        self
    }
}

/// A model's gate: its rule and its group limit.
///
/// The experts are `n_group` runs of equal length; a token's experts lie in at most `topk_group` of them.
/// `n_group == 1` is a gate without groups.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateSpec {
    /// How logits become scores, and scores weights.
    pub kind: GateKind,
    /// Number of groups of experts; divides the number of experts.
    #[serde(default = "one_group")]
    pub n_group: u32,
    /// Groups that a token may use.
    #[serde(default = "one_group")]
    pub topk_group: u32,
    /// A token takes equally many experts of each group (Pangu's MoGE).
    #[serde(default)]
    pub equal_shares: bool,
    /// Factor on every weight, after normalisation.
    #[serde(default = "no_scaling")]
    pub routed_scaling_factor: f32,
}

impl GateSpec {
    /// The same without limits by groups.
    #[must_use]
    pub const fn unlimited(self) -> Self {
        Self { n_group: one_group(), topk_group: one_group(), equal_shares: false, ..self }
    }

    /// How it takes `top_k` of `experts` experts.
    #[must_use]
    pub fn selection(&self, experts: u32, top_k: u32) -> SelectionRule {
        let summed = if self.kind.has(GateOption::Bias) { 2 } else { 1 };
        SelectionRule {
            experts,
            zero: 0,
            top_k,
            groups: self.n_group,
            kept: self.topk_group,
            summed,
            equal: self.equal_shares,
        }
    }

    /// Checks groups and scaling for `top_k` of `experts` experts; `origin` (a file, a preset) is named in errors.
    pub(crate) fn validate_as(&self, origin: &str, experts: u32, top_k: u32) -> Result<(), ModelError> {
        let invalid = |field, value: String, remedy: String| {
            Err(ModelError::Invalid { origin: origin.to_owned(), field, value, remedy })
        };
        let (k, gate) = (top_k, self);
        if k > experts {
            return invalid("top_k", k.to_string(), format!("at most the {experts} experts of the layer"));
        }
        if gate.n_group == 0 || !experts.is_multiple_of(gate.n_group) {
            let remedy = format!("a divisor of the {experts} experts (1 for a gate without groups)");
            return invalid("n_group", gate.n_group.to_string(), remedy);
        }
        if gate.topk_group == 0 || gate.topk_group > gate.n_group {
            let remedy = format!("between 1 and n_group = {}", gate.n_group);
            return invalid("topk_group", gate.topk_group.to_string(), remedy);
        }
        if gate.equal_shares && (gate.topk_group < gate.n_group || !k.is_multiple_of(gate.n_group)) {
            let remedy =
                format!("false, or a token in all {} groups with top_k a multiple of them", gate.n_group);
            return invalid("equal_shares", "true".to_owned(), remedy);
        }
        let reachable = experts / gate.n_group * gate.topk_group;
        if reachable < k {
            let remedy = format!("enough groups for top_k = {k}: these hold only {reachable} experts");
            return invalid("topk_group", gate.topk_group.to_string(), remedy);
        }
        let factor = gate.routed_scaling_factor;
        if !(factor.is_finite() && factor > 0.0) {
            return invalid("routed_scaling_factor", factor.to_string(), "a positive number".to_owned());
        }
        Ok(())
    }

    /// A gate without groups and without scaling.
    #[must_use]
    pub const fn ungrouped(kind: GateKind) -> Self {
        Self {
            kind,
            n_group: one_group(),
            topk_group: one_group(),
            equal_shares: false,
            routed_scaling_factor: no_scaling(),
        }
    }
}

const fn one_group() -> u32 {
    1
}

const fn no_scaling() -> f32 {
    1.0
}

/// What serde calls the enum that a [`GateKind`] is written as.
const ENUM: &str = "GateKind";

impl Serialize for GateKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, options) = (self.gate.name(), self.gate.options());
        let index = GATES.names().take_while(|other| *other != name).count() as u32;
        if options.is_empty() {
            return serializer.serialize_unit_variant(ENUM, index, name);
        }
        let mut written = serializer.serialize_struct_variant(ENUM, index, name, options.len())?;
        for &option in options {
            written.serialize_field(option.name(), &self.has(option))?;
        }
        written.end()
    }
}

impl<'de> Deserialize<'de> for GateKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum(ENUM, &[], AnyKind)
    }
}

/// Reads a kind.
struct AnyKind;

/// Reads a gate by its name or, where names aren't written, its place in the registry.
struct AnyGate;

/// Reads the options of a gate, each of which must be there.
struct OptionsOf<'a> {
    kind: GateKind,
    /// Becomes true where something stands for the options.
    found: &'a mut bool,
}

impl<'de> Visitor<'de> for AnyKind {
    type Value = GateKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a gate by its name, alone or with its options")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<GateKind, A::Error> {
        let (gate, written) = data.variant_seed(AnyGate)?;
        let kind = GateKind::of(gate);
        let name = gate.name();
        if gate.options().is_empty() {
            let options =
                |_| A::Error::custom(format!("gate `{name}` takes no options: give \"{name}\" alone"));
            return written.unit_variant().map(|()| kind).map_err(options);
        }
        let mut found = false;
        written.newtype_variant_seed(OptionsOf { kind, found: &mut found }).map_err(|error| {
            if found {
                return error;
            }
            let options: Vec<_> = gate.options().iter().map(|option| format!("{} = true", option.name())).collect();
            let options = options.join(", ");
            A::Error::custom(format!(
                "gate `{name}` takes options: give all of them, true or false, as gate.kind.{name} = {{ {options} }}"
            ))
        })
    }
}

impl<'de> DeserializeSeed<'de> for AnyGate {
    type Value = &'static dyn Gate;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for AnyGate {
    type Value = &'static dyn Gate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a gate")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        GATES.named(name).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, index: u64) -> Result<Self::Value, E> {
        GATES.iter().nth(index as usize).ok_or_else(|| E::custom(format!("there is no gate {index}")))
    }
}

impl<'de> DeserializeSeed<'de> for OptionsOf<'_> {
    type Value = GateKind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<GateKind, D::Error> {
        *self.found = true;
        if deserializer.is_human_readable() {
            deserializer.deserialize_map(self)
        } else {
            deserializer.deserialize_tuple(self.kind.gate.options().len(), self)
        }
    }
}

impl<'de> Visitor<'de> for OptionsOf<'_> {
    type Value = GateKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the options of the gate `{}`", self.kind.gate.name())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<GateKind, A::Error> {
        let mut kind = self.kind;
        for &option in kind.gate.options() {
            let on = seq.next_element()?.ok_or_else(|| A::Error::missing_field(option.name()))?;
            kind = kind.with(option, on);
        }
        Ok(kind)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GateKind, A::Error> {
        let (mut kind, options) = (self.kind, self.kind.gate.options());
        let mut missing = options.to_vec();
        while let Some(key) = map.next_key::<String>()? {
            let Some(&option) = options.iter().find(|option| option.name() == key) else {
                let known: Vec<_> = options.iter().map(|option| option.name()).collect();
                let (name, known) = (kind.gate.name(), known.join(", "));
                return Err(A::Error::custom(format!("gate `{name}` has no option `{key}`; it has {known}")));
            };
            if !missing.contains(&option) {
                return Err(A::Error::custom(format!("gate option `{key}` twice")));
            }
            missing.retain(|other| *other != option);
            kind = kind.with(option, map.next_value()?);
        }
        missing.first().map_or(Ok(kind), |option| Err(A::Error::missing_field(option.name())))
    }
}
