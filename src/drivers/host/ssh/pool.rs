//! Threads for SSH calls: libssh2 computes and blocks, and the runtime's own threads also serve files and name lookups.
use crate::model::{Fault, FaultKind};
use std::time::Duration;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Semaphore, oneshot},
};

/// Calls under way in this process, each on a thread of its own. 200 hosts are served as fast by 64 threads as by 200.
pub const THREADS: usize = 64;

static FREE: Semaphore = Semaphore::const_new(THREADS);

/// Runs `job` on its own thread, with a small runtime there for waiting on its socket. The job ends by its own limits, also when nobody waits for it any more.
pub async fn run<T, J>(whom: &str, wait: Duration, job: J) -> Result<T, Fault>
where
    T: Send + 'static,
    J: FnOnce(&Runtime) -> Result<T, Fault> + Send + 'static,
{
    let Ok(permit) = tokio::time::timeout(wait, FREE.acquire()).await else {
        return Err(Fault::new(FaultKind::Unreachable, format!("{whom}: all {THREADS} SSH threads were busy for {wait:?}")));
    };
    let permit = permit.expect("BUG: nobody closes the pool");
    let (send, answer) = oneshot::channel();
    let not_started = |e: std::io::Error| Fault::new(FaultKind::Unreachable, format!("{whom}: cannot start an SSH thread")).cause(e);
    // Made here, so that a lack of file descriptors is a fault and not a panic over there.
    let runtime = Builder::new_current_thread().enable_all().build().map_err(not_started)?;
    let thread = move || {
        let done = job(&runtime);
        // A name lookup may still hang in there.
        runtime.shutdown_background();
        drop(permit);
        send.send(done).ok(); // nobody waits any more
    };
    std::thread::Builder::new().name("ssh".to_owned()).spawn(thread).map_err(not_started)?;
    answer.await.unwrap_or_else(|_| Err(Fault::new(FaultKind::Unknown, format!("BUG: the SSH thread of {whom} panicked"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_job_is_a_fault_and_gives_its_place_back() {
        for _ in 0..THREADS + 1 {
            let fault = run::<(), _>("h", Duration::from_secs(5), |_| panic!("as a test")).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Unknown);
        }
    }
}
