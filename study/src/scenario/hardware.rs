//! Accelerators and the links between them: a preset, or what a cluster file describes, and how words change it.

use super::files::{is_cluster_file, read_file};
use super::{LatencyChoice, Racks, ScenarioError};
use blackboard::text::number;
use serde::{Deserialize, Serialize};
use std::path::Path;
use topology::{
    ClusterSpec, DomainTopology, Dtype, Fabric, Hardware, Oversubscription, Rate, parse_cluster_file,
};

/// Accelerators, links and, from a cluster file, racks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The accelerator behind every rank; what its kernels have of their own follows the links.
    pub hardware: Hardware,
    /// The links.
    pub fabric: Fabric,
    /// Ranks of each rack; `None` for a preset.
    pub rack_sizes: Option<Vec<u32>>,
    /// Share of the links between racks that a second job takes: of a file, until it is [taken](Self::shared).
    #[serde(default)]
    pub background: f64,
}

/// Reads a cluster file.
///
/// # Errors
/// What is wrong with it, with its line.
pub fn cluster_file(path: &Path) -> Result<ClusterSpec, String> {
    parse_cluster_file(&read_file(path)?, &path.display().to_string()).map_err(|error| error.to_string())
}

impl Place {
    /// What `name` leads to, a preset or a cluster file; without one [`Hardware::DEFAULT_PRESET`].
    ///
    /// # Errors
    /// [`ScenarioError`] with the nearest preset, or with what is wrong in the file.
    pub fn named(name: Option<&str>) -> Result<Self, ScenarioError> {
        let name = name.unwrap_or(Hardware::DEFAULT_PRESET);
        let refused = |problem: String| ScenarioError::new("hardware", problem);
        if is_cluster_file(name) {
            let ClusterSpec { cluster, hardware, fabric, background, .. } =
                cluster_file(Path::new(name)).map_err(refused)?;
            return Ok(Self {
                hardware,
                fabric,
                rack_sizes: Some(cluster.rack_sizes().to_vec()),
                background,
            });
        }
        let hardware = Hardware::preset(name).map_err(|error| refused(error.to_string()))?;
        Ok(Self { fabric: hardware.fabric(), hardware, rack_sizes: None, background: 0.0 })
    }

    /// Ports between racks `throttle` times slower than those in them, where one is given; the combine's own as well.
    ///
    /// # Errors
    /// [`ScenarioError`] for a throttle that can't be.
    pub fn throttled(mut self, throttle: Option<f64>) -> Result<Self, ScenarioError> {
        if let Some(throttle) = throttle {
            let made = self.hardware.throttle(&mut self.fabric, throttle);
            made.map_err(|error| ScenarioError::new("throttle", error))?;
        }
        Ok(self)
    }

    /// Uplinks of racks with the ports of a rack `oversubscription` times as fast, and all links between racks without what a second job
    /// takes; each the file's where none is given. After [`Self::throttled`], and once.
    ///
    /// # Errors
    /// [`ScenarioError`] for numbers that can't be.
    pub fn shared(
        mut self,
        oversubscription: Option<f64>,
        background: Option<f64>,
    ) -> Result<Self, ScenarioError> {
        if let Some(ratio) = oversubscription {
            let ratio = Oversubscription::new(ratio);
            self.fabric.oversubscription =
                ratio.map_err(|error| ScenarioError::new("oversubscription", error))?;
        }
        self.background = background.unwrap_or(self.background);
        let left = self.hardware.share(&mut self.fabric, self.background);
        left.map_err(|error| ScenarioError::new("background", error))?;
        Ok(self)
    }

    /// What is to be told of the links between racks of `sizes`, where ranks don't have them for themselves.
    #[must_use]
    pub fn told_of_sharing(&self, sizes: &[u32]) -> Vec<String> {
        let mut notes = Vec::new();
        if sizes.len() < 2 {
            return notes;
        }
        let (ratio, port) = (self.fabric.oversubscription, self.fabric.scale_out.rate);
        let gb = |rate: Rate| number(rate.bytes_per_s() as f64 / 1e9);
        if self.background > 0.0 {
            let percent = number(self.background * 100.0);
            notes.push(format!(
                "a second job takes {percent}% of every link between racks at all times: {} GB/s of a port are left",
                gb(port)
            ));
        }
        if ratio.blocks() {
            let most = sizes.iter().copied().max().unwrap_or(1);
            notes.push(format!(
                "uplinks are oversubscribed {ratio} to 1: {} GB/s each way for a rack of {most}, one queue each way; several planes, rails \
                 and congestion inside switches are left out",
                gb(ratio.uplink(most, port))
            ));
        }
        notes
    }

    /// What is to be told of ranks in a torus, whose ports rows are sent through as if a switch joined them.
    #[must_use]
    pub fn told_of_domain(&self, sizes: &[u32]) -> Option<String> {
        let torus =
            matches!(self.hardware.domain_topology, DomainTopology::Torus2d | DomainTopology::Torus3d);
        (torus && sizes.iter().any(|&size| size > 1)).then(|| {
            format!(
                "{} is wired as a torus; here its ports are those of a crossbar, `roofline` charges the longer ways",
                self.hardware.name
            )
        })
    }

    /// The same with the latencies of `choice`.
    #[must_use]
    pub fn with_latency(mut self, choice: LatencyChoice) -> Self {
        self.fabric = choice.apply(self.fabric);
        self.hardware.kernels = self.hardware.kernels.take().map(|kernels| choice.apply_to_kernels(kernels));
        self
    }

    /// The accelerator with these links as its own.
    #[must_use]
    pub fn into_hardware(self) -> Hardware {
        Hardware {
            scale_up: self.fabric.scale_up.rate,
            scale_out: self.fabric.scale_out.rate,
            scale_up_latency: self.fabric.scale_up.latency,
            scale_out_latency: self.fabric.scale_out.latency,
            oversubscription: self.fabric.oversubscription,
            ..self.hardware
        }
    }

    /// Ranks of each rack: those given, else the cluster file's, else `racks` of `ranks_per_rack`.
    ///
    /// # Errors
    /// As [`Racks::sizes`].
    pub fn racks(&self, given: &Racks, racks: u32, ranks_per_rack: u32) -> Result<Vec<u32>, ScenarioError> {
        match &self.rack_sizes {
            Some(sizes) if given.is_empty() => Ok(sizes.clone()),
            _ => given.sizes(racks, ranks_per_rack),
        }
    }

    /// The format that is asked for, which the accelerator must have; where none is, `own`, or told in `notes`, bf16.
    ///
    /// # Errors
    /// [`ScenarioError`] for arithmetic that the accelerator doesn't have.
    pub fn dtype(
        &self,
        asked: Option<Dtype>,
        own: Dtype,
        notes: &mut Vec<String>,
    ) -> Result<Dtype, ScenarioError> {
        let refused = |error| ScenarioError::new("dtype", error);
        let dtype = asked.unwrap_or(own);
        match self.hardware.flops(dtype) {
            Err(_) if asked.is_none() => {
                notes.push(format!("{} has no {dtype} arithmetic: bf16", self.hardware.name));
                Ok(Dtype::Bf16)
            }
            able => able.map(|_| dtype).map_err(refused),
        }
    }
}
