//! Runtime metrics of each Actix worker, collected at each scrape.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, IntGaugeVec, Opts, Result};
use tokio::runtime::{Handle, Id};

/// A worker's runtime and the number of apps on it. With two bound addresses each worker runs two.
#[derive(Debug)]
struct Worker {
    runtime: Handle,
    apps: usize,
}

/// The running workers. A worker's label is its index here; indices are reused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runtimes(Arc<Mutex<Vec<Option<Worker>>>>);

impl Runtimes {
    /// Adds this thread's runtime until the guard is dropped; `None` outside a runtime.
    pub(crate) fn enter(&self) -> Option<RuntimeGuard> {
        let runtime = Handle::try_current().ok()?;
        let id = runtime.id();
        let mut workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = workers.iter_mut().flatten().find(|worker| worker.runtime.id() == id) {
            worker.apps += 1;
        } else {
            let worker = Some(Worker { runtime, apps: 1 });
            match workers.iter_mut().find(|slot| slot.is_none()) {
                Some(slot) => *slot = worker,
                None => workers.push(worker),
            }
        }
        Some(RuntimeGuard { runtimes: self.clone(), id })
    }
}

/// Removes the runtime when its last app ends.
#[derive(Debug)]
pub(crate) struct RuntimeGuard {
    runtimes: Runtimes,
    id: Id,
}

impl Drop for RuntimeGuard {
    fn drop(&mut self) {
        let mut workers = self.runtimes.0.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in workers.iter_mut() {
            if let Some(worker) = slot.as_mut().filter(|worker| worker.runtime.id() == self.id) {
                worker.apps -= 1;
                if worker.apps == 0 {
                    *slot = None;
                }
            }
        }
    }
}

/// Collector of the runtime metrics.
#[derive(Debug)]
pub(crate) struct RuntimeCollector {
    runtimes: Runtimes,
    alive_tasks: IntGaugeVec,
    queue_depth: IntGaugeVec,
    busy_seconds: CounterVec,
}

impl RuntimeCollector {
    pub(crate) fn new(service: &str, runtimes: Runtimes) -> Result<Self> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_label("service", service);
        let alive = "Tasks alive on a worker's runtime, without Actix's thread-local tasks";
        let queue = "Tasks waiting in a worker's global queue";
        let busy = "Time a worker was busy, in seconds";
        Ok(Self {
            runtimes,
            alive_tasks: IntGaugeVec::new(opts("runtime_alive_tasks", alive), &["worker"])?,
            queue_depth: IntGaugeVec::new(opts("runtime_global_queue_depth", queue), &["worker"])?,
            busy_seconds: CounterVec::new(opts("runtime_busy_seconds_total", busy), &["worker"])?,
        })
    }
}

impl Collector for RuntimeCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.alive_tasks.desc(), self.queue_depth.desc(), self.busy_seconds.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let workers = self.runtimes.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.alive_tasks.reset();
        self.queue_depth.reset();
        self.busy_seconds.reset();
        for (index, worker) in workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            let label = index.to_string();
            let metrics = worker.runtime.metrics();
            let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            self.alive_tasks.with_label_values(&[&label]).set(gauge(metrics.num_alive_tasks()));
            self.queue_depth.with_label_values(&[&label]).set(gauge(metrics.global_queue_depth()));
            #[cfg(target_has_atomic = "64")]
            let busy = (0..metrics.num_workers()).map(|n| metrics.worker_total_busy_duration(n).as_secs_f64()).sum();
            #[cfg(not(target_has_atomic = "64"))]
            let busy = 0.0;
            self.busy_seconds.with_label_values(&[&label]).inc_by(busy);
        }
        [self.alive_tasks.collect(), self.queue_depth.collect(), self.busy_seconds.collect()].concat()
    }
}
