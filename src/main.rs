//! Parse, run, exit code.
use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("pitstop: cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    let code = runtime.block_on(pitstop::cli::main());
    // Not dropped: a dead SSH call would keep the last Ctrl-C waiting.
    runtime.shutdown_background();
    ExitCode::from(code)
}
