//! `Retry-After`, in seconds or as a date. A date is compared with the answer's own `Date`: the BMC's clock may be in 1970.
use jiff::fmt::rfc2822;
use reqwest::header::{self, HeaderMap};
use std::time::Duration;

/// Longer is not believed: some say an hour and mean a minute.
const MOST: Duration = Duration::from_secs(120);

pub fn after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let said = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = said.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(MOST));
    }
    let date = |text| rfc2822::parse(text).ok().map(|z| z.timestamp());
    let wait = date(said)?.duration_since(date(text(header::DATE)?)?);
    Some(Duration::try_from(wait).unwrap_or_default().min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_up_to_two_minutes() {
        let headers = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let check = |pairs: &[(&'static str, &str)], seconds: Option<u64>| assert_eq!(after(&headers(pairs)), seconds.map(Duration::from_secs), "{pairs:?}");
        check(&[], None);
        check(&[("retry-after", "17")], Some(17));
        check(&[("retry-after", "99999999999")], Some(120));
        check(&[("retry-after", "soon")], None);
        check(&[("retry-after", "-1")], None);
        check(&[("date", "Thu, 01 Jan 1970 00:00:10 GMT"), ("retry-after", "Thu, 01 Jan 1970 00:00:40 GMT")], Some(30));
        check(&[("date", "Thu, 01 Jan 1970 00:01:00 GMT"), ("retry-after", "Thu, 01 Jan 1970 00:00:40 GMT")], Some(0));
        check(&[("retry-after", "Thu, 01 Jan 1970 00:00:40 GMT")], None);
    }
}
