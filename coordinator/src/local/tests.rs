//! Whole small clusters of tasks, and processes that misbehave.

use super::*;
use crate::run::run_steps;
use crate::sim::SimRunner;
use crate::testing::request;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use tempfile::TempDir;

fn config(workers: WorkerKind, racks: &[u32]) -> LocalConfig {
    let names = rack_names(&Cluster::new(racks).unwrap());
    LocalConfig { names, workers, transport: TransportOptions::default(), limits: Limits::default() }
}

/// A worker that is a shell script.
fn script(body: &str) -> (TempDir, WorkerKind) {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("worker");
    let mut file =
        std::fs::File::options().write(true).create(true).truncate(true).mode(0o755).open(&program).unwrap();
    write!(file, "#!/bin/sh\n{body}\n").unwrap();
    drop(file);
    (directory, WorkerKind::Processes { program })
}

#[test]
fn ranks_are_named_by_rack_and_index() {
    assert_eq!(rack_names(&Cluster::new(&[2, 1]).unwrap()), ["rack0-0", "rack0-1", "rack1-0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_over_quic_agree_with_the_simulator_and_are_regrouped_at_will() {
    let mut cluster = LocalCluster::start(config(WorkerKind::Tasks, &[2, 2])).await.unwrap();
    for racks in [&[2, 2][..], &[4], &[1, 2, 1], &[3]] {
        let request = request(racks);
        let real = run_steps(&mut cluster, &request, 2).await.unwrap();
        let simulated = SimRunner::run_blocking(&request, 2).unwrap();
        assert_eq!(real.len(), 2);
        for (real, simulated) in real.iter().zip(&simulated) {
            assert_eq!((real.step, real.answered), (simulated.step, simulated.answered));
            assert_eq!(real.digests, simulated.digests);
            for ((stop, real), (same, simulated)) in real.phases.iter().zip(&simulated.phases) {
                assert_eq!(stop, same);
                for (real, simulated) in real.iter().zip(simulated) {
                    assert_eq!(real.sent_bytes, simulated.sent_bytes);
                }
            }
        }
    }
    assert_eq!(cluster.handle().num_nodes(), 4);
    let too_large = request(&[5]);
    assert!(matches!(
        run_steps(&mut cluster, &too_large, 1).await,
        Err(RunError::TooFewNodes { there: 4, needed: 5 })
    ));
    let missing = timeout(Duration::from_millis(300), cluster.handle().open(&too_large)).await;
    assert!(missing.is_err(), "a young cluster is waited for");
    run_steps(&mut cluster, &request(&[4]), 1).await.expect("the run whose future was dropped is over");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_worker_that_dies_on_its_way_is_quoted() {
    let (_directory, workers) = script("echo first >&2; echo 'cannot open the timer' >&2; echo >&2; exit 3");
    let error = LocalCluster::start(config(workers, &[2])).await.unwrap_err().to_string();
    assert!(error.starts_with("worker rack0-"), "{error}");
    assert!(error.ends_with("ended: exit status: 3; its last line: cannot open the timer"), "{error}");
}

#[tokio::test]
async fn a_worker_that_never_registers_is_given_up_and_killed() {
    let (directory, workers) = script("echo $$ >> \"$(dirname \"$0\")/pids\"; exec sleep 1000");
    let mut config = config(workers, &[2]);
    config.limits.forming_ns = 500_000_000;
    let error = LocalCluster::start(config).await.unwrap_err().to_string();
    assert!(error.starts_with("0 of 2 nodes have registered"), "{error}");
    let pids = std::fs::read_to_string(directory.path().join("pids")).unwrap();
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        assert!(ended(pid).await, "process {pid} is left over");
    }
}

/// Whether a process ends or becomes a zombie within a second.
async fn ended(pid: &str) -> bool {
    for _ in 0..100 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let workers = WorkerKind::Processes { program: "/nowhere/railyard".into() };
    let error = LocalCluster::start(config(workers, &[1])).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot start /nowhere/railyard for worker rack0-0"), "{error}");
}
