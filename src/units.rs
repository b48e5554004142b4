//! Quantities as people write them in a configuration: `"200ms"`, `"30s"`, `"5m"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration with its unit: `ms`, `s`, `m` or `h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub Duration);

/// Why a text is no duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a duration is a whole number and one of ms, s, m, h")]
pub(crate) struct SpanError;

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let end = text.find(|letter: char| !letter.is_ascii_digit()).ok_or(SpanError)?;
        let (number, unit) = text.split_at_checked(end).ok_or(SpanError)?;
        let number: u64 = number.parse().map_err(|_| SpanError)?;
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or(SpanError)?;
        Ok(Self(Duration::from_millis(number.checked_mul(*millis).ok_or(SpanError)?)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let whole = UNITS.iter().find(|(_, unit)| millis != 0 && millis.is_multiple_of(u128::from(*unit)));
        let (name, unit) = whole.unwrap_or(&("ms", 1));
        write!(formatter, "{}{name}", millis / u128::from(*unit))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Units and their milliseconds, largest first.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_with_their_unit() {
        for text in ["200ms", "1500ms", "30s", "5m", "2h", "0ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("90s".parse::<Span>().unwrap().0, Duration::from_secs(90));
    }

    #[test]
    fn a_number_without_a_unit_is_no_duration() {
        for bad in
            ["", "30", "s", "1.5s", "-1s", "30 parsecs", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(bad.parse::<Span>(), Err(SpanError), "{bad}");
        }
    }
}
