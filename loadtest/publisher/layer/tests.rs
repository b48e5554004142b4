use std::path::{Path, PathBuf};
use std::process::Command;

use rtp::payload::describe;

use super::*;
use crate::publisher::depacketise;

const CODECS: [Codec; 2] = [Codec::H264, Codec::Vp8];

#[test]
fn keyframes_come_first_at_each_gop_and_when_asked_for() {
    for codec in CODECS {
        let mut layer = layer(codec, 2, 200_000, 10);
        let mut keyframes = Vec::new();
        for frame in 0..40 {
            if frame == 13 {
                layer.want_keyframe();
            }
            if layer.next_frame(MonoTime::ZERO) {
                keyframes.push(frame);
            }
        }

        assert_eq!(keyframes, [0, 10, 13, 23, 33]);
    }
}

#[test]
fn a_keyframe_that_is_asked_for_behind_a_keyframe_comes_a_frame_later() {
    let mut layer = layer(Codec::H264, 2, 200_000, 100);
    layer.next_frame(MonoTime::ZERO);

    layer.want_keyframe();

    assert!(!layer.next_frame(MonoTime::ZERO));
    assert!(layer.next_frame(MonoTime::ZERO));
    assert!(!layer.next_frame(MonoTime::ZERO));
    assert!(!layer.next_frame(MonoTime::ZERO));
}

#[test]
fn the_round_begins_anew_behind_each_keyframe() {
    let clip = Clip::load(Codec::Vp8, 2).unwrap();
    let mut layer = layer(Codec::Vp8, 2, LITTLE, 1_000);
    let mut next = || {
        let keyframe = layer.next_frame(MonoTime::ZERO);
        let mut file = Vec::new();
        depacketise::append(Codec::Vp8, layer.payloads().iter(), &mut file);
        if !keyframe && file[12..].starts_with(clip.round[39]) {
            layer.want_keyframe();
        }
        file
    };

    let sent: Vec<_> = (0..300).map(|_| next()).collect();

    let is = |frame: usize, expected: &[u8]| sent[frame][12..].starts_with(expected);
    for turn in 0..7 {
        assert!(is(41 * turn, clip.keyframe), "turn {turn}");
        assert!(is(41 * turn + 1, clip.round[0]), "turn {turn}");
        assert!(is(41 * turn + 40, clip.round[39]), "turn {turn}");
    }
}

#[test]
fn a_round_follows_a_round_without_a_keyframe() {
    let clip = Clip::load(Codec::Vp8, 2).unwrap();
    let mut layer = layer(Codec::Vp8, 2, LITTLE, 1_000);
    for _ in 0..=clip.round.len() {
        layer.next_frame(MonoTime::ZERO);
    }

    assert!(!layer.next_frame(MonoTime::ZERO));

    let mut file = Vec::new();
    depacketise::append(Codec::Vp8, layer.payloads().iter(), &mut file);
    assert!(file[12..].starts_with(clip.round[0]));
}

#[test]
fn the_first_payload_of_a_keyframe_shows_it_and_no_other_frame_does() {
    for codec in CODECS {
        let mut layer = layer(codec, 0, 2_500_000, 25);
        for _ in 0..100 {
            let keyframe = layer.next_frame(MonoTime::ZERO);

            let shown = |payload| describe(codec, payload).unwrap().keyframe;
            assert_eq!(layer.payloads().iter().next().is_some_and(shown), keyframe);
            assert!(keyframe || !layer.payloads().iter().any(shown));
        }
    }
}

#[test]
fn a_decoder_sees_the_same_pictures_with_filler_as_without_and_complains_of_nothing() {
    let folder = Folder::new();
    for codec in CODECS {
        for halvings in 0..3 {
            let [plain, filled] = [LITTLE, 2_500_000].map(|bitrate_bps| {
                let path = folder.0.join(format!("{}-{halvings}-{bitrate_bps}", codec.name()));
                std::fs::write(&path, elementary(codec, halvings, bitrate_bps)).unwrap();
                decode(&path, codec)
            });

            assert_eq!(plain.complaints, "", "{codec:?} {halvings}");
            assert_eq!(filled.complaints, "", "{codec:?} {halvings}");
            assert_eq!(plain.pictures.len(), FRAMES, "{codec:?} {halvings}");
            assert!(plain.pictures == filled.pictures, "{codec:?} {halvings}");
        }
    }
}

#[test]
fn the_decoder_of_these_tests_complains_of_a_slice_that_is_cut() {
    let folder = Folder::new();
    let path = folder.0.join("cut");
    let mut layer = layer(Codec::H264, 2, LITTLE, 100);
    let mut file = Vec::new();
    for frame in 0..60 {
        layer.next_frame(MonoTime::ZERO);
        depacketise::append(Codec::H264, layer.payloads().iter(), &mut file);
        if frame == 20 {
            file.truncate(file.len() - 30);
        }
    }
    std::fs::write(&path, file).unwrap();

    assert_ne!(decode(&path, Codec::H264).complaints, "");
}

/// A bitrate that leaves nothing to fill.
const LITTLE: u64 = 1_000;

/// Longer than two rounds and with keyframes out of turn, so that every way from frame to frame is taken.
const FRAMES: usize = 400;

fn elementary(codec: Codec, halvings: usize, bitrate_bps: u64) -> Vec<u8> {
    let mut layer = layer(codec, halvings, bitrate_bps, 290);
    let mut file = if codec == Codec::Vp8 { ivf_header() } else { Vec::new() };
    for frame in 0..FRAMES {
        if matches!(frame, 1 | 17 | 18 | 60) {
            layer.want_keyframe();
        }
        layer.next_frame(MonoTime::from_millis(33 * frame as u64));
        depacketise::append(codec, layer.payloads().iter(), &mut file);
    }
    file
}

fn ivf_header() -> Vec<u8> {
    let mut header = [b"DKIF\0\0\x20\0VP80".as_slice(), &[0; 4], &[30, 0, 0, 0, 1, 0, 0, 0]].concat();
    header.resize(32, 0);
    header
}

/// What a decoder makes of a file.
struct Decoded {
    /// A checksum of each picture.
    pictures: Vec<String>,
    /// Everything that it wrote about it.
    complaints: String,
}

fn decode(path: &Path, codec: Codec) -> Decoded {
    let format = if codec == Codec::H264 { "h264" } else { "ivf" };
    let output = Command::new(ffmpeg())
        .args(["-nostdin", "-v", "warning", "-xerror", "-err_detect", "explode", "-f", format, "-i"])
        .arg(path)
        .args(["-fps_mode", "passthrough", "-f", "framecrc", "-"])
        .output()
        .unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    let checksum = |line: &str| line.rsplit(',').next().unwrap().to_owned();
    Decoded {
        pictures: listed.lines().filter(|line| !line.starts_with('#')).map(checksum).collect(),
        complaints: String::from_utf8(output.stderr).unwrap(),
    }
}

fn ffmpeg() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin/python");
    assert!(python.exists(), "imageio-ffmpeg is missing: run `make setup`");
    let script = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
    let output = Command::new(python).args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "imageio-ffmpeg is missing: run `make setup`");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("nearcast-layer-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn layer(codec: Codec, halvings: usize, bitrate_bps: u64, gop_frames: u32) -> Layer {
    let budget = budget::Config { bitrate_bps, frames_per_second: 30, gop_frames, seed: 3 };
    Layer::new(Config { codec, halvings, budget }).unwrap()
}
