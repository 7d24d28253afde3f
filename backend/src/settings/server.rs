//! Options of the server.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use clap::builder::{BoolishValueParser, RangedU64ValueParser};

use super::seconds;

/// Options of the server.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerOptions {
    /// Address and port to listen on
    #[arg(long, env, value_name = "IP:PORT", default_value = "127.0.0.1:8000")]
    pub listen: SocketAddr,
    /// Worker threads, 1 to 64 [default: one per core]
    #[arg(
        long, env = "BACKEND_WORKERS", value_name = "N",
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=64)
    )]
    pub workers: Option<usize>,
    /// Maximum number of connections, 8 to 65536; fewer if the open file limit is too low
    #[arg(
        long, env = "BACKEND_CONNECTIONS", value_name = "N", default_value = "1024",
        value_parser = RangedU64ValueParser::<usize>::new().range(8..=65_536)
    )]
    pub connections: usize,
    /// Timeout for receiving a request's head, and again for its body, 1 to 3600 seconds
    #[arg(
        long = "request-timeout-s", env = "BACKEND_REQUEST_TIMEOUT_S", value_name = "N", default_value = "10",
        value_parser = seconds(1..=3_600)
    )]
    pub request_timeout: Duration,
    /// Disconnect a client that reads nothing of its response for this long, 1 to 3600 seconds
    #[arg(
        long = "stall-timeout-s", env = "BACKEND_STALL_TIMEOUT_S", value_name = "N", default_value = "60",
        value_parser = seconds(1..=3_600)
    )]
    pub stall_timeout: Duration,
    /// Maximum time for open requests to finish at shutdown, 0 to 3600 seconds
    #[arg(
        long = "shutdown-timeout-s", env = "BACKEND_SHUTDOWN_TIMEOUT_S", value_name = "N", default_value = "10",
        value_parser = seconds(0..=3_600)
    )]
    pub shutdown_timeout: Duration,
    /// Enable fault injection for drills, under /api/faults
    #[arg(
        long, env = "BACKEND_FAULTS", value_name = "BOOL", default_value = "false",
        value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
        default_missing_value = "true"
    )]
    pub faults: bool,
}
