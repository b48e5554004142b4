//! Writes one packet as the viewer gets it, before it is sealed.
//!
//! Packet path: allocates nothing and never writes past the buffer. The payload is copied once, here.

use rtp::payload::patch_vp8;
use rtp::{Codec, Extension, ExtensionMap, ExtensionWriter, NtpTime, OutgoingHeader, PayloadType};

use super::Forward;
use super::pictures::patch_vp9;
use crate::Packet;
use crate::packet::CARRIED;

/// What goes on the packet beside its own contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Additions<'a> {
    /// The viewer's extension identifiers.
    pub(crate) extensions: &'a ExtensionMap,
    /// The session's transport-wide number, when negotiated.
    pub(crate) transport_cc: Option<u16>,
    /// When it is sent, in server media time.
    pub(crate) ntp: NtpTime,
    /// The viewer's payload type of Opus, to name inside RED.
    pub(crate) opus: Option<PayloadType>,
}

/// How much was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The whole packet, in bytes.
    pub(crate) length: usize,
    /// Its payload without header, extensions and padding.
    pub(crate) payload: usize,
}

/// Writes header, extension block and payload; `None` when they do not fit.
pub(crate) fn write(
    forward: &Forward,
    packet: &Packet,
    additions: &Additions<'_>,
    out: &mut [u8],
) -> Option<Written> {
    let block = write_extensions(forward, packet, additions, out.get_mut(OutgoingHeader::LENGTH..)?)?;
    forward.header.write(block > 0, forward.filler || forward.padding > 0, out)?;
    let mut end = OutgoingHeader::LENGTH.checked_add(block)?;
    if let Some(original) = forward.rtx {
        end = append(out, end, &original.0.to_be_bytes())?;
    }
    if forward.filler {
        // One byte of padding, which counts itself (RFC 3550 §5.1).
        return append(out, end, &[1]).map(|length| Written { length, payload: 0 });
    }
    let payload = match packet.red_primary() {
        Some(primary) if forward.primary_only => packet.payload().get(primary)?,
        _ => packet.payload(),
    };
    let start = end;
    end = append(out, end, payload)?;
    patch(forward, packet, additions, out.get_mut(start..end)?);
    end = append_padding(out, end, forward.padding)?;
    Some(Written { length: end, payload: payload.len() })
}

/// Writes a packet of padding alone on the source of retransmissions: there is nothing that it could repeat.
pub(crate) fn write_padding(forward: &Forward, additions: &Additions<'_>, out: &mut [u8]) -> Option<Written> {
    let mut writer = ExtensionWriter::new(out.get_mut(OutgoingHeader::LENGTH..)?);
    push_own(&mut writer, additions)?;
    let block = writer.finish();
    forward.header.write(block > 0, true, out)?;
    let end = OutgoingHeader::LENGTH.checked_add(block)?;
    append_padding(out, end, forward.padding).map(|length| Written { length, payload: 0 })
}

/// Writes the extension block and returns its length; `None` when one element does not fit.
fn write_extensions(
    forward: &Forward,
    packet: &Packet,
    additions: &Additions<'_>,
    out: &mut [u8],
) -> Option<usize> {
    let mut writer = ExtensionWriter::new(out);
    push_own(&mut writer, additions)?;
    let ids = additions.extensions;
    let mut push = |extension: Extension, value: &[u8]| match ids.id(extension) {
        Some(id) => writer.push(id, value).then_some(()),
        None => Some(()),
    };
    for extension in CARRIED {
        let Some(value) = packet.carried(extension) else { continue };
        match forward.frame_number {
            Some(number) if extension == Extension::DependencyDescriptor => {
                let mut copy = [0; DESCRIPTOR_MAX];
                let copy = copy.get_mut(..value.len())?;
                copy.copy_from_slice(value);
                if let Some(place) = copy.get_mut(FRAME_NUMBER_AT..)?.first_chunk_mut() {
                    *place = number.to_be_bytes();
                }
                push(extension, copy)?;
            }
            _ => push(extension, value)?,
        }
    }
    Some(writer.finish())
}

/// Writes the extensions that every packet has: transport-wide number and sending time.
fn push_own(writer: &mut ExtensionWriter<'_>, additions: &Additions<'_>) -> Option<()> {
    let ids = additions.extensions;
    if let Some((number, id)) = additions.transport_cc.zip(ids.id(Extension::TransportCc)) {
        writer.push(id, &number.to_be_bytes()).then_some(())?;
    }
    match ids.id(Extension::AbsSendTime) {
        Some(id) => writer.push(id, &send_time(additions.ntp)).then_some(()),
        None => Some(()),
    }
}

/// Returns absolute send time: 24 bits, six of seconds and eighteen of their fraction.
fn send_time(ntp: NtpTime) -> [u8; 3] {
    let [.., high, middle, low] = (ntp.0 >> 14).to_be_bytes();
    [high, middle, low]
}

/// Appends bytes and returns the new end.
fn append(out: &mut [u8], at: usize, bytes: &[u8]) -> Option<usize> {
    let end = at.checked_add(bytes.len())?;
    out.get_mut(at..end)?.copy_from_slice(bytes);
    Some(end)
}

/// Appends zeros whose last one counts them (RFC 3550 §5.1).
fn append_padding(out: &mut [u8], at: usize, count: u8) -> Option<usize> {
    let end = at.checked_add(usize::from(count))?;
    let padding = out.get_mut(at..end)?;
    padding.fill(0);
    if let Some(last) = padding.last_mut() {
        *last = count;
    }
    Some(end)
}

/// Changes the numbers inside the copied payload.
fn patch(forward: &Forward, packet: &Packet, additions: &Additions<'_>, payload: &mut [u8]) {
    match (forward.picture, &packet.descriptor.vp8) {
        (Some((picture, tl0)), Some(fields)) => patch_vp8(payload, fields, picture, tl0),
        (Some((picture, tl0)), None) if packet.codec == Codec::Vp9 => patch_vp9(payload, picture, tl0),
        _ => {}
    }
    if let Some(opus) = additions.opus
        && packet.red_primary().is_some()
        && !forward.primary_only
    {
        patch_red(payload, opus);
    }
}

/// Names the viewer's payload type in every block header (RFC 2198 §3).
fn patch_red(payload: &mut [u8], opus: PayloadType) {
    let mut rest = payload;
    while let Some((header, behind)) = rest.split_first_mut() {
        let followed = *header & RED_FOLLOWED != 0;
        *header = (*header & RED_FOLLOWED) | (opus.0 & !RED_FOLLOWED);
        if !followed {
            return;
        }
        rest = behind.get_mut(RED_HEADER_REST..).unwrap_or_default();
    }
}

const RED_FOLLOWED: u8 = 0x80;
const RED_HEADER_REST: usize = 3;
/// An extension element's value is at most this long (RFC 8285 §4.3).
const DESCRIPTOR_MAX: usize = 255;
/// Behind the frame flags and the template id (AV1 RTP specification, appendix A.8.2).
const FRAME_NUMBER_AT: usize = 1;
