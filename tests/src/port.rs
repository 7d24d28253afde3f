//! Free ports for programs that need a fixed one.
//!
//! They are below the ephemeral range, so that no outgoing connection of another test can use one before the program
//! binds it. A process never returns the same port twice, and concurrent processes start at different ports.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A free loopback address.
pub fn free_address() -> SocketAddr {
    first_free(1)
}

/// The first of two consecutive free ports, both for the caller.
pub fn first_of_two_free() -> u16 {
    first_free(2).port()
}

fn first_free(consecutive: u32) -> SocketAddr {
    for _ in 0..COUNT {
        let next = NEXT.fetch_add(consecutive, Ordering::Relaxed);
        let offset = next.wrapping_add(std::process::id().wrapping_mul(311)) % COUNT;
        let address = |step| SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(FIRST + offset + step).unwrap()));
        if (0..consecutive).all(|step| TcpListener::bind(address(step)).is_ok()) {
            return address(0);
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT - 1);
}
