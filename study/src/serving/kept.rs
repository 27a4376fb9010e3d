//! What layers took that were simulated before: kept from point to point of an experiment, and in files from run to run.
//!
//! A file holds the layers of one deployment under the hash of all that they depend on, this program included: nothing in it can be of
//! other inputs or of another version. It is read whole and replaced whole, so that runs side by side lose at most what the other has
//! added; one that is damaged counts as empty. Files together are bounded, the oldest go first.

use crate::cached::{Hashed, program, replace, text_of};
use serde::Serialize;
use serving::cost::{AskedLayer, LayerTimes};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use topology::Picos;
use twox_hash::{XxHash3_64, XxHash3_128};

/// First word of a file, with the version of its form.
const FORM: &str = "railyard-layers-1";
/// Most layers of a deployment.
const LAYERS_MAX: usize = 1 << 16;
/// Most bytes of a file, and of all files.
const FILE_BYTES_MAX: u64 = 16 << 20;
const FOLDER_BYTES_MAX: u64 = 64 << 20;

/// A layer of a deployment: its index, its step, the hash of its ranks' tokens.
type Key = (u32, u32, u128);
type Layers = BTreeMap<Key, LayerTimes>;

/// What runs have simulated, by the hash of what they depend on.
#[derive(Debug, Default)]
pub struct KeptLayers {
    folder: Option<PathBuf>,
    known: Mutex<BTreeMap<u128, Layers>>,
}

impl KeptLayers {
    /// Those in files of `folder`, which is made when it is needed; without one they are kept as long as this is.
    #[must_use]
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder, known: Mutex::default() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<u128, Layers>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, deployment: u128) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{deployment:032x}")))
    }

    fn in_file(&self, deployment: u128) -> Layers {
        self.path(deployment).and_then(|path| read(&path, deployment)).unwrap_or_default()
    }
}

/// The layers of one deployment.
#[derive(Clone, Debug)]
pub struct OfDeployment {
    all: Arc<KeptLayers>,
    deployment: u128,
}

impl OfDeployment {
    /// Those that depend on `inputs` and on this program alone; `None` if the program can't be told from others.
    pub(super) fn new(all: &Arc<KeptLayers>, inputs: &impl Serialize) -> Option<Self> {
        let mut hash = Hashed(XxHash3_128::new());
        hash.0.write(&program()?.to_le_bytes());
        serde_json::to_writer(&mut hash, inputs).ok()?;
        let deployment = hash.0.finish_128();
        let read = all.in_file(deployment);
        all.known().entry(deployment).or_default().extend(read);
        Some(Self { all: Arc::clone(all), deployment })
    }

    /// What each of `asked` took, where that is known.
    pub(super) fn find(&self, asked: &[AskedLayer]) -> Vec<Option<LayerTimes>> {
        let known = self.all.known();
        let layers = known.get(&self.deployment);
        asked.iter().map(|asked| layers?.get(&key(asked)).copied()).collect()
    }

    /// Keeps what `asked` took.
    pub(super) fn add(&self, asked: &[AskedLayer], times: &[LayerTimes]) {
        let mut known = self.all.known();
        let layers = known.entry(self.deployment).or_default();
        for (asked, &times) in asked.iter().zip(times) {
            if layers.len() < LAYERS_MAX {
                layers.insert(key(asked), times);
            }
        }
    }

    /// Writes them to the deployment's file, with those that another run has written meanwhile.
    ///
    /// # Errors
    /// Why it can't be written.
    pub(super) fn save(&self) -> io::Result<()> {
        let (Some(path), Some(folder)) = (self.all.path(self.deployment), &self.all.folder) else {
            return Ok(());
        };
        let before = self.all.in_file(self.deployment);
        let mut layers = self.all.known().get(&self.deployment).cloned().unwrap_or_default();
        if layers.keys().all(|key| before.contains_key(key)) {
            return Ok(());
        }
        layers.extend(before.into_iter().take(LAYERS_MAX.saturating_sub(layers.len())));
        replace(&path, &written(self.deployment, &layers))?;
        make_room(folder)
    }
}

fn key(asked: &AskedLayer) -> Key {
    let mut hash = XxHash3_128::new();
    asked.tokens.ranks().iter().for_each(|tokens| hash.write(&tokens.to_le_bytes()));
    (asked.layer, asked.step, hash.finish_128())
}

/// A file: its form, whose layers they are and the hash of what follows, then a line a layer.
fn written(deployment: u128, layers: &Layers) -> String {
    let mut lines = String::new();
    for ((layer, step, tokens), LayerTimes { dispatch, experts, combine }) in layers {
        let times = [dispatch, experts, combine].map(|time| time.0.to_string()).join(" ");
        let _ = writeln!(lines, "{layer} {step} {tokens:032x} {times}");
    }
    let hash = XxHash3_64::oneshot(lines.as_bytes());
    format!("{FORM} {deployment:032x} {hash:016x}\n{lines}")
}

/// The layers of a deployment's file; `None` if there is none, or it is not as it was written.
fn read(path: &Path, deployment: u128) -> Option<Layers> {
    let text = text_of(path, FILE_BYTES_MAX)?;
    let (head, lines) = text.split_once('\n')?;
    let hash = head.strip_prefix(&format!("{FORM} {deployment:032x} "))?;
    (u64::from_str_radix(hash, 16).ok()? == XxHash3_64::oneshot(lines.as_bytes())).then_some(())?;
    lines.lines().map(layer_of).collect()
}

fn layer_of(line: &str) -> Option<(Key, LayerTimes)> {
    let mut words = line.split(' ');
    let key = (
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
        u128::from_str_radix(words.next()?, 16).ok()?,
    );
    let mut time = || words.next()?.parse().ok().map(Picos);
    let times = LayerTimes { dispatch: time()?, experts: time()?, combine: time()? };
    words.next().is_none().then_some((key, times))
}

/// Whether a file is one of these, by its name and its first word: nothing else is removed.
fn is_ours(path: &Path) -> bool {
    let named = |name: &str| name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    path.file_name().and_then(|name| name.to_str()).is_some_and(named)
        && text_of(path, FORM.len() as u64).is_some_and(|head| head == FORM)
}

/// Removes the files that were written longest ago, until the others are few enough.
fn make_room(folder: &Path) -> io::Result<()> {
    let mut files: Vec<(SystemTime, PathBuf, u64)> = fs::read_dir(folder)?
        .filter_map(|entry| {
            let (path, about) = entry.ok().and_then(|entry| Some((entry.path(), entry.metadata().ok()?)))?;
            is_ours(&path).then_some((about.modified().ok()?, path, about.len()))
        })
        .collect();
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
    for (_, path, of_file) in files {
        if bytes <= FOLDER_BYTES_MAX {
            break;
        }
        fs::remove_file(path)?;
        bytes -= of_file;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serving::cost::RankTokens;

    fn asked(layer: u32, tokens: u32) -> AskedLayer {
        AskedLayer { layer, step: 7, tokens: RankTokens::new(vec![tokens, 3]) }
    }

    fn took(picos: u64) -> LayerTimes {
        LayerTimes { dispatch: Picos(picos), experts: Picos(u64::MAX), combine: Picos(0) }
    }

    #[test]
    fn what_one_run_has_simulated_the_next_one_finds() {
        let folder = tempfile::tempdir().unwrap();
        let run = || Arc::new(KeptLayers::new(Some(folder.path().join("layers"))));
        let one = OfDeployment::new(&run(), &"this").unwrap();
        one.add(&[asked(3, 1), asked(4, 1)], &[took(1), took(2)]);
        // Another run of the same, side by side.
        let other = OfDeployment::new(&run(), &"this").unwrap();
        other.add(&[asked(3, 9)], &[took(3)]);
        one.save().unwrap();
        other.save().unwrap();
        let all = [asked(3, 1), asked(4, 1), asked(3, 9), asked(4, 9)];
        let known = [Some(took(1)), Some(took(2)), Some(took(3)), None];
        assert_eq!(OfDeployment::new(&run(), &"this").unwrap().find(&all), known);
        assert_eq!(OfDeployment::new(&run(), &"that").unwrap().find(&all), [None; 4]);
    }

    #[test]
    fn a_file_that_is_damaged_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let run = || Arc::new(KeptLayers::new(Some(folder.path().to_owned())));
        let one = OfDeployment::new(&run(), &"this").unwrap();
        one.add(&[asked(3, 1)], &[took(1)]);
        one.save().unwrap();
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let of_another = text.replace(&text[18..50], &"0".repeat(32));
        for damaged in ["", FORM, &text[..text.len() - 2], &text.replace(" 1 ", " 2 "), &of_another] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(OfDeployment::new(&run(), &"this").unwrap().find(&[asked(3, 1)]), [None]);
        }
        one.save().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "written anew");
        // What is no file is not waited for.
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        assert_eq!(OfDeployment::new(&run(), &"this").unwrap().find(&[asked(3, 1)]), [None]);
    }

    #[test]
    fn the_oldest_files_make_room_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let (old, older, last) = ("a".repeat(32), "b".repeat(32), "c".repeat(32));
        for (age, name) in [(30, &*old), (20, &older), (10, &last), (40, "weights")] {
            let path = folder.path().join(name);
            fs::write(&path, FORM).unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_len(FOLDER_BYTES_MAX / 2).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000 - age)).unwrap();
        }
        fs::write(folder.path().join("d".repeat(32)), "of somebody else").unwrap();
        make_room(folder.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [&older, &last, &"d".repeat(32), "weights"].map(std::ffi::OsString::from));
    }
}
