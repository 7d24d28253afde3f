//! Three OpenSearch nodes under load: one is killed and restarted, then each is restarted in turn. `make cluster`.

#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use observability_tests::accounting::Watch;
use observability_tests::node::Node;
use observability_tests::numbers::{Load, Tally};
use observability_tests::program::Start;
use observability_tests::scrape::Scrape;
use observability_tests::{http, port, wait};

const NODES: usize = 3;
const LINES_PER_SECOND: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(300);

/// Configures the nodes of a cluster.
fn cluster() -> Vec<Node> {
    let nodes: Vec<_> = (0..NODES).map(|_| Node::new("opensearch")).collect();
    let transports: Vec<_> = (0..NODES).map(|_| port::free_address()).collect();
    let hosts = transports.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ");
    for (n, (node, transport)) in nodes.iter().zip(&transports).enumerate() {
        let settings = format!(
            "node.name: node-{n}\ntransport.port: {}\ndiscovery.seed_hosts: [{hosts}]\n\
             cluster.initial_cluster_manager_nodes: [node-0, node-1, node-2]\n",
            transport.port()
        );
        fs::write(node.extra("settings.yml"), settings).unwrap();
    }
    nodes
}

/// Waits until this node sees all nodes and every shard is allocated.
fn wait_until_green(node: &mut Node) {
    let address = node.address();
    node.wait_until("the cluster is green", || {
        let path = format!("/_cluster/health?wait_for_nodes={NODES}&wait_for_status=green&timeout=2s");
        http::try_send(address, "GET", &path, &[], b"").ok().filter(|answer| answer.status == 200).map(drop)
    });
}

/// Whether the shipper sends to a host.
fn is_up(admin: SocketAddr, host: SocketAddr) -> bool {
    let host = host.to_string();
    let scrape = Scrape::of(admin);
    assert_eq!(scrape.all("shipper_host_up", &[("host", &host)]).count(), 1, "{host} is not a host");
    scrape.metric("shipper_host_up", &[("host", &host)]) == 1.0
}

#[test]
fn a_cluster_whose_nodes_are_killed_and_restarted_has_each_line_once() {
    let mut nodes = cluster();
    nodes.iter_mut().for_each(Node::begin);
    nodes.iter_mut().for_each(wait_until_green);
    let folder = tempfile::tempdir().unwrap();
    let (file, project) = (folder.path().join("app.log"), "cluster".to_owned());
    let mut log = OpenOptions::new().create(true).append(true).open(&file).unwrap();
    let to = nodes.iter().map(|node| node.engine().url).collect::<Vec<_>>().join(",");
    let admin = port::free_address();
    let mut shipper = Start::program("shipper")
        .args(["run", "--to", &to, "--retry-max-ms", "500", "--request-timeout-ms", "5000", "--state-dir"])
        .arg(folder.path().join("state"))
        .args(["--admin-listen", &admin.to_string(), "--file"])
        .arg(&file)
        .start_healthy(admin);
    let accounting = Watch::start(admin);
    let began = Instant::now();
    let load = Load::start(&project, LINES_PER_SECOND, move |lines| log.write_all(lines));
    // the hosts are known after the bootstrap
    wait::until("lines are stored", || {
        (Scrape::of(admin).metric("shipper_lines_stored_total", &[]) > 0.0).then_some(())
    });
    let mut ejections = 0;
    let mut interrupt = |nodes: &mut Vec<Node>, n: usize, end: fn(&mut Node)| {
        let host = nodes[n].address();
        end(&mut nodes[n]);
        wait::until("the shipper ejects the host", || (!is_up(admin, host)).then_some(()));
        nodes[n].begin();
        wait_until_green(&mut nodes[n]);
        wait::until("the shipper restores the host", || is_up(admin, host).then_some(()));
        ejections += 1;
    };
    interrupt(&mut nodes, 1, Node::kill);
    for n in 0..NODES {
        interrupt(&mut nodes, n, Node::stop);
    }
    let lines = load.stop();
    wait::until_within(PATIENCE, "all lines are stored", || {
        let scrape = Scrape::of(admin);
        let read = scrape.metric("shipper_lines_read_total", &[]) >= lines as f64;
        (read && scrape.metric("shipper_lines_pending", &[]) == 0.0).then_some(())
    });
    accounting.stop();
    assert_eq!(shipper.stop(), 0, "{}", shipper.stderr());
    verify(&to, &folder.path().join("state"));
    Tally::of(&nodes[0].engine(), &project).assert_each_once(lines);
    eprintln!(
        "cluster: {lines} lines each once in {:.0} s, {ejections} hosts ejected and restored",
        began.elapsed().as_secs_f64()
    );
    nodes.iter_mut().for_each(Node::stop);
}

/// Asserts with `shipper verify` that the store has all lines of the state directory.
#[track_caller]
fn verify(to: &str, state: &Path) {
    let mut verify = Start::program("shipper").args(["verify", "--to", to, "--state-dir"]).arg(state).start();
    assert_eq!(verify.exit_code(), 0, "{} {}", verify.stdout(), verify.stderr());
}
