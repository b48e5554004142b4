//! The closed set of words by which a session is explained, each with its sentence and what to do.
//!
//! The words are public: programs act on them, pages show the sentences. A new word is a new line in
//! `docs/protocol.md`, and a test compares the two.

use serde::{Serialize, Serializer};
use sfu::allocator::Reason as Allocated;
use sfu::bwe::Limiter;

/// Why a session, or one layer of it, is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The media path does not stand yet.
    Connecting,
    /// Nobody publishes into the room.
    NoPublisher,
    /// No picture is sent that the viewer can have.
    NoLayer,
    /// The viewer's TCP socket is full.
    Blocked,
    /// The viewer is being brought to the live edge.
    CatchingUp,
    /// The layer that was granted begins with its next keyframe.
    AwaitingKeyframe,
    /// The layer that was asked for by name is not being sent.
    NotSent,
    /// The layer that is wanted rested while nobody wanted it, and begins again.
    Waking,
    /// The viewer gets the best there is.
    Best,
    /// The viewer asked for no more.
    Wish,
    /// The viewer asked for this layer, and the path hardly carries it.
    WishAbovePath,
    /// The viewer asked for a pause.
    Paused,
    /// One picture is sent only, and the path hardly carries it.
    OnlyLayer,
    /// More is not proved to fit.
    Path,
    /// More fits, and has to for a while.
    Confirming,
    /// A step up failed lately.
    BackingOff,
    /// Not even the lowest layer fits at its full frame rate.
    ReducedFrameRate,
    /// No picture fits.
    AudioOnly,
    /// What the publisher sends arrives.
    Arrives,
    /// The publisher has sent neither sound nor picture.
    NoMedia,
    /// The publisher has not begun with this layer.
    NeverSent,
    /// The publisher has stopped sending this layer.
    Stopped,
    /// Nobody wants this layer, and the publisher was told so.
    NotWanted,
    /// Packets are lost between publisher and server.
    Loss,
    /// Keyframes are too far apart for instant joins, and do not come on request.
    KeyframesRare,
}

impl Reason {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 25] = [
        Self::Connecting,
        Self::NoPublisher,
        Self::NoLayer,
        Self::Blocked,
        Self::CatchingUp,
        Self::AwaitingKeyframe,
        Self::NotSent,
        Self::Waking,
        Self::Best,
        Self::Wish,
        Self::WishAbovePath,
        Self::Paused,
        Self::OnlyLayer,
        Self::Path,
        Self::Confirming,
        Self::BackingOff,
        Self::ReducedFrameRate,
        Self::AudioOnly,
        Self::Arrives,
        Self::NoMedia,
        Self::NeverSent,
        Self::Stopped,
        Self::NotWanted,
        Self::Loss,
        Self::KeyframesRare,
    ];

    /// Returns the word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Returns the sentence.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.row().1
    }

    /// Returns what to do, where there is something to do.
    #[must_use]
    pub const fn hint(self) -> Option<&'static str> {
        self.row().2
    }

    #[rustfmt::skip]
    const fn row(self) -> (&'static str, &'static str, Option<&'static str>) {
        match self {
            Self::Connecting => ("connecting", "The media path to the server does not stand yet.", Some("If this lasts, a firewall may be in the way: the server needs its UDP port, or TCP on the port of this page.")),
            Self::NoPublisher => ("no-publisher", "Nobody is live in this room at the moment.", Some("The picture begins by itself when the host comes back.")),
            Self::NoLayer => ("no-layer", "No picture is being sent that your player can show.", Some("If the host is live, their camera may be off, or they use a codec that this browser does not have.")),
            Self::Blocked => ("blocked", "Your connection takes nothing at the moment; the picture waits for it.", Some("A network that lets UDP through plays more smoothly than TCP.")),
            Self::CatchingUp => ("catching-up", "You are being brought to the live edge.", None),
            Self::AwaitingKeyframe => ("awaiting-keyframe", "Another picture was chosen for you, and begins with its next keyframe.", Some("If this lasts for seconds, the host should set a keyframe interval of 1 or 2 seconds.")),
            Self::NotSent => ("not-sent", "You asked for a quality that the host does not send at the moment.", Some("You get the best of the others. Choose automatic, or another quality.")),
            Self::Waking => ("waking", "A better picture rested while nobody watched it, and is being started for you.", None),
            Self::Best => ("best", "This is the best picture that is being sent.", None),
            Self::Wish => ("wish", "You asked for no more than this.", Some("Choose automatic to get the best that your connection carries.")),
            Self::WishAbovePath => ("wish-above-path", "You asked for this picture, and your connection hardly carries it.", Some("Choose automatic if it stutters.")),
            Self::Paused => ("paused", "You paused.", Some("Play to go on.")),
            Self::OnlyLayer => ("only-layer", "One picture is being sent only, and your connection hardly carries it.", Some("If it stutters, the host can help by sending more than one quality.")),
            Self::Path => ("path", "Your connection has not shown that it carries more.", Some("Nearer to the access point, by cable, or with fewer other downloads it may carry more.")),
            Self::Confirming => ("confirming", "Your connection carries more, and a better picture comes in a moment.", None),
            Self::BackingOff => ("backing-off", "A better picture was tried a moment ago, and your connection did not carry it.", Some("It is tried again by itself.")),
            Self::ReducedFrameRate => ("reduced-frame-rate", "Your connection carries only a part of the frames.", Some("Nearer to the access point, by cable, or with fewer other downloads it may carry more.")),
            Self::AudioOnly => ("audio-only", "Your connection carries sound only.", Some("The picture comes back by itself when the connection carries it.")),
            Self::Arrives => ("arrives", "What you send arrives at the server.", None),
            Self::NoMedia => ("no-media", "You are connected, but neither sound nor picture has arrived.", Some("Is the camera on, and does its preview move?")),
            Self::NeverSent => ("never-sent", "Your encoder has not begun to send this quality.", Some("Browsers begin with the small ones and add the large ones as upload and processor allow. If it stays away, send a smaller picture or fewer qualities.")),
            Self::Stopped => ("stopped", "Your encoder has stopped sending this quality.", Some("Upload or processor do not carry it: close other programs, use a cable, or send a smaller picture.")),
            Self::NotWanted => ("not-wanted", "Nobody watches this quality, so your studio rests it.", Some("It starts again by itself when somebody wants it.")),
            Self::Loss => ("loss", "Packets are lost between you and the server.", Some("Use a cable, or come nearer to the access point. A lower bitrate helps too.")),
            Self::KeyframesRare => ("keyframes-rare", "Keyframes come so rarely that viewers wait for their first picture.", Some("Set the keyframe interval of the encoder to 1 or 2 seconds.")),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl From<Allocated> for Reason {
    fn from(reason: Allocated) -> Self {
        match reason {
            Allocated::Best => Self::Best,
            Allocated::Wish => Self::Wish,
            Allocated::WishAbovePath => Self::WishAbovePath,
            Allocated::Paused => Self::Paused,
            Allocated::OnlyLayer => Self::OnlyLayer,
            Allocated::Path => Self::Path,
            Allocated::Confirming => Self::Confirming,
            Allocated::BackingOff => Self::BackingOff,
            Allocated::ReducedFrameRate => Self::ReducedFrameRate,
            Allocated::AudioOnly => Self::AudioOnly,
            Allocated::NoLayer => Self::NoLayer,
        }
    }
}

/// Says as a sentence what keeps an estimate from being more.
pub(crate) const fn limiter_text(limiter: Limiter) -> &'static str {
    match limiter {
        Limiter::Start => "Nothing is known of your connection yet.",
        Limiter::Delay => "With more, a queue grows on the way to you.",
        Limiter::Loss => "With more, packets are lost on the way to you.",
        Limiter::Probe => "More was tried and did not pass, or less was enough.",
        Limiter::Application => "Your connection may carry more than there is to send.",
        Limiter::Remb => "Your player says so.",
        Limiter::Silence => "Your player has stopped to report what arrives.",
        Limiter::Unreported => "Your player does not report what arrives, so this goes by what is lost.",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_word_and_a_sentence_of_its_own() {
        let words: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        let texts: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.text()).collect();

        assert_eq!((words.len(), texts.len()), (Reason::ALL.len(), Reason::ALL.len()));
        for reason in Reason::ALL {
            let word = reason.as_str();
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{word}");
            assert!(reason.text().ends_with('.'), "{word}: a sentence ends");
            assert!(reason.hint().is_none_or(|hint| hint.ends_with(['.', '?'])), "{word}: so does a hint");
        }
    }

    #[test]
    fn the_documentation_lists_every_reason_and_no_other() {
        let documentation = include_str!("../../../docs/protocol.md");
        let table = documentation.split("### Reasons\n").nth(1).expect("the section of reasons");
        let table = table.split("\n#").next().unwrap_or_default();

        let listed: BTreeSet<&str> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .filter_map(|line| line.split('`').next())
            .collect();

        let known: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(listed, known);
    }
}
