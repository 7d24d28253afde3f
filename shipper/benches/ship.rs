//! How many lines a second of the shipper's CPU time carries from a file to a `_bulk` endpoint, with ids, checks,
//! checkpoints and answers handled, and how much memory it takes meanwhile.
//!
//! The endpoint is a stand-in: it reads a request, counts its documents and answers that each was created. It runs in
//! this process, so its time is not the shipper's. `SHIP_LINES=N` and `SHIP_RUNS=N` change how much is done.

use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// Length of a line with its newline, that of a typical record with its request's ids.
const LINE_BYTES: usize = 343;

fn main() -> anyhow::Result<()> {
    let number = |name: &str, default| std::env::var(name).map_or(Ok(default), |text| text.parse::<u64>());
    let (lines, runs) = (number("SHIP_LINES", 1_000_000)?, number("SHIP_RUNS", 3)?);
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("service.log");
    write_lines(&file, lines)?;
    let taken = Arc::new(AtomicU64::new(0));
    let address = start_sink(Arc::clone(&taken))?;
    let mut out = std::io::stdout().lock();
    for run in 1..=runs {
        taken.store(0, Ordering::Relaxed);
        let state = dir.path().join(format!("state-{run}"));
        let usage = ship(&file, &state, &format!("http://{address}"))?;
        let got = taken.load(Ordering::Relaxed);
        ensure!(got == lines, "the sink got {got} of {lines} lines");
        let per_second = lines as f64 / usage.cpu.as_secs_f64();
        writeln!(
            out,
            "ship: {lines} lines of {LINE_BYTES} bytes, {:.2} s CPU, {:.2} s wall, {per_second:.0} lines per CPU-second, \
             {} MiB at most",
            usage.cpu.as_secs_f64(),
            usage.wall.as_secs_f64(),
            usage.peak_kib / 1024,
        )?;
    }
    Ok(())
}

fn write_lines(path: &Path, lines: u64) -> anyhow::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for number in 0..lines {
        let mut line = format!(
            "{{\"timestamp\":\"2026-11-23T18:{:02}:{:02}.{:06}Z\",\"service\":\"backend\",\"level\":\"info\",\
             \"message\":\"request done\",\"request_id\":\"0d5ad0b4-6ec7-4c2c-9d5e-{number:012}\",\"project_id\":\"p-{}\",\
             \"target\":\"access\",\"method\":\"GET\",\"endpoint\":\"/api/projects/{{project_id}}/logs\",\"status\":200,\
             \"duration_ms\":1.234,\"outcome\":\"answered\",\"note\":\"",
            number / 60_000_000 % 60,
            number / 1_000_000 % 60,
            number % 1_000_000,
            number % 10,
        );
        let rest = LINE_BYTES.checked_sub(line.len() + 3).context("the line is longer than it should be")?;
        line.extend(std::iter::repeat_n('x', rest));
        line.push_str("\"}\n");
        file.write_all(line.as_bytes())?;
    }
    file.flush()?;
    Ok(())
}

/// What a run took.
struct Usage {
    cpu: Duration,
    wall: Duration,
    peak_kib: u64,
}

fn ship(file: &Path, state: &Path, to: &str) -> anyhow::Result<Usage> {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_shipper"))
        .args(["run", "--until-idle", "--bootstrap", "off", "--pipeline", "none", "--to", to, "--file"])
        .arg(file)
        .arg("--state-dir")
        .arg(state)
        // It leaves out on purpose what a start warns of.
        .env("SHIPPER_LOG_FILTER", "error")
        .stdin(Stdio::null())
        .spawn()?;
    let (mut peak_kib, mut cpu) = (0, Duration::ZERO);
    while !has_ended(&child)? {
        peak_kib = peak_kib.max(status_kib(&child, "VmHWM:").unwrap_or(0));
        std::thread::sleep(Duration::from_millis(10));
    }
    cpu += cpu_time(&child)?;
    let wall = started.elapsed();
    ensure!(child.wait()?.success(), "the shipper failed");
    Ok(Usage { cpu, wall, peak_kib })
}

/// The fields of `/proc/PID/stat` after the name; they stay until the process is waited for.
fn stat(child: &Child) -> anyhow::Result<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    let (_, fields) = stat.rsplit_once(')').context("not a stat line")?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

fn has_ended(child: &Child) -> anyhow::Result<bool> {
    Ok(stat(child)?[0] == "Z")
}

fn cpu_time(child: &Child) -> anyhow::Result<Duration> {
    let fields = stat(child)?;
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}

fn status_kib(child: &Child, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

fn start_sink(taken: Arc<AtomicU64>) -> anyhow::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let taken = Arc::clone(&taken);
            std::thread::spawn(move || serve(stream, &taken));
        }
    });
    Ok(address)
}

/// Answers the requests of one connection until it closes.
fn serve(stream: TcpStream, taken: &AtomicU64) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(256 * 1024, stream);
    let mut body = Vec::new();
    loop {
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<usize>()?);
            }
        }
        body.resize(length.context("a request without a length")?, 0);
        reader.read_exact(&mut body)?;
        let documents = memchr::memchr_iter(b'\n', &body).count() / 2;
        taken.fetch_add(documents as u64, Ordering::Relaxed);
        let items = vec!["{\"create\":{\"status\":201}}"; documents].join(",");
        let answer = format!("{{\"errors\":false,\"items\":[{items}]}}");
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-elastic-product: Elasticsearch\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        writer.write_all(head.as_bytes())?;
        writer.write_all(answer.as_bytes())?;
    }
}
