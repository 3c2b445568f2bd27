//! A socket that libssh2 reads and writes, and the runtime only watches: TCP to the host, or a pair's end where a jump host is between.
use socket2::{Domain, Socket};
use std::io;
use tokio::{
    io::Interest,
    net::{TcpStream, UnixStream},
};

pub enum Ready {
    Tcp(TcpStream),
    Pair(UnixStream),
}

impl Ready {
    /// Inside the runtime that is to watch it.
    pub fn of(socket: &Socket) -> io::Result<Ready> {
        let own = socket.try_clone()?;
        own.set_nonblocking(true)?;
        Ok(if own.domain()? == Domain::UNIX { Ready::Pair(UnixStream::from_std(own.into())?) } else { Ready::Tcp(TcpStream::from_std(own.into())?) })
    }

    /// libssh2 has just met "would block" on its own copy of the socket; the runtime does not know it yet and would wake us at once, for ever.
    pub fn stale(&self, interest: Interest) {
        let blocked = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let told = match self {
            Ready::Tcp(socket) => socket.try_io(interest, blocked),
            Ready::Pair(socket) => socket.try_io(interest, blocked),
        };
        told.ok(); // always "would block"
    }

    pub async fn moves(&self, interest: Interest) {
        let moved = match self {
            Ready::Tcp(socket) => socket.ready(interest).await,
            Ready::Pair(socket) => socket.ready(interest).await,
        };
        moved.ok(); // an error shows at the next read
    }
}
