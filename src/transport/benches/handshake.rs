//! What a DTLS handshake costs the server, from the ClientHello to the keys of the media.
//!
//! Budget, CPU time: 500 µs for DTLS 1.2, which viewers are given, and as much for 1.3. The other side is another guard
//! in the client role; only the calls into the server's half are measured, with everything they do: making the library,
//! reading and checking both certificates, the key exchange, the signature, expanding the keys of both directions.
//!
//! `cargo bench --locked -p nearcast-transport --bench handshake`
#![expect(clippy::panic, clippy::unwrap_used, reason = "a bench may end its process")]

#[path = "../../rtp/benches/budget/mod.rs"]
mod budget;

use std::sync::Arc;
use std::time::Duration;

use budget::{Bench, Budget, Chunk, Each, OverBudget, cpu_time};
use rtp::MonoTime;
use transport::dtls::guard::{Config, Output};
use transport::dtls::{Certificate, Fingerprint, Guard, HashAlgorithm, Role, Version};
use transport::srtp::MasterKeys;

fn main() -> Result<(), OverBudget> {
    let mut bench = Bench::new("handshake");
    let sides = Sides { server: certificate(), client: certificate() };
    let chunk = Chunk { operations: HANDSHAKES, each: Each::Operation };
    for (name, version) in [("handshake_dtls12", Version::Only12), ("handshake_auto", Version::Auto)] {
        bench.part(name, Budget::Nanos(500_000.0), chunk, || {
            (0..HANDSHAKES).map(|_| sides.shake_hands(version)).sum()
        });
    }
    bench.finish()
}

/// The certificates, which last for many sessions.
struct Sides {
    server: Arc<Certificate>,
    client: Arc<Certificate>,
}

impl Sides {
    /// Runs a whole handshake; returns what the server's half of it cost.
    fn shake_hands(&self, version: Version) -> Duration {
        let now = MonoTime::from_millis(1_000);
        let guard = |role, ours: &Arc<Certificate>, theirs: &Arc<Certificate>| {
            let fingerprint = Fingerprint::of(HashAlgorithm::Sha256, theirs.der());
            Guard::new(Config { role, version, certificate: Arc::clone(ours), fingerprint })
        };
        let mut client = guard(Role::Client, &self.client, &self.server);
        client.start(now);
        let mut server = None;
        let mut spent = cpu_time(|| server = Some(guard(Role::Server, &self.server, &self.client)));
        let mut server = server.unwrap();
        let mut connected = 0;
        for _ in 0..FLIGHTS_MAX {
            let (to_server, keys) = drain(&mut client);
            connected += usize::from(keys.is_some());
            let mut back = (Vec::new(), None);
            spent += cpu_time(|| {
                for datagram in &to_server {
                    server.handle_datagram(now, datagram).unwrap();
                }
                back = drain(&mut server);
                if let Some(keys) = &back.1 {
                    assert!(keys.split(Role::Server).is_some());
                }
            });
            connected += usize::from(back.1.is_some());
            for datagram in &back.0 {
                client.handle_datagram(now, datagram).unwrap();
            }
            if connected == 2 {
                return spent;
            }
        }
        panic!("no handshake in {FLIGHTS_MAX} flights");
    }
}

/// Takes what a side sends, and its keys when it has them.
fn drain(side: &mut Guard) -> (Vec<Vec<u8>>, Option<MasterKeys>) {
    let (mut datagrams, mut keys) = (Vec::new(), None);
    while let Some(output) = side.poll_output() {
        match output {
            Output::Transmit(datagram) => datagrams.push(datagram),
            Output::Connected(theirs) => keys = Some(theirs),
            other => panic!("{other:?}"),
        }
    }
    (datagrams, keys)
}

fn certificate() -> Arc<Certificate> {
    Arc::new(Certificate::generate().unwrap())
}

const HANDSHAKES: u64 = 10;
const FLIGHTS_MAX: usize = 10;
