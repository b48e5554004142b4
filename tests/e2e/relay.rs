//! A man in the middle for one session's datagrams: it hands them on, remembers what the peer sent, and can send
//! bytes of its own from the very address that the server has validated.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Called with each datagram of the peer before it is handed on.
pub(crate) type Tap = Box<dyn FnMut(&[u8]) + Send>;

/// A running relay; ends when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where the peer sends to.
    pub(crate) front: SocketAddr,
    server: SocketAddr,
    back: Arc<Mutex<UdpSocket>>,
    /// What the server sends goes out here.
    outlet: UdpSocket,
    peer: Arc<Mutex<Option<SocketAddr>>>,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Stands between one peer and the server's UDP port, with a look at each datagram of the peer before it is
    /// handed on.
    pub(crate) fn start(server: SocketAddr, mut tap: Tap) -> Self {
        let front = socket();
        let back = Arc::new(Mutex::new(socket()));
        let front_address = front.local_addr().unwrap();
        let peer: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let sent: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let end = Arc::new(AtomicBool::new(false));

        let outward = {
            let (front, back) = (front.try_clone().unwrap(), Arc::clone(&back));
            let (peer, sent, end) = (Arc::clone(&peer), Arc::clone(&sent), Arc::clone(&end));
            thread::spawn(move || {
                pump(&front, &end, |from, datagram| {
                    *peer.lock().unwrap() = Some(from);
                    tap(datagram);
                    remember(&sent, datagram);
                    let _ = back.lock().unwrap().send_to(datagram, server);
                });
            })
        };
        let mut relay = Self {
            front: front_address,
            server,
            back,
            outlet: front,
            peer,
            sent,
            end,
            threads: vec![outward],
        };
        relay.listen_at_the_back();
        relay
    }

    /// Goes on from another port, as a NAT does that has forgotten the old one. Nothing is heard at the old port.
    pub(crate) fn rebind(&mut self) {
        *self.back.lock().unwrap() = socket();
        self.listen_at_the_back();
    }

    fn listen_at_the_back(&mut self) {
        let back = self.back.lock().unwrap().try_clone().unwrap();
        let (front, peer) = (self.outlet.try_clone().unwrap(), Arc::clone(&self.peer));
        let (end, port) = (Arc::clone(&self.end), back.local_addr().unwrap());
        let present = Arc::clone(&self.back);
        self.threads.push(thread::spawn(move || {
            pump(&back, &end, |_, datagram| {
                let is_present = present.lock().unwrap().local_addr().is_ok_and(|address| address == port);
                if let (true, Some(peer)) = (is_present, *peer.lock().unwrap()) {
                    let _ = front.send_to(datagram, peer);
                }
            });
        }));
    }

    /// Where the server sees the peer.
    pub(crate) fn back(&self) -> SocketAddr {
        self.back.lock().unwrap().local_addr().unwrap()
    }

    /// Sends bytes to the server from the validated address.
    pub(crate) fn inject(&self, datagram: &[u8]) {
        self.back.lock().unwrap().send_to(datagram, self.server).unwrap();
    }

    /// What the peer sent, of the datagrams whose first byte lies in this range.
    pub(crate) fn captured(&self, first: std::ops::RangeInclusive<u8>) -> Vec<Vec<u8>> {
        let sent = self.sent.lock().unwrap();
        sent.iter()
            .filter(|datagram| datagram.first().is_some_and(|byte| first.contains(byte)))
            .cloned()
            .collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket
}

fn pump(from: &UdpSocket, end: &AtomicBool, mut each: impl FnMut(SocketAddr, &[u8])) {
    let mut buffer = [0; 65_535];
    while !end.load(Ordering::Acquire) {
        match from.recv_from(&mut buffer) {
            Ok((length, address)) => each(address, &buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // A port that is closed on the other side answers with an error here; the next datagram may pass.
            Err(_) => {}
        }
    }
}

/// Keeps the first 4,000 datagrams: more than any test looks at.
fn remember(sent: &Mutex<Vec<Vec<u8>>>, datagram: &[u8]) {
    let mut sent = sent.lock().unwrap();
    if sent.len() < 4000 {
        sent.push(datagram.to_vec());
    }
}
