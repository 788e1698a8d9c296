//! A slow wire between two network interfaces, for tests: `warren-wire PORT UPLINK RULE…`.
//!
//! Carries each frame from one interface to the other, both ways. A rule `MAC,DELAY,RATE,LOSS` is for frames from PORT to
//! this hardware address and back: DELAY in microseconds each way, RATE in bit/s each way (0: no limit), LOSS in parts per
//! million. Frames of other peers pass at once. Ends with the interfaces, or by a signal; what is on its way then is lost.
//!
//! - `lane`    when a frame arrives, if it does
//! - `socket`  whole frames from and to an interface

mod lane;
mod socket;

use lane::{Lane, Rule};
use socket::Socket;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: warren-wire PORT UPLINK MAC,DELAY_US,RATE_BITS,LOSS_PPM…";

/// Of a frame's destination and source.
const ADDRESS: usize = 6;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [port, uplink, rules @ ..] = args.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Some(rules) = rules.iter().map(|text| Rule::parse(text)).collect::<Option<Vec<_>>>() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match carry(port, uplink, &rules) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warren-wire: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry(port: &str, uplink: &str, rules: &[Rule]) -> io::Result<()> {
    let sockets = [Socket::open(port)?, Socket::open(uplink)?];
    println!("ready");
    let mut random = lane::Random::new(std::process::id());
    // Of each rule: from PORT, to PORT.
    let mut lanes: Vec<[Lane; 2]> = rules.iter().map(|rule| [Lane::new(rule), Lane::new(rule)]).collect();
    // The earliest first, and of one moment in the order in which they came.
    let mut on_the_way: BinaryHeap<Reverse<(Instant, u64, usize, Vec<u8>)>> = BinaryHeap::new();
    let mut count = 0u64;
    loop {
        let next = on_the_way.peek().map(|Reverse((at, ..))| *at);
        socket::wait(&sockets, next)?;
        for from in 0..2 {
            // Both ways in turns, so that neither waits for a flood of the other.
            for _ in 0..64 {
                let Some(frame) = sockets[from].receive()? else { break };
                let to = 1 - from;
                let bytes = socket::ethernet(&frame);
                let Some(peer) = bytes.get(if from == 0 { 0..ADDRESS } else { ADDRESS..2 * ADDRESS }) else { continue };
                let Some(n) = rules.iter().position(|rule| rule.peer == peer) else {
                    sockets[to].send(&frame)?;
                    continue;
                };
                if let Some(at) = lanes[n][from].accept(Instant::now(), bytes.len(), &mut random) {
                    count += 1;
                    on_the_way.push(Reverse((at, count, to, frame)));
                }
            }
        }
        let now = Instant::now();
        while on_the_way.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, _, to, frame))) = on_the_way.pop() else { break };
            sockets[to].send(&frame)?;
        }
    }
}
