//! The command line: one file per command; the composition root wires files → plan → drivers → engine → report.
//! stdout is data, stderr is talk.

/// `print!` for data: whoever reads may stop reading (`pitstop runs | head -1`), and that is no panic.
macro_rules! out {
    ($($arg:tt)*) => { $crate::cli::put(&format!($($arg)*)) };
}
macro_rules! outln {
    ($($arg:tt)*) => { $crate::cli::put(&(format!($($arg)*) + "\n")) };
}

mod args;
mod check;
mod confirm;
mod connect;
mod context;
mod demo;
mod failure;
mod from_marks;
mod generate;
mod history;
mod identities;
mod import;
mod inhibit;
mod inventory;
mod lab;
mod launch;
mod listen;
mod logins;
mod machine;
mod mask;
mod node;
mod plan;
mod playbook;
mod release;
mod report;
mod resume;
mod run;
mod runs;
mod status;
mod stop;
mod trust;
mod trust_file;

pub use args::Cli;
use args::Command;
use clap::Parser;
use context::Context;

/// The one place that writes data to stdout. A pipe that was closed is its reader's wish; anything else is said.
fn put(text: &str) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        eprintln!("pitstop: cannot write to stdout: {error}");
    }
}

/// Parses, runs, says what went wrong; the exit code (architecture.md, 4).
pub async fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            error.print().ok(); // nowhere left to say it
            return code;
        }
    };
    if machine::install_provider().is_err() {
        eprintln!("pitstop: BUG: a crypto provider was installed twice");
        return 1;
    }
    machine::start_tracing(cli.global.verbose);
    let cx = Context::new(cli.global);
    let result = match cli.command {
        Command::Demo(args) => demo::run(&cx, args).await,
        Command::Lab(args) => lab::run(&cx, args).await,
        Command::Check(args) => check::run(&cx, args).await,
        Command::Plan(args) => plan::run(&cx, args).await,
        Command::Run(args) => run::run(&cx, args).await,
        Command::Resume(args) => resume::run(&cx, args).await,
        Command::Stop(args) => stop::run(&cx, args).await,
        Command::Release(args) => release::run(&cx, args).await,
        Command::Status(args) => status::run(&cx, args).await,
        Command::Node(args) => node::run(&cx, args).await,
        Command::Runs(args) => runs::run(&cx, args).await,
        Command::Report(args) => report::run(&cx, args).await,
        Command::Init(args) => import::init(&cx, &args),
        Command::Inventory(args) => inventory::run(&cx, args).await,
        Command::Playbook(args) => playbook::run(&cx, args).await,
        Command::Util(args) => generate::run(args),
    };
    result.unwrap_or_else(|failure| failure.tell(cx.json))
}
