//! What the packet ring costs: storing a publisher's packet, finding it again.
//!
//! Budget, CPU time: a packet is stored once for all of its viewers, 300 ns with the page that every 64th opens. It is
//! found twice per viewer (decide, write), 10 ns while it is the newest; 30 ns anywhere in the last second.
//!
//! `cargo bench --locked -p nearcast-sfu --bench ring`
#![expect(clippy::unwrap_used, clippy::panic, reason = "a bench may end its process")]

#[path = "../../rtp/benches/budget/mod.rs"]
mod budget;

use std::hint::black_box;
use std::time::Duration;

use budget::{Bench, Budget, Chunk, Each, OverBudget, cpu_time};
use rtp::{Codec, ExtSeq, MonoTime, RtpTimestamp};
use sfu::Ring;
use sfu::packet::Parts;
use sfu::ring::{Inserted, Limits, RingWriter};

fn main() -> Result<(), OverBudget> {
    let mut bench = Bench::new("ring");
    let payload = vec![0x5a; PAYLOAD_BYTES];
    insert(&mut bench, &payload);
    look_up(&mut bench, &payload);
    bench.part("copy_1200", Budget::Reference, CHUNK, || copy(&payload));
    bench.finish()
}

fn insert(bench: &mut Bench, payload: &[u8]) {
    let mut layer = Layer::new();
    layer.store(payload, WARM_UP);

    bench.part("insert_1200", Budget::Nanos(300.0), CHUNK, || {
        cpu_time(|| layer.store(payload, CHUNK.operations))
    });
}

fn look_up(bench: &mut Bench, payload: &[u8]) {
    let mut layer = Layer::new();
    layer.store(payload, WARM_UP);
    let newest = layer.next - 1;
    let second: Vec<ExtSeq> =
        (0..CHUNK.operations).map(|count| ExtSeq(newest - count * 7_919 % PACKETS_PER_SECOND)).collect();
    let tick: Vec<ExtSeq> = (0..CHUNK.operations).map(|count| ExtSeq(newest - count % 8)).collect();

    for (name, budget, wanted) in
        [("find_newest", Budget::Nanos(10.0), &tick), ("find_within_a_second", Budget::Nanos(30.0), &second)]
    {
        bench.part(name, budget, CHUNK, || {
            cpu_time(|| {
                for seq in wanted {
                    black_box(layer.ring.packet(black_box(*seq)).unwrap().timestamp);
                }
            })
        });
    }
}

/// The bare copy of the payloads, into as much memory as the ring holds.
fn copy(payload: &[u8]) -> Duration {
    let mut slots = vec![[0; PAYLOAD_BYTES]; usize::try_from(CHUNK.operations).unwrap()];
    cpu_time(|| {
        for slot in &mut slots {
            slot.copy_from_slice(black_box(payload));
            black_box(slot);
        }
    })
}

/// One layer on one shard: its writer, and the ring that reads the same pages.
struct Layer {
    writer: RingWriter,
    ring: Ring,
    next: u64,
}

impl Layer {
    fn new() -> Self {
        Self { writer: RingWriter::new(Limits::default()), ring: Ring::new(), next: 1 << 16 }
    }

    fn store(&mut self, payload: &[u8], count: u64) {
        for _ in 0..count {
            let mut parts = Parts::new(
                ExtSeq(self.next),
                RtpTimestamp(self.next as u32),
                Codec::H264,
                black_box(payload),
            );
            parts.arrival = MonoTime::from_nanos(self.next * 1_000_000_000 / PACKETS_PER_SECOND);
            match self.writer.insert(&parts) {
                Inserted::New { page: Some(page) } => self.ring.add_page(page),
                Inserted::New { page: None } => {}
                refused => panic!("{refused:?}"),
            }
            self.next += 1;
        }
    }
}

const PAYLOAD_BYTES: usize = 1_200;
/// A layer of 2.5 Mbit/s.
const PACKETS_PER_SECOND: u64 = 260;
/// More than the ring keeps, so that pages are used again.
const WARM_UP: u64 = 10 * PACKETS_PER_SECOND;
const CHUNK: Chunk = Chunk { operations: 1_024, each: Each::Bytes(PAYLOAD_BYTES) };
