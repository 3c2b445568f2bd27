//! One connection through a jump host: a channel there, a socket here, and bounded buffers between them.
use super::dial::Heard;
use ssh2::Channel;
use std::{
    io::{self, Read, Write},
    sync::Arc,
};
use tokio::{io::Interest, net::UnixStream};

const BUFFER: usize = 32 << 10;

pub struct Bridge {
    channel: Channel,
    here: UnixStream,
    heard: Arc<Heard>,
    /// Read here, not yet written there. Untouched while libssh2 would block: it wants to see the same bytes again.
    out: Vec<u8>,
    back: Vec<u8>,
    /// This end sends no more; and the other was told.
    ended: bool,
    told: bool,
    /// That end sends no more.
    over: bool,
    /// Nobody is here any more.
    gone: bool,
}

/// The jump host's own link is lost, and all that rides on it with it.
#[derive(Debug)]
pub struct Lost(pub String);

impl Bridge {
    pub fn new(channel: Channel, here: UnixStream, heard: Arc<Heard>) -> Bridge {
        Bridge { channel, here, heard, out: Vec::new(), back: Vec::new(), ended: false, told: false, over: false, gone: false }
    }

    /// Moves what can be moved. `None`: closed on both sides.
    pub fn step(&mut self) -> Result<Option<bool>, Lost> {
        if self.gone || (self.over && self.back.is_empty()) {
            // Its end, too, takes both sides: a channel that is dropped half closed stays with the session.
            return match self.channel.close() {
                Err(e) if blocks(&io::Error::from(ssh2::Error::new(e.code(), ""))) => Ok(Some(false)),
                _ => Ok(None),
            };
        }
        // The write last: whether it waits for the jump host's socket is then what libssh2 says.
        Ok(Some(self.homeward()? | self.outward()?))
    }

    fn outward(&mut self) -> Result<bool, Lost> {
        let mut moved = false;
        if self.out.is_empty() && !self.ended {
            let mut buffer = [0; BUFFER];
            match self.here.try_read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(n) => self.out.extend_from_slice(&buffer[..n]),
                Err(e) if blocks(&e) => {}
                Err(_) => self.gone = true,
            }
        }
        if !self.out.is_empty() {
            match self.channel.write(&self.out) {
                Ok(n) => {
                    self.out.drain(..n);
                    moved = n > 0;
                }
                Err(e) if blocks(&e) => {}
                // Closed from there; what it still sent is read below.
                Err(_) if self.channel.eof() => self.out.clear(),
                Err(e) => return Err(Lost(e.to_string())),
            }
        } else if self.ended && !self.told {
            match self.channel.send_eof() {
                Err(e) if blocks(&io::Error::from(ssh2::Error::new(e.code(), ""))) => {}
                // Told, or nobody is there to be told.
                _ => (self.told, self.gone) = (true, true),
            }
        }
        Ok(moved)
    }

    fn homeward(&mut self) -> Result<bool, Lost> {
        let mut moved = false;
        if self.back.is_empty() && !self.over {
            let mut buffer = [0; BUFFER];
            match self.channel.read(&mut buffer) {
                Ok(0) => self.over = self.channel.eof(),
                Ok(n) => {
                    self.back.extend_from_slice(&buffer[..n]);
                    self.heard.again();
                    moved = true;
                }
                Err(e) if blocks(&e) => {}
                Err(e) => return Err(Lost(e.to_string())),
            }
        }
        if !self.back.is_empty() {
            match self.here.try_write(&self.back) {
                Ok(n) => {
                    self.back.drain(..n);
                    moved |= n > 0;
                }
                Err(e) if blocks(&e) => {}
                Err(_) => self.gone = true,
            }
        }
        Ok(moved)
    }

    /// Until this side can go on by itself.
    pub async fn here_moves(&self) {
        let interest = match (self.out.is_empty() && !self.ended, !self.back.is_empty()) {
            _ if self.gone => return std::future::pending().await,
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => return std::future::pending().await,
        };
        self.here.ready(interest).await.ok(); // an error shows at the next read
    }
}

fn blocks(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::WouldBlock
}
