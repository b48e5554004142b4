//! Runs as a server of protected media must make them: a frame's packets, copied and sealed for each receiver.

use anyhow::{Context, anyhow, ensure};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::Config;

/// The keys of all receivers, and what they are sent.
pub(super) struct Sealed {
    keys: Vec<LessSafeKey>,
    /// A packet before it is sealed: a header, which is authenticated, and a payload.
    plain: Vec<u8>,
    run: u16,
    sent: u64,
}

impl Sealed {
    /// Makes a key for each address.
    ///
    /// # Errors
    /// When a packet has no room for a header and a tag, or there is no randomness.
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        let plain_bytes = usize::from(config.size_bytes).checked_sub(TAG_BYTES);
        let plain_bytes =
            plain_bytes.filter(|bytes| *bytes > HEADER_BYTES).context("packets are too short")?;
        let keys = (0..config.addresses).map(|_| {
            let mut key = [0; 16];
            getrandom::fill(&mut key).map_err(|error| anyhow!("no randomness: {error}"))?;
            let key = UnboundKey::new(&AES_128_GCM, &key).map_err(|_| anyhow!("no key"))?;
            Ok(LessSafeKey::new(key))
        });
        Ok(Self {
            keys: keys.collect::<anyhow::Result<_>>()?,
            plain: vec![0x5a; plain_bytes],
            run: config.run,
            sent: 0,
        })
    }

    /// Writes the runs of `count` receivers from `first` on, one behind the other.
    ///
    /// # Errors
    /// When there are fewer receivers, or too little room in `out`.
    pub(super) fn write(&mut self, first: usize, count: usize, out: &mut [u8]) -> anyhow::Result<()> {
        let keys = self.keys.get(first..).unwrap_or_default();
        ensure!(keys.len() >= count, "fewer receivers than asked for");
        let mut packets = out.chunks_exact_mut(self.plain.len().saturating_add(TAG_BYTES));
        for key in keys.iter().take(count) {
            for _ in 0..self.run {
                let packet = packets.next().context("no room for a packet")?;
                let (plain, tag) = packet.split_at_mut(self.plain.len());
                plain.copy_from_slice(&self.plain);
                let (header, payload) = plain.split_at_mut(HEADER_BYTES);
                self.sent = self.sent.wrapping_add(1);
                let mut nonce = [0; NONCE_LEN];
                nonce[..8].copy_from_slice(&self.sent.to_be_bytes());
                let sealed = key
                    .seal_in_place_separate_tag(
                        Nonce::assume_unique_for_key(nonce),
                        Aad::from(&*header),
                        payload,
                    )
                    .map_err(|_| anyhow!("a packet could not be sealed"))?;
                tag.copy_from_slice(sealed.as_ref());
            }
        }
        Ok(())
    }
}

/// Of AES-GCM (RFC 7714 §13).
const TAG_BYTES: usize = 16;
/// Of RTP without extensions.
const HEADER_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use super::super::Receiver;
    use super::*;
    use std::time::Duration;

    fn config(size_bytes: u16) -> Config {
        Config {
            addresses: 2,
            run: 2,
            size_bytes,
            cpu_time: Duration::ZERO,
            core: 0,
            receiver: Receiver::Viewers,
        }
    }

    #[test]
    fn each_packet_opens_with_its_receivers_key_alone() {
        let mut sealed = Sealed::new(&config(100)).unwrap();
        let mut out = vec![0; 400];

        sealed.write(0, 2, &mut out).unwrap();

        for (index, packet) in out.chunks(100).enumerate() {
            let open = |key: &LessSafeKey| {
                let mut nonce = [0; NONCE_LEN];
                nonce[..8].copy_from_slice(&(index as u64 + 1).to_be_bytes());
                let (header, body) = packet.split_at(HEADER_BYTES);
                let mut body = body.to_vec();
                let plain =
                    key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut body);
                plain.map(|plain| plain.to_vec())
            };
            let (own, other) = (&sealed.keys[index / 2], &sealed.keys[1 - index / 2]);
            assert_eq!(open(own).unwrap(), [0x5a; 100 - HEADER_BYTES - TAG_BYTES]);
            assert!(open(other).is_err());
        }
    }

    #[test]
    fn packets_without_room_for_a_payload_are_refused() {
        assert!(Sealed::new(&config(28)).is_err());
        assert!(Sealed::new(&config(29)).is_ok());
    }

    #[test]
    fn receivers_that_are_not_there_get_nothing() {
        let mut sealed = Sealed::new(&config(100)).unwrap();

        assert!(sealed.write(1, 2, &mut [0; 400]).is_err());
        assert!(sealed.write(3, 1, &mut [0; 400]).is_err());
        assert!(sealed.write(0, 2, &mut [0; 300]).is_err());
    }
}
