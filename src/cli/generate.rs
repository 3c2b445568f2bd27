//! `pitstop util`: what is generated from the command tree.
use super::{
    args::{Cli, Generate, UtilArgs},
    failure::{Failure, INTERNAL},
};
use clap::CommandFactory;
use std::io;

pub fn run(args: UtilArgs) -> Result<u8, Failure> {
    let mut tree = Cli::command();
    match args.what {
        Generate::Completions { shell } => clap_complete::generate(shell, &mut tree, "pitstop", &mut io::stdout()),
        Generate::Man => clap_mangen::Man::new(tree).render(&mut io::stdout()).map_err(|e| Failure::new(INTERNAL, format!("cannot write: {e}")))?,
    }
    Ok(0)
}
