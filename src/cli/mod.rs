//! The command line: one file per command; the composition root wires files → plan → drivers → engine → report.
//! stdout is data, stderr is talk.
mod args;
mod check;
mod connect;
mod context;
mod demo;
mod failure;
mod generate;
mod history;
mod inventory;
mod lab;
mod launch;
mod machine;
mod plan;
mod playbook;
mod release;
mod report;
mod resume;
mod run;
mod runs;
mod status;
mod stop;

pub use args::Cli;
use args::Command;
use clap::Parser;
use context::Context;

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
        Command::Runs(args) => runs::run(&cx, args).await,
        Command::Report(args) => report::run(&cx, args).await,
        Command::Inventory(args) => inventory::run(&cx, args).await,
        Command::Playbook(args) => playbook::run(&cx, args).await,
        Command::Util(args) => generate::run(args),
    };
    result.unwrap_or_else(|failure| failure.tell(cx.json))
}
