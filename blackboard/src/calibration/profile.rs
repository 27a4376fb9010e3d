//! From fitted columns to a profile of hardware, and what a profile predicts.

use super::fit::{ColumnFit, Fit, free_kernel, sms_share, time};
use super::layer_fit::layer_us;
use super::parameters::Parameter;
use super::{CalibrationError, Layer, Measurement, Op};
use topology::{Hardware, Kernel, KernelProfile, LayerProfile, PhaseKernels, Provenance, RowFormat};

/// The time of `measured` by the profile `hardware`, microseconds.
///
/// # Errors
/// As [`Layer::load`]; [`CalibrationError::Unmeasured`] where the profile has nothing of its kind.
pub fn predict(measured: &Measurement, layer: &Layer, hardware: &Hardware) -> Result<f64, CalibrationError> {
    let lacks = |what| CalibrationError::Unmeasured { name: hardware.name.clone(), what };
    if measured.op.is_layer() {
        hardware.layer.as_ref().ok_or_else(|| lacks("layer"))?;
        return layer_us(measured, layer, hardware);
    }
    let kernels = hardware.kernels.as_ref().ok_or_else(|| lacks("kernels"))?;
    let phase = if measured.op.is_dispatch() { &kernels.dispatch } else { &kernels.combine };
    let share = sms_share(measured.sms, kernels.sms);
    Ok(time(phase.over(measured.racks), measured.op, &layer.load(measured)?, share))
}

/// FNV-1a, 64 bits, of all files one after the other.
#[must_use]
pub fn data_hash<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in texts.flat_map(str::bytes) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// The hardware of a profile of `variant`: measured kernels, or a measured layer on the kernels that it was fitted with.
#[must_use]
pub fn profiled(fit: &Fit, variant: &str, nominal: &Hardware, provenance: Provenance) -> Hardware {
    let Some(found) = fit.layers.get(variant) else {
        let kernels = Some(profile(fit, variant, nominal, provenance));
        return Hardware { kernels, ..nominal.clone() };
    };
    let mut hardware = found.hardware.clone();
    if let Some(LayerProfile { provenance: own, .. }) = &mut hardware.layer {
        *own = Provenance { undetermined: found.undetermined(), ..provenance };
    }
    hardware
}

/// The kernels of `variant`. What wasn't measured is taken from what was, and named in the provenance's `undetermined`.
fn profile(fit: &Fit, variant: &str, nominal: &Hardware, provenance: Provenance) -> KernelProfile {
    let mut undetermined = Vec::new();
    let phase = |op: Op, counts: Op, name: &str, rows: RowFormat, undetermined: &mut Vec<String>| {
        let column = |op: Op, racks: bool| fit.columns.get(&(variant.to_owned(), op, racks));
        let whole = |racks: bool, undetermined: &mut Vec<String>| {
            let table = format!("{name}.{}", if racks { "racks" } else { "one_rack" });
            let mut kernel = column(op, racks)?.kernel;
            unsure(&table, column(op, racks)?, undetermined);
            if let Some(counts) = column(counts, racks) {
                unsure(&table, counts, undetermined);
                kernel = Kernel {
                    counts_us: counts.kernel.counts_us,
                    counts_doubling_us: counts.kernel.counts_doubling_us,
                    counts_token_ns: counts.kernel.counts_token_ns,
                    ..kernel
                };
            }
            Some(kernel)
        };
        let (one, several) = (whole(false, undetermined), whole(true, undetermined));
        let mut left_at = |table: &str, what: &str| undetermined.push(format!("{name}.{table}: {what}"));
        let (one_rack, mut racks) = match (one, several) {
            (Some(one), Some(several)) => (one, several),
            (Some(one), None) => {
                left_at("racks", "all of it; not measured: as in one rack, the scale-out port nominal");
                (one, one)
            }
            (None, Some(several)) => {
                left_at("one_rack", "all of it; not measured: as over several, the scale-up port nominal");
                (several, several)
            }
            (None, None) => {
                left_at("one_rack", "all of it; not measured: nominal ports, no start-up");
                left_at("racks", "all of it; not measured: nominal ports, no start-up");
                (free_kernel(nominal), free_kernel(nominal))
            }
        };
        let fitted = |parameter: Parameter| {
            let column = column(op, true);
            column.is_some_and(|column| column.parameters.iter().any(|one| one.key == parameter.key()))
        };
        if several.is_some() && !fitted(Parameter::ScaleUp) {
            racks.scale_up_bytes_per_s = one_rack.scale_up_bytes_per_s;
            left_at("racks", "scale_up_bytes_per_s; another port decides: as in one rack");
        }
        if several.is_some() && !fitted(Parameter::ScaleOut) {
            left_at("racks", "scale_out_bytes_per_s; another port decides: nominal");
        }
        let rows = column(op, false).or_else(|| column(op, true)).map_or(rows, |column| column.rows);
        PhaseKernels { rows, one_rack, racks }
    };
    let dispatch =
        phase(Op::Dispatch, Op::DispatchCounts, "dispatch", RowFormat::Fp8Blocks, &mut undetermined);
    let combine = phase(Op::Combine, Op::CombineCounts, "combine", RowFormat::Bf16, &mut undetermined);
    let sms = fit.columns.iter().filter(|((of, _, _), _)| of == variant).find_map(|(_, column)| column.sms);
    KernelProfile { sms, dispatch, combine, provenance: Provenance { undetermined, ..provenance } }
}

fn unsure(table: &str, column: &ColumnFit, undetermined: &mut Vec<String>) {
    for one in column.parameters.iter().filter(|one| !one.is_determined()) {
        let key = one.key;
        undetermined.push(if one.deviation.is_finite() {
            format!("{table}: {key}; within {:.0}% of it", one.deviation * 100.0)
        } else {
            format!("{table}: {key}; nothing measured depends on it")
        });
    }
}
