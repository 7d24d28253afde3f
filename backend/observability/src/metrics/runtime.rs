//! How busy each Actix worker's runtime is, read when someone scrapes.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, IntGaugeVec, Opts, Result};
use tokio::runtime::{Handle, Id};

/// A worker's runtime and how many apps run on it: with two addresses bound, each worker has two.
#[derive(Debug)]
struct Worker {
    runtime: Handle,
    apps: usize,
}

/// The runtimes now at work; a worker's label is its place here, and a place is used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runtimes(Arc<Mutex<Vec<Option<Worker>>>>);

impl Runtimes {
    /// Lists this thread's runtime until the guard is dropped; None outside a runtime.
    pub(crate) fn enter(&self) -> Option<RuntimeGuard> {
        let runtime = Handle::try_current().ok()?;
        let id = runtime.id();
        let mut workers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(worker) = workers.iter_mut().flatten().find(|worker| worker.runtime.id() == id) {
            worker.apps += 1;
        } else {
            let worker = Some(Worker { runtime, apps: 1 });
            match workers.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = worker,
                None => workers.push(worker),
            }
        }
        Some(RuntimeGuard { runtimes: self.clone(), id })
    }
}

/// Takes the runtime off the list when its last app ends.
#[derive(Debug)]
pub(crate) struct RuntimeGuard {
    runtimes: Runtimes,
    id: Id,
}

impl Drop for RuntimeGuard {
    fn drop(&mut self) {
        let mut workers = self.runtimes.0.lock().unwrap_or_else(PoisonError::into_inner);
        for place in workers.iter_mut() {
            if let Some(worker) = place.as_mut().filter(|worker| worker.runtime.id() == self.id) {
                worker.apps -= 1;
                if worker.apps == 0 {
                    *place = None;
                }
            }
        }
    }
}

/// The runtimes' figures, for a registry.
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
        let alive = "Tasks alive on a worker's runtime; Actix's thread-local tasks are not among them";
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
        for (place, worker) in workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            let label = place.to_string();
            let figures = worker.runtime.metrics();
            let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            self.alive_tasks.with_label_values(&[&label]).set(gauge(figures.num_alive_tasks()));
            self.queue_depth.with_label_values(&[&label]).set(gauge(figures.global_queue_depth()));
            #[cfg(target_has_atomic = "64")]
            let busy = (0..figures.num_workers()).map(|n| figures.worker_total_busy_duration(n).as_secs_f64()).sum();
            #[cfg(not(target_has_atomic = "64"))]
            let busy = 0.0;
            self.busy_seconds.with_label_values(&[&label]).inc_by(busy);
        }
        [self.alive_tasks.collect(), self.queue_depth.collect(), self.busy_seconds.collect()].concat()
    }
}
