//! Time: wall-clock instants, spans as people write them, and the one door to the clock.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr, time::Duration};

pub use jiff::Timestamp;

/// The only way to the wall clock. `cli` owns the system's; the simulation one that follows a paused clock.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// How long after `earlier` is `later`? Zero when a clock stepped back.
pub fn since(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

/// A time span as written in TOML: `"10m"`, `"90s"`, `"1h30m"`, `"90d"`, `"250ms"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

/// Longest first, so that `ms` is not read as `m`.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1000)];

impl Span {
    pub const fn seconds(n: u64) -> Span {
        Span(Duration::from_secs(n))
    }
    pub const fn minutes(n: u64) -> Span {
        Span(Duration::from_secs(n * 60))
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Span, String> {
        let wrong = || format!("`{text}` is not a time span: use \"10m\", \"90s\", \"1h30m\"");
        let mut rest = text;
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let n: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            let (unit, ms) = UNITS.iter().find(|(unit, _)| rest[digits..].starts_with(unit)).ok_or_else(wrong)?;
            total = n.checked_mul(*ms).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
            rest = &rest[digits + unit.len()..];
        }
        // A year is longer than any maintenance; past it arithmetic on instants is not safe.
        if text.is_empty() || total > 366 * 86_400_000 { Err(wrong()) } else { Ok(Span(Duration::from_millis(total))) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_millis() as u64;
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if left >= ms {
                write!(f, "{}{unit}", left / ms)?;
                left %= ms;
            }
        }
        Ok(())
    }
}
impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Span, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}
impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// `[time] scale` of the lab: every span the engine waits is multiplied by it. 1 on real machines.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimeScale(pub f64);

impl Default for TimeScale {
    fn default() -> TimeScale {
        TimeScale(1.0)
    }
}
impl TimeScale {
    pub fn of(self, span: Span) -> Duration {
        span.0.mul_f64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown_as_people_write_them() {
        for text in ["10m", "90d", "1h30m", "250ms", "1d2h3m4s5ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("90s".parse::<Span>().unwrap(), Span::seconds(90));
        for text in ["", "10", "10x", "m", "-1s", "1.5h", "10 m", "99999999999999999999s", "9999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
