//! Hops as a subject: how long a port takes to pass a message on, by its size and rate.

use crate::experiment::{Asked, Column, Failed, Fault, Note, Record, Resolved, Subject, Value, Work};
use crate::layer::{BackendKind, Verification};
use std::collections::BTreeMap;

/// The subject; `&Hops` is its line in the registry.
#[derive(Debug)]
pub(super) struct Hops;

impl Subject for Hops {
    fn name(&self) -> &'static str {
        "hops"
    }

    fn keys(&self) -> Vec<String> {
        ["bytes", "link.gb_per_s"].map(str::to_owned).to_vec()
    }

    fn check(&self, key: &str, value: &Value) -> Result<(), String> {
        match value.number() {
            Some(number) if number > 0.0 => Ok(()),
            _ => Err(format!("{key} = {value}: give a number above 0")),
        }
    }

    fn backends(&self) -> &'static [BackendKind] {
        &[BackendKind::Analytic]
    }

    fn resolve<'a>(&'a self, asked: Asked<'_>) -> Result<Resolved<'a>, Fault> {
        let number = |key: &str| {
            let value = asked.settings.get(key).and_then(Value::number);
            value.ok_or_else(|| Fault::of(key, "it is missing; give it"))
        };
        let hop = Hop { bytes: number("bytes")?, gb_per_s: number("link.gb_per_s")? };
        Ok(Resolved {
            backends: vec![BackendKind::Analytic],
            identity: format!("{hop:?}").into_bytes(),
            memory_bytes: 1 << 10,
            ranks: 2,
            command: asked.repeated("run", "seeds"),
            work: Box::new(hop),
        })
    }

    fn columns(&self) -> &'static [Column] {
        const { &[Column::shown("hop_us", "hop", "us")] }
    }

    fn words(&self) -> &'static [Column] {
        const { &[Column::kept("link.gb_per_s", "rate of the port", "GB/s")] }
    }
}

/// A point.
#[derive(Debug)]
struct Hop {
    bytes: f64,
    gb_per_s: f64,
}

impl Work for Hop {
    fn run(&self, _: Note<'_>) -> Result<Vec<Record>, Failed> {
        let us = self.bytes / (self.gb_per_s * 1e3);
        let own = BTreeMap::from([("hop_us", us)]);
        Ok(vec![Record::sound(BackendKind::Analytic, Verification::NothingRan, &own)?])
    }
}
