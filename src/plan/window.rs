//! `Sun 02:00-05:00 Europe/Berlin` as instants, so that the engine needs no time zones.
use super::Window;
use crate::model::Timestamp;
use jiff::{ToSpan, civil::Time, civil::Weekday, tz::TimeZone};

/// Weeks ahead that are resolved; a run that lasts longer is resumed from a new plan.
const DAYS: i64 = 6 * 7;
const WEEK: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// `[days] HH:MM-HH:MM [zone]`: days as `Sun`, `Mon-Fri` or `Sat,Sun`, every day without; UTC without a zone. An end at or before the
/// start is on the next day.
pub fn resolve(text: &str, from: Timestamp) -> Result<Window, String> {
    let wrong = || format!("`{text}` is not a window: use \"Sun 02:00-05:00 Europe/Berlin\", \"Mon-Fri 22:00-04:00\"");
    let mut words = text.split_whitespace().peekable();
    let days = match words.peek() {
        Some(word) if !word.contains(':') => days(words.next().unwrap_or_default()).ok_or_else(wrong)?,
        _ => WEEK.map(|(_, day)| day).to_vec(),
    };
    let (opens, closes) = words.next().and_then(|span| span.split_once('-')).ok_or_else(wrong)?;
    let (opens, closes) = (clock(opens).ok_or_else(wrong)?, clock(closes).ok_or_else(wrong)?);
    let zone = words.next().unwrap_or("UTC");
    let zone = TimeZone::get(zone).map_err(|_| format!("`{text}`: no time zone is called {zone}"))?;
    if words.next().is_some() {
        return Err(wrong());
    }
    let today = from.to_zoned(zone.clone()).date();
    let mut open = Vec::new();
    // From the day before: a window over midnight may be open now.
    for ahead in -1..DAYS {
        let Ok(day) = today.checked_add(ahead.days()) else { continue };
        if !days.contains(&day.weekday()) {
            continue;
        }
        let end = if closes <= opens { day.checked_add(1.days()).map_err(|_| wrong())? } else { day };
        let instant = |day: jiff::civil::Date, time: Time| day.to_datetime(time).to_zoned(zone.clone()).map(|z| z.timestamp()).map_err(|_| wrong());
        let (opens, closes) = (instant(day, opens)?, instant(end, closes)?);
        // Spring may swallow a whole window.
        if closes > from && opens < closes {
            open.push((opens, closes));
        }
    }
    Ok(Window { text: text.into(), open })
}

fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let two = |part: &str| (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<i8>().ok()).flatten();
    let hour = if text == "24:00" { 0 } else { two(hour)? };
    Time::new(hour, two(minute)?, 0, 0).ok()
}

fn days(text: &str) -> Option<Vec<Weekday>> {
    let index = |name: &str| WEEK.iter().position(|(short, _)| name.eq_ignore_ascii_case(short));
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (index(first)?, index(last)?);
        loop {
            days.push(WEEK[day].1);
            if day == last {
                break;
            }
            day = (day + 1) % WEEK.len();
        }
    }
    Some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str, from: &str) -> Vec<String> {
        resolve(text, from.parse().unwrap()).unwrap().open.iter().take(2).map(|(a, b)| format!("{a}/{b}")).collect()
    }

    #[test]
    fn windows_follow_the_zone_through_a_change_of_its_clock() {
        // 25 October 2026: Berlin falls back at 03:00.
        assert_eq!(
            open("Sun 02:00-05:00 Europe/Berlin", "2026-10-20T12:00:00Z"),
            ["2026-10-25T00:00:00Z/2026-10-25T04:00:00Z", "2026-11-01T01:00:00Z/2026-11-01T04:00:00Z"]
        );
    }

    #[test]
    fn a_window_over_midnight_is_open_now() {
        assert_eq!(open("Mon-Fri 22:00-04:00", "2026-11-21T01:00:00Z")[0], "2026-11-20T22:00:00Z/2026-11-21T04:00:00Z");
        assert_eq!(open("02:00-05:00", "2026-11-21T05:00:00Z")[0], "2026-11-22T02:00:00Z/2026-11-22T05:00:00Z");
        assert_eq!(open("Sat,Sun 00:00-24:00", "2026-11-21T05:00:00Z")[0], "2026-11-21T00:00:00Z/2026-11-22T00:00:00Z");
    }

    #[test]
    fn what_is_no_window_is_said() {
        for text in ["", "Sun", "Sun 02:00", "Sonntag 02:00-05:00", "Sun 2:00-5:00", "Sun 02:00-25:00", "Sun 02:00-05:00 Mars/Base", "Sun 02:00-05:00 UTC x"] {
            assert!(resolve(text, Timestamp::UNIX_EPOCH).is_err(), "{text}");
        }
    }
}
