//! What runs railyard on other people's clusters: manifests of the Kubernetes API's own types, a script of Slurm's options, and
//! arguments that the command takes.
//!
//! `k8s-openapi` is generated from the OpenAPI schema of Kubernetes (here that of 1.33); a key that a type doesn't have is an error.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodSpec, Service};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The documents of a manifest.
fn documents(name: &str) -> Vec<Value> {
    let parsed = serde_saphyr::from_multiple::<Value>(&read(name));
    parsed.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A document as the type that its kind names; no key may be unknown to it.
fn typed<T: DeserializeOwned>(document: &Value) -> T {
    let mut unknown = Vec::new();
    let text = document.to_string();
    let mut json = serde_json::Deserializer::from_str(&text);
    let parsed = serde_ignored::deserialize(&mut json, |key| unknown.push(key.to_string()));
    let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", name_of(document)));
    assert!(unknown.is_empty(), "{}: unknown keys {unknown:?}", name_of(document));
    parsed
}

fn name_of(document: &Value) -> String {
    format!("{} {}", document["kind"], document["metadata"]["name"])
}

/// Checks every document against its type and gives its pods.
fn pods(name: &str) -> Vec<(String, PodSpec)> {
    let mut pods = Vec::new();
    for document in documents(name) {
        let spec = match (document["apiVersion"].as_str(), document["kind"].as_str()) {
            (Some("v1"), Some("Service")) => {
                typed::<Service>(&document);
                continue;
            }
            (Some("v1"), Some("PersistentVolumeClaim")) => {
                typed::<PersistentVolumeClaim>(&document);
                continue;
            }
            (Some("apps/v1"), Some("Deployment")) => {
                typed::<Deployment>(&document).spec.map(|spec| spec.template)
            }
            (Some("apps/v1"), Some("StatefulSet")) => {
                typed::<StatefulSet>(&document).spec.map(|spec| spec.template)
            }
            (Some("batch/v1"), Some("Job")) => typed::<Job>(&document).spec.map(|spec| spec.template),
            other => panic!("{name}: no check for {other:?}"),
        };
        let pod = spec.and_then(|template| template.spec);
        pods.push((name_of(&document), pod.unwrap_or_else(|| panic!("{}: no pod", name_of(&document)))));
    }
    pods
}

#[test]
fn manifests_are_of_the_kubernetes_schema() {
    for name in ["deploy/kubernetes/sweep-job.yaml", "deploy/kubernetes/cluster.yaml"] {
        assert!(!pods(name).is_empty(), "{name}");
    }
}

#[test]
#[should_panic(expected = "unknown keys [\"spec.?.completion\"]")]
fn a_key_that_the_schema_does_not_have_is_found() {
    let mut document = documents("deploy/kubernetes/sweep-job.yaml").pop().expect("a job");
    document["spec"]["completion"] = 8.into();
    typed::<Job>(&document);
}

#[test]
#[should_panic(expected = "invalid type")]
fn a_value_of_the_wrong_type_is_found() {
    let mut document = documents("deploy/kubernetes/sweep-job.yaml").pop().expect("a job");
    document["spec"]["completions"] = "8".into();
    typed::<Job>(&document);
}

#[test]
fn pods_ask_for_no_privileges_and_mount_what_they_have() {
    for name in ["deploy/kubernetes/sweep-job.yaml", "deploy/kubernetes/cluster.yaml"] {
        for (what, pod) in pods(name) {
            let user = pod.security_context.expect("a user");
            assert_eq!((user.run_as_non_root, user.run_as_user), (Some(true), Some(65532)), "{what}");
            let volumes: BTreeSet<String> =
                pod.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect();
            for container in pod.containers.into_iter().chain(pod.init_containers.unwrap_or_default()) {
                let context = container.security_context.expect("a context");
                assert_eq!(context.read_only_root_filesystem, Some(true), "{what}");
                assert_eq!(context.allow_privilege_escalation, Some(false), "{what}");
                assert_eq!(
                    context.capabilities.and_then(|capabilities| capabilities.drop),
                    Some(vec!["ALL".to_owned()])
                );
                for mount in container.volume_mounts.unwrap_or_default() {
                    assert!(volumes.contains(&mount.name), "{what}: {} is no volume", mount.name);
                }
            }
        }
    }
}

#[test]
fn racks_are_stateful_sets_whose_pods_are_called_as_nodes_are() {
    let mut racks = 0;
    for document in documents("deploy/kubernetes/cluster.yaml") {
        if document["kind"] != "StatefulSet" {
            continue;
        }
        let rack = format!("rack{racks}");
        assert_eq!(document["metadata"]["name"], rack.as_str());
        let set = typed::<StatefulSet>(&document).spec.expect("a spec");
        assert_eq!((set.replicas, set.service_name.as_deref()), (Some(8), Some("nodes")));
        assert_eq!(set.selector.match_labels, set.template.metadata.expect("labels").labels, "{rack}");
        let pod = set.template.spec.expect("a pod");
        let affinity = pod.affinity.and_then(|affinity| affinity.node_affinity).expect("a rack");
        let terms = affinity
            .required_during_scheduling_ignored_during_execution
            .expect("required")
            .node_selector_terms;
        let rule = &terms[0].match_expressions.as_ref().expect("a rule")[0];
        assert_eq!(
            (rule.key.as_str(), rule.values.as_deref()),
            ("cloud.provider.com/topology-rack", Some(&[rack][..]))
        );
        let named = pod.containers[0].env.iter().flatten().find(|variable| variable.name == "RAILYARD_NODE");
        let source = named.and_then(|variable| variable.value_from.clone()).and_then(|from| from.field_ref);
        assert_eq!(source.expect("the pod's name").field_path, "metadata.name");
        racks += 1;
    }
    assert_eq!(racks, 2);
}

#[test]
fn an_indexed_job_tells_its_pods_how_many_they_are() {
    let document = documents("deploy/kubernetes/sweep-job.yaml").pop().expect("a job");
    let job = typed::<Job>(&document).spec.expect("a spec");
    assert_eq!((job.completion_mode.as_deref(), job.parallelism), (Some("Indexed"), job.completions));
    let container = &job.template.spec.expect("a pod").containers[0];
    let told = container.env.iter().flatten().find(|variable| variable.name == "JOB_COMPLETIONS");
    assert_eq!(
        told.and_then(|variable| variable.value.clone()),
        job.completions.map(|count| count.to_string())
    );
}

/// Arguments that are refused are refused before files are read or sockets opened, by clap, with its own words.
#[test]
fn the_command_takes_the_arguments_of_every_container() {
    for name in ["deploy/kubernetes/sweep-job.yaml", "deploy/kubernetes/cluster.yaml"] {
        for (what, pod) in pods(name) {
            for container in pod.containers.into_iter().chain(pod.init_containers.unwrap_or_default()) {
                let mut command = Command::new(env!("CARGO_BIN_EXE_railyard"));
                command.args(container.args.expect("arguments"));
                for variable in container.env.unwrap_or_default() {
                    command.env(variable.name, variable.value.unwrap_or_else(|| "rack0-0".to_owned()));
                }
                // Nothing is there, so that it ends; but not for its arguments.
                command.env("RAILYARD_CERTS", path("tests/no-such-directory"));
                let output = command.output().expect("the command starts");
                let error = String::from_utf8_lossy(&output.stderr);
                assert!(error.starts_with("railyard: "), "{what}: {error}");
            }
        }
    }
}

/// Options of sbatch (its manual page, Slurm 24.11) that scripts here may use.
const SBATCH_OPTIONS: [&str; 30] = [
    "account",
    "array",
    "begin",
    "chdir",
    "comment",
    "constraint",
    "cpus-per-task",
    "dependency",
    "error",
    "exclude",
    "exclusive",
    "gpus",
    "hint",
    "job-name",
    "kill-on-invalid-dep",
    "mail-type",
    "mail-user",
    "mem",
    "mem-per-cpu",
    "nice",
    "nodelist",
    "nodes",
    "ntasks",
    "ntasks-per-node",
    "open-mode",
    "output",
    "partition",
    "requeue",
    "signal",
    "time",
];

#[test]
fn slurm_scripts_have_options_of_sbatch_before_their_first_command() {
    // Parts are numbered from 1.
    options_of_sbatch("deploy/slurm-array.sbatch", "#SBATCH --array=1-");
    options_of_sbatch("deploy/slurm-cluster.sbatch", "#SBATCH --requeue");
}

fn options_of_sbatch(name: &str, needed: &str) {
    let text = read(name);
    assert!(text.starts_with("#!/usr/bin/env bash\n"));
    let first = text.lines().position(|line| !line.starts_with('#') && !line.is_empty()).expect("a command");
    let mut seen = BTreeSet::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("#SBATCH")) {
        assert!(at < first, "line {}: sbatch reads no option after a command", at + 1);
        let option = line.strip_prefix("#SBATCH --").unwrap_or_else(|| panic!("{line}"));
        let name = option.split(['=', ' ']).next().unwrap_or_default();
        assert!(SBATCH_OPTIONS.contains(&name), "{line}: no option of sbatch");
        assert!(seen.insert(name.to_owned()), "{line}: twice");
    }
    assert!(text.contains(needed));
    let status = Command::new("bash").arg("-n").arg(path(name)).status();
    assert!(status.expect("bash").success());
}

/// The script as a task of an array, with a stand-in for srun.
#[test]
fn the_slurm_script_runs_its_part() {
    let directory = tempfile::tempdir().expect("a directory");
    let experiment = directory.path().join("tiny.toml");
    let text =
        "[experiment]\nmodel = 'granite-1b'\nranks_per_rack = 2\ntokens = 2\n[sweep]\nthrottle = [1, 2, 4]";
    fs::write(&experiment, text).expect("written");
    let srun = directory.path().join("srun");
    fs::write(&srun, "#!/bin/sh\nexec \"$@\"\n").expect("written");
    let made = Command::new("chmod").arg("755").arg(&srun).status();
    assert!(made.expect("chmod").success());
    let paths = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap_or_default());
    let task = |task: &str| {
        let mut command = Command::new("bash");
        command.arg(path("deploy/slurm-array.sbatch")).arg(&experiment).arg(directory.path().join("out"));
        command.env("PATH", &paths).env("RAILYARD", env!("CARGO_BIN_EXE_railyard"));
        command
            .env("SLURM_ARRAY_TASK_ID", task)
            .env("SLURM_ARRAY_TASK_MAX", "2")
            .env("SLURM_CPUS_PER_TASK", "1");
        let output = command.output().expect("bash");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    task("1");
    task("2");
    let lines = |name: &str| {
        let text = fs::read_to_string(directory.path().join("out").join(name)).expect("a part");
        text.lines().count() - 1
    };
    assert_eq!((lines("tiny.1-of-2.jsonl"), lines("tiny.2-of-2.jsonl")), (2, 1));
}
