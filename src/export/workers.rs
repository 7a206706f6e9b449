//! Threads that encode: as many as there are processors, shared by all files of an export.

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A piece of work; what fails in it is its own to tell.
type Job = Box<dyn FnOnce() + Send>;

/// A queue of jobs, and the threads that take them in order. They start with the first job; dropping
/// the last handle drops what nobody has begun, and lets them end.
pub(super) struct Workers {
    threads: usize,
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    started: usize,
    idle: usize,
    closed: bool,
}

impl Workers {
    /// As many as this process may use processors at the same time.
    pub(super) fn for_this_machine() -> Self {
        Self::new(thread::available_parallelism().map_or(1, NonZero::get))
    }

    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            queue: Arc::default(),
        }
    }

    /// Has one of the threads do this.
    ///
    /// # Errors
    /// When the system gives us no thread at all.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut jobs = self.queue.lock();
        jobs.waiting.push_back(Box::new(job));
        if jobs.idle < jobs.waiting.len() && jobs.started < self.threads {
            let queue = Arc::clone(&self.queue);
            let thread = thread::Builder::new().name("merganser-encode".to_owned());
            match thread.spawn(move || queue.serve()) {
                Ok(_) => jobs.started += 1,
                // The others do it.
                Err(_) if jobs.started > 0 => {}
                Err(error) => return Err(error),
            }
        }
        drop(jobs);
        self.queue.changed.notify_one();
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut jobs = self.queue.lock();
        jobs.closed = true;
        let given_up = std::mem::take(&mut jobs.waiting);
        drop(jobs);
        self.queue.changed.notify_all();
        drop(given_up);
    }
}

impl Queue {
    fn serve(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    /// Waits for a job; `None` once there will be none.
    fn next(&self) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            if jobs.closed {
                return None;
            }
            jobs.idle += 1;
            jobs = self
                .changed
                .wait(jobs)
                .unwrap_or_else(PoisonError::into_inner);
            jobs.idle -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn jobs_run_at_the_same_time_and_no_more_threads_than_allowed() {
        let workers = Workers::new(2);
        // Each waits for the other.
        let (left, right) = (mpsc::channel(), mpsc::channel());
        let (ready, done) = mpsc::channel();
        for (send, receive) in [(left.0, right.1), (right.0, left.1)] {
            let ready = ready.clone();
            let meet = move || {
                send.send(()).unwrap();
                receive.recv().unwrap();
                ready.send(()).unwrap();
            };
            workers.run(meet).unwrap();
        }
        for _ in 0..2 {
            done.recv().unwrap();
        }
        for _ in 0..100 {
            let ready = ready.clone();
            workers.run(move || ready.send(()).unwrap()).unwrap();
        }
        for _ in 0..100 {
            done.recv().unwrap();
        }
        assert_eq!(workers.queue.lock().started, 2);
    }

    #[test]
    fn what_nobody_has_begun_is_dropped_with_the_workers() {
        let workers = Workers::new(1);
        let (go, wait) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        workers
            .run(move || {
                begun.send(()).unwrap();
                let _ = wait.recv();
            })
            .unwrap();
        has_begun.recv().unwrap();
        let held = Arc::new(());
        let never = Arc::clone(&held);
        workers.run(move || drop(never)).unwrap();
        drop(workers);
        assert_eq!(Arc::strong_count(&held), 1);
        drop(go);
    }
}
