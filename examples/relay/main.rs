//! A network between hosts that have no other: passes UDP packets on, later than they came, and not all of them.
//!
//! ```text
//! relay --seed 7 --delay-us 200 --loss-ppm 1000 10.77.0.1:7001=10.77.1.2:7001 10.77.0.2:7001=10.77.2.2:7001
//! ```
//!
//! Each argument is a service of a host: where the relay listens for it, and where it really is. Services with one real address are one host;
//! hosts are numbered from 0 as they come. Whoever sends from the address of a host is that host; the service sees the relay, from a port for
//! each sender. Lines on stdin change the network: `cut HOST`, `heal HOST`, `delay MICROSECONDS`, `loss PPM`; it ends with stdin.

#![expect(clippy::print_stdout, reason = "whoever changes the network waits to be told")]

mod network;

use anyhow::{Context, Result, bail};
use clap::Parser;
use network::{Host, Network};
use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

/// Most senders that a service has had; further ones are not let through.
const SENDERS_MAX: usize = 256;
/// Packets that the network has not looked at yet.
const INPUTS_MAX: usize = 4_096;
const DATAGRAM_BYTES_MAX: usize = 65_536;

#[derive(Debug, Parser)]
struct Args {
    /// Of the losses
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Delay one way, microseconds
    #[arg(long, default_value_t = 0)]
    delay_us: u64,
    /// Packets lost of a million
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    loss_ppm: u32,
    /// Where a service is listened for, and where it is
    #[arg(required = true, value_name = "HERE=THERE")]
    services: Vec<Service>,
}

/// Where a service is listened for, and where it is.
#[derive(Clone, Copy, Debug)]
struct Service {
    here: SocketAddr,
    there: SocketAddr,
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (here, there) = text.split_once('=').ok_or("give HERE=THERE, two addresses with ports")?;
        let address = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
        Ok(Self { here: address(here)?, there: address(there)? })
    }
}

/// A packet that is to leave by a socket of the relay.
struct Outgoing {
    by: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

enum Input {
    Packet { between: (Host, Host), outgoing: Outgoing },
    Line(String),
    End,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut hosts: Vec<IpAddr> = Vec::new();
    for service in &args.services {
        if !hosts.contains(&service.there.ip()) {
            hosts.push(service.there.ip());
        }
    }
    let hosts = Arc::new(hosts);
    let (send, inputs) = mpsc::sync_channel(INPUTS_MAX);
    for service in args.services {
        let socket =
            UdpSocket::bind(service.here).with_context(|| format!("cannot listen on {}", service.here))?;
        let (hosts, send) = (Arc::clone(&hosts), send.clone());
        thread::spawn(move || listen(service, &Arc::new(socket), &hosts, &send));
    }
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(Input::Line(line)).is_err() {
                return;
            }
        }
        drop(send.send(Input::End));
    });
    println!("hosts: {hosts:?}");
    relay(&inputs, Network::new(args.seed, args.delay_us, args.loss_ppm), hosts.len())
}

/// Carries packets until stdin ends.
fn relay(inputs: &Receiver<Input>, mut network: Network<Outgoing>, num_hosts: usize) -> Result<()> {
    let begun = Instant::now();
    let now_us = || u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    loop {
        while let Some(Outgoing { by, to, bytes }) = network.arrived(now_us()) {
            // Nobody is there, or its buffer is full: lost, as packets are.
            let _ = by.send_to(&bytes, to);
        }
        let left = network
            .next_us()
            .map_or(Duration::from_secs(1), |due| Duration::from_micros(due.saturating_sub(now_us())));
        match inputs.recv_timeout(left) {
            Ok(Input::Packet { between, outgoing }) => drop(network.enter(now_us(), between, outgoing)),
            Ok(Input::Line(line)) => {
                change(&mut network, &line, num_hosts)?;
                println!("{line}: done");
            }
            Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn change<T>(network: &mut Network<T>, line: &str, num_hosts: usize) -> Result<()> {
    let (word, number) = line.split_once(' ').with_context(|| format!("`{line}`: a word and a number"))?;
    let number: u64 = number.parse().with_context(|| format!("`{line}`: not a number"))?;
    let host = || match usize::try_from(number) {
        Ok(host) if host < num_hosts => Ok(host),
        _ => bail!("`{line}`: there are {num_hosts} hosts, numbered from 0"),
    };
    match word {
        "cut" => network.cut(host()?),
        "heal" => network.heal(host()?),
        "delay" => network.delay_us = number,
        "loss" => network.loss_ppm = u32::try_from(number)?,
        _ => bail!("`{line}`: known are cut, heal, delay and loss"),
    }
    Ok(())
}

/// Takes packets for one service; each sender has a socket of its own, by which answers find their way back.
fn listen(service: Service, here: &Arc<UdpSocket>, hosts: &Arc<Vec<IpAddr>>, send: &SyncSender<Input>) {
    let number = |address: IpAddr| hosts.iter().position(|&host| host == address);
    let Some(host) = number(service.there.ip()) else { return };
    let mut senders: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    receive(here, |from, bytes| {
        let Some(sender) = number(from.ip()) else { return true };
        if !senders.contains_key(&from) {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
            let Some(socket) = socket.ok().filter(|_| senders.len() < SENDERS_MAX).map(Arc::new) else {
                return true;
            };
            senders.insert(from, Arc::clone(&socket));
            let (here, send) = (Arc::clone(here), send.clone());
            thread::spawn(move || {
                receive(&socket, |_, bytes| {
                    let outgoing = Outgoing { by: Arc::clone(&here), to: from, bytes };
                    send.send(Input::Packet { between: (host, sender), outgoing }).is_ok()
                });
            });
        }
        let by = Arc::clone(&senders[&from]);
        let outgoing = Outgoing { by, to: service.there, bytes };
        send.send(Input::Packet { between: (sender, host), outgoing }).is_ok()
    });
}

/// Hands each packet of `socket` to `take`, until that says false.
fn receive(socket: &UdpSocket, mut take: impl FnMut(SocketAddr, Vec<u8>) -> bool) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // An error is about a packet that was sent, which found nobody.
        if let Ok((length, from)) = socket.recv_from(&mut buffer)
            && !take(from, buffer[..length].to_vec())
        {
            return;
        }
    }
}
