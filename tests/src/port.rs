//! Ports for programs that have to be told one.
//!
//! They are taken from below the range that systems hand out for outgoing connections, so that no connection of
//! another test can take one between its choice and its use; within a process none is given out twice, and processes
//! that run side by side start at different places.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

static GIVEN: AtomicU32 = AtomicU32::new(0);

/// An address of this machine on which nobody listens.
pub fn free_address() -> SocketAddr {
    first_free(1)
}

/// The first of two ports in a row on which nobody listens. Both are the caller's.
pub fn first_of_two_free() -> u16 {
    first_free(2).port()
}

fn first_free(in_a_row: u32) -> SocketAddr {
    for _ in 0..COUNT {
        let given = GIVEN.fetch_add(in_a_row, Ordering::Relaxed);
        let place = given.wrapping_add(std::process::id().wrapping_mul(311)) % COUNT;
        let address = |step| SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(FIRST + place + step).unwrap()));
        if (0..in_a_row).all(|step| TcpListener::bind(address(step)).is_ok()) {
            return address(0);
        }
    }
    panic!("no port from {FIRST} to {} is free", FIRST + COUNT - 1);
}
