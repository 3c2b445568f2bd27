//! Real peers that nobody here wrote: the drivers against their servers, their clients against the lab.
mod peer;
mod ssh;
