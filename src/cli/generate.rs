//! `pitstop util`: what is generated from the command tree.
use super::{
    args::{Cli, Generate, UtilArgs},
    failure::{Failure, INTERNAL},
};
use clap::CommandFactory;

pub fn run(args: UtilArgs) -> Result<u8, Failure> {
    let mut tree = Cli::command();
    let mut text = Vec::new();
    match args.what {
        Generate::Completions { shell } => clap_complete::generate(shell, &mut tree, "pitstop", &mut text),
        Generate::Man => clap_mangen::Man::new(tree).render(&mut text).map_err(|e| Failure::new(INTERNAL, format!("cannot write: {e}")))?,
    }
    out!("{}", String::from_utf8_lossy(&text));
    Ok(0)
}
