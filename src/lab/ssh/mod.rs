//! The machines' SSH: one server per machine on loopback, as long as its OS runs.
//! Commands run in a real `sh` of the computer the lab is on, with the tools first in PATH that say which machine this is (`machine.rs`).
//! Whoever holds the lab's client key may thus run anything as the user who started the lab; it listens on loopback alone.
mod hardware;
mod machine;

use super::rack::Rack;
use machine::Machine;
use russh::{
    Channel, ChannelId, ChannelMsg, MethodKind, MethodSet, Sig,
    keys::{PrivateKey, PublicKey, ssh_key::private::Ed25519Keypair},
    server::{self, Auth, ChannelOpenHandle, Handle, Msg, Session, VerifiedPublicKey},
};
use sha2::{Digest, Sha256};
use std::{io, net::SocketAddr, os::unix::process::ExitStatusExt, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// How often power, and what was asked on the host, is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A key made for this lab: host key or client key.
pub fn new_key(comment: &str) -> PrivateKey {
    let mut seed = Sha256::new();
    // Three times 122 random bits of the operating system.
    (0..3).for_each(|_| seed.update(uuid::Uuid::new_v4()));
    let pair = Ed25519Keypair::from_seed(&seed.finalize().into());
    let mut key = PrivateKey::from(pair);
    key.set_comment(comment);
    key
}

/// One machine's SSH server.
pub struct Server {
    pub rack: Rack,
    pub machine: String,
    /// The machine's tree and tools are written below it.
    pub dir: PathBuf,
    pub host_key: PrivateKey,
    pub authorized_key: PublicKey,
    /// Commands beside the usual ones: a script, and the names it answers to.
    pub tools: &'static [(&'static str, &'static [&'static str])],
}

/// Until dropped. While the machine is down its port refuses, as a host without power does to its neighbours.
pub async fn serve(server: Server, listener: TcpListener) -> io::Result<()> {
    let address = listener.local_addr()?;
    let machine = Arc::new(Machine::prepare(server.rack, server.machine, &server.dir, server.tools)?);
    let config = |key: PrivateKey| {
        Arc::new(server::Config {
            server_id: russh::SshId::Standard("SSH-2.0-pitstop_lab".into()),
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            auth_rejection_time: Duration::from_millis(200),
            auth_rejection_time_initial: Some(Duration::ZERO),
            inactivity_timeout: None,
            nodelay: true,
            keys: vec![key],
            ..server::Config::default()
        })
    };
    let (usual, other) = (config(server.host_key), config(new_key("other")));
    let mut listening = Some(listener);
    loop {
        let open = match listening.take() {
            Some(open) => open,
            None => wait_for_boot(&machine, address).await?,
        };
        // Dropping the set cuts every connection and its commands.
        let mut links = JoinSet::new();
        let boot = machine.boot();
        let config = if machine.other_host_key() { &other } else { &usual };
        // Not only while it is up: a scaled boot may be over between two looks.
        while boot.is_some() && machine.boot() == boot {
            tokio::select! {
                accepted = open.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    if machine.boot() != boot { break }
                    let asked = Asked { machine: Arc::clone(&machine), key: server.authorized_key.clone() };
                    links.spawn(link(Arc::clone(config), stream, asked));
                }
                Some(_) = links.join_next() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

/// Bound and not listening: the port stays ours and refuses.
async fn wait_for_boot(machine: &Machine, address: SocketAddr) -> io::Result<TcpListener> {
    let mut socket = None;
    loop {
        if socket.is_none() {
            let held = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
            held.set_reuse_address(true)?;
            held.set_nonblocking(true)?;
            // Sockets of cut connections may hold the port for a moment.
            socket = held.bind(&address.into()).is_ok().then_some(held);
        }
        if machine.boot().is_some()
            && let Some(held) = socket.take()
        {
            held.listen(128)?;
            return TcpListener::from_std(held.into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Cuts the wire when dropped: russh runs a session as a task of its own, which would outlive ours.
struct Wire(socket2::Socket);
impl Drop for Wire {
    fn drop(&mut self) {
        self.0.shutdown(std::net::Shutdown::Both).ok(); // the peer may have closed it
    }
}

async fn link(config: Arc<server::Config>, stream: TcpStream, asked: Asked) {
    let Ok(wire) = socket2::SockRef::from(&stream).try_clone() else { return };
    let _wire = Wire(wire);
    if let Ok(running) = server::run_stream(config, stream, asked).await {
        running.await.ok(); // a client that breaks off is no fault of the lab
    }
}

struct Asked {
    machine: Arc<Machine>,
    key: PublicKey,
}

impl server::Handler for Asked {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _user: &str, offer: server::PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        Ok(self.judge(offer.public_key))
    }
    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(self.judge(key.public_key))
    }
    async fn channel_open_session(&mut self, channel: Channel<Msg>, reply: ChannelOpenHandle, session: &mut Session) -> Result<(), Self::Error> {
        tokio::spawn(talk(Arc::clone(&self.machine), channel, session.handle()));
        reply.accept().await;
        Ok(())
    }
    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
    async fn env_request(&mut self, channel: ChannelId, _: &str, _: &str, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
    async fn subsystem_request(&mut self, channel: ChannelId, _: &str, session: &mut Session) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}

impl Asked {
    fn judge(&self, key: &PublicKey) -> Auth {
        if key.key_data() == self.key.key_data() {
            return Auth::Accept;
        }
        self.machine.refused_login();
        Auth::reject()
    }
}

/// One channel: waits for what is to be run, runs it, and reports as sshd does: a status, or the signal that killed it.
async fn talk(machine: Arc<Machine>, channel: Channel<Msg>, handle: Handle) {
    let (mut read, write) = channel.split();
    let id = write.id();
    let line = loop {
        match read.wait().await {
            Some(ChannelMsg::Exec { command, .. }) => break Some(String::from_utf8_lossy(&command).into_owned()),
            Some(ChannelMsg::RequestShell { .. }) => break None,
            Some(ChannelMsg::Close) | None => return,
            Some(_) => {}
        }
    };
    let Ok(mut run) = machine.start(line.as_deref()) else {
        handle.channel_failure(id).await.ok(); // gone: nothing more to say
        return;
    };
    if handle.channel_success(id).await.is_err() {
        return;
    }
    let (mut stdin, mut out, mut err) = (run.child.stdin.take(), run.child.stdout.take(), run.child.stderr.take());
    let (mut out_bytes, mut err_bytes) = (vec![0; 32 << 10], vec![0; 32 << 10]);
    let mut status = None;
    // One loop writes both streams: they share a window, and two writers could wait for one wake-up.
    while status.is_none() || out.is_some() || err.is_some() {
        tokio::select! {
            told = read.wait() => match told {
                Some(ChannelMsg::Data { data }) => {
                    if let Some(pipe) = &mut stdin && pipe.write_all(&data).await.is_err() { stdin = None }
                }
                Some(ChannelMsg::Eof) => stdin = None,
                // The link is gone: `run` ends with us.
                Some(ChannelMsg::Close) | None => return,
                Some(_) => {}
            },
            n = piece(&mut out, &mut out_bytes) => match n {
                0 => out = None,
                n => if write.data_bytes(out_bytes[..n].to_vec()).await.is_err() { return },
            },
            n = piece(&mut err, &mut err_bytes) => match n {
                0 => err = None,
                n => if write.extended_data_bytes(1, err_bytes[..n].to_vec()).await.is_err() { return },
            },
            ended = run.child.wait(), if status.is_none() => match ended {
                Ok(ended) => { stdin = None; status = Some(ended) }
                Err(_) => return,
            },
        }
    }
    run.over = true;
    let said = match status.and_then(|s| s.code().map(Ok).or(s.signal().map(Err))) {
        Some(Ok(code)) => handle.exit_status_request(id, code as u32).await,
        Some(Err(signal)) => {
            let name = match signal {
                9 => Sig::KILL,
                15 => Sig::TERM,
                2 => Sig::INT,
                1 => Sig::HUP,
                other => Sig::Custom(other.to_string()),
            };
            handle.exit_signal_request(id, name, false, String::new(), String::new()).await
        }
        None => Ok(()),
    };
    if said.is_ok() && handle.eof(id).await.is_ok() {
        handle.close(id).await.ok(); // gone: nothing more to say
    }
}

/// The next bytes of a pipe; never, where it has ended.
async fn piece(pipe: &mut Option<impl AsyncReadExt + Unpin>, bytes: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(bytes).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}
