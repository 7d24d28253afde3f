//! Options of links and of what is shown next to the lines.

use std::path::PathBuf;

use clap::Args;
use store::target::parse_address;
use url::Url;

/// Options of links, and of a shipper on the same machine.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Links")]
pub struct LinkOptions {
    /// Public URL of this service, for links in downloaded pages [default: the request's Host, if it is an IP address,
    /// localhost or in --allowed-hosts]
    #[arg(long, env, value_name = "URL", value_parser = parse_address)]
    pub public_url: Option<Url>,
    /// URL of Kibana, for links to a request's lines
    #[arg(long, env, value_name = "URL", value_parser = parse_address)]
    pub kibana_url: Option<Url>,
    /// URL of Grafana, for links to the dashboard at a request's time
    #[arg(long, env, value_name = "URL", value_parser = parse_address)]
    pub grafana_url: Option<Url>,
    /// State directory of a shipper on this machine, to show dead letters of a request
    #[arg(long, env, value_name = "DIR")]
    pub shipper_state_dir: Option<PathBuf>,
}
