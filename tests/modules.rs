//! No two modules beside each other need each other, directly or by way of others, whatever lies below them.
//!
//! Read off the text: `use` and paths that begin with `crate::` or `super::`. A name that a module passes on (`pub use`) counts
//! for the module that has it. A module and what is inside it are one: a child may use its parent's items, and the parent the child's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const CRATES: [&str; 11] = [
    "topology",
    "moe",
    "node",
    "blackboard",
    "serving",
    "lecture",
    "coordinator",
    "study",
    "view",
    "yard",
    ".",
];

/// A module as the names from the crate's root down to it.
type Module = Vec<String>;

/// The modules of a crate with their text, without comments and tests.
#[derive(Default)]
struct Crate {
    texts: BTreeMap<Module, String>,
    /// What a module passes on, by the name that it has there.
    passed_on: BTreeMap<Module, BTreeMap<String, Module>>,
}

impl Crate {
    fn read(root: &Path) -> Self {
        let mut read = Self::default();
        read.add(root, &[]);
        for (module, text) in &read.texts {
            for at in places(text, "pub use ")
                .chain(places(text, "pub(crate) use "))
                .chain(places(text, "pub(super) use "))
            {
                for (path, name) in tree(&text[at..]).0 {
                    let passed_on = read.passed_on.entry(module.clone()).or_default();
                    passed_on.insert(name, absolute(module, &path));
                }
            }
        }
        read
    }

    fn add(&mut self, folder: &Path, module: &[String]) {
        for entry in fs::read_dir(folder).expect("a folder of the crate") {
            let path = entry.expect("an entry").path();
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let inner = [module, std::slice::from_ref(&stem)].concat();
            if path.is_dir() {
                self.add(&path, &inner);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !stem.ends_with("tests")
                && stem != "testing"
            {
                let own =
                    if ["mod", "lib", "main"].contains(&stem.as_str()) { module.to_vec() } else { inner };
                self.texts.insert(own, code(&fs::read_to_string(&path).expect("text")));
            }
        }
    }

    /// The module that a path leads to; what is passed on is followed to where it is.
    fn home(&self, path: &[String], depth: usize) -> Module {
        for (at, name) in path.iter().enumerate() {
            if self.texts.contains_key(&path[..=at]) {
                continue;
            }
            let further =
                self.passed_on.get(&path[..at]).and_then(|names| names.get(name)).filter(|_| depth < 8);
            return match further {
                Some(further) => self.home(&[further, &path[at + 1..]].concat(), depth + 1),
                None => path[..at].to_vec(),
            };
        }
        path.to_vec()
    }

    /// Which module needs which beside it: each with all that is inside, and where that is seen.
    fn needs(&self) -> BTreeMap<Module, BTreeMap<Module, String>> {
        let mut needs: BTreeMap<Module, BTreeMap<Module, String>> = BTreeMap::new();
        for (module, text) in &self.texts {
            for at in places(text, "crate::").chain(places(text, "super::")) {
                if passes_on(text, at) {
                    continue;
                }
                let word = if text[..at].ends_with("crate::") { "crate" } else { "super" };
                for (path, _) in tree(&text[at..]).0 {
                    let path = [&[word.to_owned()], path.as_slice()].concat();
                    let home = self.home(&absolute(module, &path), 0);
                    let same = module.iter().zip(&home).take_while(|(one, other)| one == other).count();
                    if same < module.len() && same < home.len() {
                        let (from, to) = (module[..=same].to_vec(), home[..=same].to_vec());
                        let seen = format!("{} uses {}", module.join("::"), home.join("::"));
                        needs.entry(from).or_default().entry(to).or_insert(seen);
                    }
                }
            }
        }
        needs
    }
}

/// A path of a module from the crate's root.
fn absolute(module: &[String], path: &[String]) -> Module {
    let mut from = module.to_vec();
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        match first.as_str() {
            "crate" => from.clear(),
            "super" => drop(from.pop()),
            "self" => {}
            _ => break,
        }
        rest = after;
    }
    [from.as_slice(), rest].concat()
}

/// Text without comments, and without what is for tests alone.
fn code(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
        } else if lines.next().is_some_and(|line| line.starts_with("mod ") && line.ends_with('{')) {
            break;
        }
    }
    kept
}

/// The ends of `word` wherever it begins a path or a statement.
fn places<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let begins = |at: &usize| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != ':')
    };
    text.match_indices(word).map(|(at, _)| at).filter(begins).map(move |at| at + word.len())
}

/// Whether the path that begins before `at` is one of a `pub use`.
fn passes_on(text: &str, at: usize) -> bool {
    let statement = text[..at].rsplit([';', '}']).next().unwrap_or_default();
    statement.trim_start().starts_with("pub") && statement.contains(" use ")
}

/// The paths of a tree such as `a::{b, c::d as e}`, each with the name that it has afterwards; and what comes behind it.
fn tree(text: &str) -> (Vec<(Vec<String>, String)>, &str) {
    let text = text.trim_start();
    if let Some(mut inner) = text.strip_prefix('{') {
        let mut paths = Vec::new();
        loop {
            inner = inner.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(after) = inner.strip_prefix('}') {
                return (paths, after);
            }
            let (some, after) = tree(inner);
            if after.len() == inner.len() {
                return (paths, after);
            }
            paths.extend(some);
            inner = after;
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    if word.is_empty() {
        return (Vec::new(), text);
    }
    if let Some(after) = after.strip_prefix("::") {
        let (paths, rest) = tree(after);
        let under = |(path, name)| ([vec![word.to_owned()], path].concat(), name);
        return (paths.into_iter().map(under).collect(), rest);
    }
    let (name, after) = match after.trim_start().strip_prefix("as ") {
        Some(renamed) => {
            let end = renamed.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(renamed.len());
            renamed.split_at(end)
        }
        None => (word, after),
    };
    (vec![(vec![word.to_owned()], name.to_owned())], after)
}

#[test]
fn no_modules_need_each_other() {
    let mut found = Vec::new();
    for name in CRATES {
        let needs = Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name).join("src")).needs();
        assert!(!needs.is_empty() || name == "view", "{name}: no path was understood");
        for (from, to, seen) in
            needs.iter().flat_map(|(from, all)| all.iter().map(move |(to, seen)| (from, to, seen)))
        {
            let mut reached: BTreeSet<&Module> = BTreeSet::from([to]);
            let mut next = vec![to];
            while let Some(module) = next.pop() {
                next.extend(
                    needs.get(module).into_iter().flat_map(BTreeMap::keys).filter(|to| reached.insert(to)),
                );
            }
            if reached.contains(from) {
                found.push(format!("{name}: {} and {} ({seen})", from.join("::"), to.join("::")));
            }
        }
    }
    assert!(found.is_empty(), "modules that need each other:\n{}", found.join("\n"));
}
