//! `Sun 02:00-05:00 Europe/Berlin`: read, and resolved into instants. No clock: from when on is an argument.
use crate::model::Timestamp;
use jiff::{
    ToSpan,
    civil::{Date, DateTime, Time, Weekday},
    tz::{AmbiguousOffset, Offset, TimeZone},
};
use serde::{Serialize, Serializer};

/// So far ahead windows are resolved; a run that waits longer is resumed from a new plan.
const DAYS: i64 = 5 * 7;
const WEEK: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

/// `[DAYS] HH:MM-HH:MM [ZONE]`. Days are `Sun`, `Mon-Fri` or `Sat,Sun`, every day where none is said; the zone is UTC where none is said.
/// An end at or before the begin is on the next day.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    pub text: String,
    days: Vec<Weekday>,
    opens: Time,
    closes: Time,
    zone: TimeZone,
}
impl Serialize for Window {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

/// A window with its `[opens, closes)` instants.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    pub text: String,
    pub open: Vec<(Timestamp, Timestamp)>,
}

/// Every window's instants for the next five weeks, the one that is open now included.
pub fn windows(windows: &[Window], now: Timestamp) -> Vec<Opening> {
    windows.iter().map(|w| Opening { text: w.text.clone(), open: w.open(now) }).collect()
}

impl Window {
    pub fn parse(text: &str) -> Result<Window, String> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let days = match words.first() {
            Some(word) if !word.contains(':') => days(words.remove(0))?,
            _ => WEEK.iter().map(|(_, day)| *day).collect(),
        };
        let (span, zone) = match words[..] {
            [span] => (span, "UTC"),
            [span, zone] => (span, zone),
            _ => return Err(format!("`{text}` is not a window: days, times and a time zone are expected")),
        };
        let (opens, closes) = span.split_once('-').ok_or_else(|| format!("`{span}` is not two times: use 02:00-05:00"))?;
        let (opens, closes) = (clock(opens, false)?, clock(closes, true)?);
        Ok(Window { text: text.to_owned(), days, opens, closes, zone: zone_named(zone)? })
    }

    fn open(&self, now: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let today = now.to_zoned(self.zone.clone()).date();
        // From the day before: a window over midnight may be open now.
        let dates = (-1..=DAYS).filter_map(|ahead| today.checked_add(ahead.days()).ok()).filter(|date| self.days.contains(&date.weekday()));
        dates.filter_map(|date| self.on(date)).filter(|(opens, closes)| *closes > now && opens < closes).collect()
    }

    fn on(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        let end = if self.closes <= self.opens { date.tomorrow().ok()? } else { date };
        Some((instant(&self.zone, date.to_datetime(self.opens))?, instant(&self.zone, end.to_datetime(self.closes))?))
    }
}

/// When the clock on that wall first shows this time. A time that spring leaps over is the leap itself, so that a window neither opens before
/// nor closes after what is written; an hour that autumn has twice is its first.
fn instant(zone: &TimeZone, at: DateTime) -> Option<Timestamp> {
    let utc = |offset: Offset| offset.to_timestamp(at).ok();
    match zone.to_ambiguous_timestamp(at).offset() {
        AmbiguousOffset::Unambiguous { offset } => utc(offset),
        AmbiguousOffset::Fold { before, .. } => utc(before),
        AmbiguousOffset::Gap { before, after } => {
            let (early, late) = (utc(after)?, utc(before)?);
            zone.following(early).next().map(|leap| leap.timestamp()).filter(|leap| *leap <= late).or(Some(late))
        }
    }
}

fn clock(text: &str, end: bool) -> Result<Time, String> {
    let wrong = || format!("`{text}` is not a time of day: use 02:00 to 23:59");
    let two = |part: &str| (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<i8>().ok()).flatten();
    let (hour, minute) = text.split_once(':').and_then(|(h, m)| Some((two(h)?, two(m)?))).ok_or_else(wrong)?;
    if end && (hour, minute) == (24, 0) {
        return Ok(Time::midnight());
    }
    Time::new(hour, minute, 0, 0).map_err(|_| wrong())
}

fn days(text: &str) -> Result<Vec<Weekday>, String> {
    let index = |name: &str| {
        let known = || format!("`{name}` is not a weekday: use {}", WEEK.map(|(short, _)| short).join(", "));
        WEEK.iter().position(|(short, _)| name.eq_ignore_ascii_case(short)).ok_or_else(known)
    };
    let mut out = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (index(first)?, index(last)?);
        out.push(WEEK[day].1);
        while day != last {
            day = (day + 1) % WEEK.len();
            out.push(WEEK[day].1);
        }
    }
    Ok(out)
}

fn zone_named(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| match jiff::tz::db().available().next() {
        // A container without tzdata knows no zone at all: that is not the playbook's fault.
        None => format!("no time zones are known on this machine, so not `{name}` either: install tzdata"),
        Some(_) => format!("no time zone is called `{name}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, now: &str, expect: &[&str]) {
        let got = windows(&[Window::parse(text).unwrap()], now.parse().unwrap()).remove(0);
        let shown: Vec<String> = got.open.iter().take(expect.len()).map(|(a, b)| format!("{a}/{b}")).collect();
        assert_eq!((shown, got.text.as_str()), (expect.iter().map(|s| s.to_string()).collect(), text), "from {now}");
    }

    #[test]
    fn five_weeks_ahead_and_what_is_open_now() {
        let five = Window::parse("Sun 02:00-05:00 Europe/Berlin").unwrap().open("2026-11-21T12:00:00Z".parse().unwrap());
        assert_eq!(five.len(), 5);
        check("Sun 02:00-05:00 Europe/Berlin", "2026-11-22T03:59:59Z", &["2026-11-22T01:00:00Z/2026-11-22T04:00:00Z"]);
        // It closes at that very second.
        check("Sun 02:00-05:00 Europe/Berlin", "2026-11-22T04:00:00Z", &["2026-11-29T01:00:00Z/2026-11-29T04:00:00Z"]);
    }

    #[test]
    fn over_midnight_over_the_week_and_every_day() {
        check("Mon-Fri 22:00-02:00 UTC", "2026-11-21T01:00:00Z", &["2026-11-20T22:00:00Z/2026-11-21T02:00:00Z", "2026-11-23T22:00:00Z/2026-11-24T02:00:00Z"]);
        check("Sat-Mon 01:00-02:00", "2026-11-22T12:00:00Z", &["2026-11-23T01:00:00Z/2026-11-23T02:00:00Z", "2026-11-28T01:00:00Z/2026-11-28T02:00:00Z"]);
        check("22:00-06:00 America/New_York", "2026-11-21T04:00:00Z", &["2026-11-21T03:00:00Z/2026-11-21T11:00:00Z"]);
        check("sat,sun 00:00-24:00", "2026-11-21T05:00:00Z", &["2026-11-21T00:00:00Z/2026-11-22T00:00:00Z", "2026-11-22T00:00:00Z/2026-11-23T00:00:00Z"]);
    }

    #[test]
    fn spring_and_autumn() {
        // Berlin falls back on 25 October 2026 at 03:00 summer time and leaps on 28 March 2027 at 02:00.
        check("Sun 02:00-05:00 Europe/Berlin", "2026-10-24T00:00:00Z", &["2026-10-25T00:00:00Z/2026-10-25T04:00:00Z"]);
        check("Sun 01:00-05:00 Europe/Berlin", "2027-03-27T00:00:00Z", &["2027-03-28T00:00:00Z/2027-03-28T03:00:00Z"]);
        // Half past two does not exist that day: the leap is the end, and the begin.
        check("Sun 01:00-02:30 Europe/Berlin", "2027-03-27T00:00:00Z", &["2027-03-28T00:00:00Z/2027-03-28T01:00:00Z"]);
        check("Sun 02:30-05:00 Europe/Berlin", "2027-03-27T00:00:00Z", &["2027-03-28T01:00:00Z/2027-03-28T03:00:00Z"]);
        // All of it is leapt over: that Sunday has none.
        check("Sun 02:00-03:00 Europe/Berlin", "2027-03-27T00:00:00Z", &["2027-04-04T00:00:00Z/2027-04-04T01:00:00Z"]);
        check("Sat 22:00-02:30 Europe/Berlin", "2027-03-27T22:00:00Z", &["2027-03-27T21:00:00Z/2027-03-28T01:00:00Z"]);
    }

    #[test]
    fn what_is_no_window() {
        let says = |text: &str, what: &str| assert!(Window::parse(text).unwrap_err().contains(what), "{text}: {:?}", Window::parse(text));
        says("", "is not a window");
        says("Sun", "is not a window");
        says("Sunday 02:00-05:00", "`Sunday` is not a weekday");
        says("Sun 02:00", "is not two times");
        says("Sun 2:00-05:00", "`2:00` is not a time");
        says("Sun 02:00-25:00", "`25:00` is not a time");
        says("Sun 24:00-02:00", "`24:00` is not a time");
        says("Sun 02:00-05:60", "`05:60` is not a time");
        says("Sun 02:00-05:00 Europe/Berlni", "no time zone is called `Europe/Berlni`");
        says("Sun 02:00-05:00 UTC UTC", "is not a window");
    }
}
