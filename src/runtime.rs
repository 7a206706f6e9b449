//! The threads that read from servers.
//!
//! A [`Cluster`](crate::Cluster) lives in whatever tokio runtime it is used in. Where that is there for it,
//! [`builder`] makes one whose threads leave the servers alone while they send: on Linux large results take a third of
//! the processor time that they take otherwise, if servers run on the same machine (`benches/README.md`).
//!
//! ```no_run
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = merganser::runtime::builder().build()?;
//! runtime.block_on(async {
//!     let cluster = merganser::Cluster::new(merganser::Topology::from_path("merganser.toml")?)?;
//!     cluster.query("SELECT * FROM orders").collect().await
//! })?;
//! # Ok(())
//! # }
//! ```

use std::thread;

use tokio::runtime::Builder;

/// Decoding takes most of the time of a worker; beyond this many the servers are the limit.
const MOST_WORKERS: usize = 8;

/// Of a runtime for clusters: a worker for each processor, at most eight, all of its threads as
/// [`schedule_as_batch`] has them. Whatever it sets may be set anew.
pub fn builder() -> Builder {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(processors.min(MOST_WORKERS))
        .thread_name("merganser")
        .on_thread_start(schedule_as_batch)
        .enable_all();
    builder
}

/// Has Linux treat this thread, and those that it starts, as threads that compute (sched(7), `SCHED_BATCH`):
/// data that comes interrupts no other program.
///
/// Servers send 8 KiB at a time; where each of these interrupts something, half of the time goes into that, and
/// if it is the server on the same machine, there will be little to read. The share of the processors stays the
/// same. Whoever has chosen a policy keeps it; where the system forbids it, and on other systems, which have no
/// such policy, nothing changes.
pub fn schedule_as_batch() {
    #[cfg(target_os = "linux")]
    linux::schedule_as_batch();
}

#[cfg(target_os = "linux")]
mod linux {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
    };

    pub(super) fn schedule_as_batch() {
        let usual = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        let is_usual = thread_schedule_policy().is_ok_and(|policy| policy == usual);
        let Ok(nice) = rustix::process::getpriority_process(None) else {
            return;
        };
        // The nice value is set with the policy, from a priority between 0 and 99, and is to stay what it is.
        let priorities = (0..=99_u8).filter_map(|value| ThreadPriorityValue::try_from(value).ok());
        let same = priorities
            .map(ThreadPriority::Crossplatform)
            .find(|priority| priority.to_posix(batch).is_ok_and(|it| it == nice));
        if let Some(priority) = same.filter(|_| is_usual) {
            // Where a container forbids it, rows only cost more.
            let _ = set_thread_priority_and_policy(thread_native_id(), priority, batch);
        }
    }
}

#[cfg(test)]
mod tests {
    /// Nice value and policy: the fields 19 and 41 of proc_pid_stat(5), behind the name in parentheses.
    #[cfg(target_os = "linux")]
    fn of_this_thread() -> (i32, i32) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields = stat.rsplit_once(')').unwrap().1;
        let field = |number: usize| fields.split_whitespace().nth(number - 3).unwrap();
        (field(19).parse().unwrap(), field(41).parse().unwrap())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn its_threads_interrupt_nobody() {
        const SCHED_BATCH: i32 = 3;
        let own = of_this_thread();
        let runtime = super::builder().build().unwrap();
        let worker = runtime.block_on(async { tokio::spawn(async { of_this_thread() }).await });
        let helper = runtime.block_on(async { tokio::task::spawn_blocking(of_this_thread).await });
        // As nice as before, and nobody else's thread is changed.
        for thread in [worker, helper] {
            assert_eq!(thread.unwrap(), (own.0, SCHED_BATCH));
        }
        assert_eq!(of_this_thread(), own);
    }

    #[test]
    fn what_it_sets_may_be_set_anew() {
        let runtime = super::builder().worker_threads(1).build().unwrap();
        assert_eq!(runtime.metrics().num_workers(), 1);
    }
}
