//! How the operating system schedules the program.

/// Has Linux treat this thread, and those that it starts, as threads that compute (sched(7), `SCHED_BATCH`):
/// data that comes interrupts no other program. Servers send 8 KiB at a time; where each of these interrupts
/// something, half of the time goes into that, and if it is the server on the same machine, there will be
/// little to read. The share of the processors stays the same. Whoever has chosen a policy keeps it.
#[cfg(target_os = "linux")]
pub(crate) fn compute() {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
    };

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

/// Other systems have no such policy.
#[cfg(not(target_os = "linux"))]
pub(crate) fn compute() {}
