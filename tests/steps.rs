//! Whole steps of a small model on worker processes over QUIC: the same bits as the simulator and the reference, in two stages.

use coordinator::local::{LocalCluster, LocalConfig, WorkerKind};
use coordinator::machine::Limits;
use coordinator::{RunRequest, Runner, SimRunner};
use moe::Model;
use moe::experts::ExpertKind;
use moe::routing::RoutingSpec;
use moe::stack::{Chunk, Stack, StepBatch};
use moe::work::CommonWeights;
use node::digest::token_digest;
use node::net::TransportOptions;
use node::program::{Program, StackProgram};
use node::setup::Setup;
use rustix::process::{Pid, Signal, kill_process};
use topology::{Cluster, Dtype, Hardware};

async fn start(nodes: u32) -> LocalCluster {
    let names = (0..nodes).map(|node| format!("node{node}")).collect();
    let workers = WorkerKind::Processes { program: env!("CARGO_BIN_EXE_railyard").into() };
    let config =
        LocalConfig { names, workers, transport: TransportOptions::default(), limits: Limits::default() };
    LocalCluster::start(config).await.unwrap()
}

fn request(racks: &[u32], stages: u32, hidden: u32, experts: ExpertKind) -> RunRequest {
    let cluster = Cluster::new(racks).unwrap();
    let hardware = Hardware::preset("lab").unwrap();
    let model = Model { hidden, ..Model::preset("lab-moe").unwrap() };
    let stack =
        Stack::new(model, Dtype::Fp8, Dtype::Bf16, (CommonWeights::Replicated, 1), stages, &cluster).unwrap();
    let program = Program::Stack(StackProgram::linear(stack, &cluster).unwrap());
    let routing = RoutingSpec::Gate;
    let setup = Setup { routing, seed: 3, experts, chunk_rows: 2, ..Setup::new(cluster, hardware, program) };
    RunRequest { expected_phase_ns: 50_000_000, ..RunRequest::new(setup) }
}

/// Prompts of four tokens in two chunks for two sequences a column, then two tokens each, and what it takes until all is answered.
fn batches(columns: u32, stages: u32) -> Vec<StepBatch> {
    let step = |context: u32, tokens: u32, sample: bool| {
        let mut batch = StepBatch::empty(columns);
        for sequence in 0..2 * columns {
            let chunk = Chunk { sequence, context, tokens, sample };
            batch.columns[(sequence % columns) as usize].chunks.push(chunk);
        }
        batch
    };
    let wait = || vec![StepBatch::empty(columns); stages as usize - 1];
    let mut all = vec![step(0, 3, false), step(3, 1, true)];
    all.extend(wait());
    all.push(step(4, 1, true));
    all.extend(wait());
    all.push(step(5, 1, true));
    all.extend(wait());
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_answer_what_the_simulator_and_the_reference_do() {
    let mut cluster = start(4).await;
    for (racks, stages, hidden, experts) in [
        (&[2, 2][..], 2, 256, ExpertKind::Modelled),
        (&[2, 2], 1, 64, ExpertKind::Gemm),
        (&[4], 2, 64, ExpertKind::Modelled),
    ] {
        let request = request(racks, stages, hidden, experts);
        let (mut sim, mut reference) = (SimRunner::default(), request.setup.reference().unwrap().unwrap());
        sim.open(&request).await.unwrap();
        let batches = batches(request.setup.program.stack().unwrap().columns(), stages);
        let expected: Vec<Vec<Vec<u64>>> = (0..)
            .zip(&batches)
            .map(|(number, batch)| {
                let answers = reference.step(number, batch);
                let digests = |tokens: &Vec<Vec<f32>>| tokens.iter().map(|one| token_digest(one)).collect();
                answers.iter().map(digests).collect()
            })
            .collect();
        cluster.open(&request).await.unwrap();
        for batch in &batches {
            let real = cluster.step(batch).await.unwrap_or_else(|error| panic!("{racks:?}: {error}"));
            let simulated = sim.step(batch).await.unwrap();
            assert_eq!(real.digests, simulated.digests, "{racks:?}, step {}", real.step);
            if let Some(answered) = real.answered {
                assert_eq!(real.digests, expected[answered as usize], "{racks:?}, step {}", real.step);
            }
        }
    }
    cluster.shutdown().await;
}

/// Whole models keep caches; in a pipeline there are batches on their way, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_comes_back_and_every_token_comes_out_once() {
    let mut cluster = start(4).await;
    for (racks, stages) in [(&[4][..], 1), (&[2, 2], 2)] {
        let request = request(racks, stages, 64, ExpertKind::Modelled);
        let mut sim = SimRunner::default();
        sim.open(&request).await.unwrap();
        cluster.open(&request).await.unwrap();
        for (number, batch) in
            batches(request.setup.program.stack().unwrap().columns(), stages).iter().enumerate()
        {
            if number % 2 == 1 {
                let victim = cluster.process_ids()[number % 4];
                kill_process(Pid::from_raw(i32::try_from(victim).unwrap()).unwrap(), Signal::KILL).unwrap();
            }
            let real = cluster.step(batch).await.unwrap_or_else(|error| panic!("{racks:?}: {error}"));
            let simulated = sim.step(batch).await.unwrap();
            assert_eq!((real.step, real.answered), (simulated.step, simulated.answered));
            assert_eq!(real.digests, simulated.digests, "{racks:?}, step {}", real.step);
        }
    }
    cluster.shutdown().await;
}
