//! Which snapshot a person means by what they typed. Dates are of the caller's local time and are turned into moments here;
//! everything else goes to the keeper as it is.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::fault::{Exit, Fault};

/// What the keeper is asked for: `latest`, a number, the start of an id, or `@SECONDS` (the newest taken at or before that moment).
///
/// A day or minute that was named includes all of itself: `2026-11-20` finds a snapshot of that evening.
pub fn snapshot_wish(typed: &str, zone: &TimeZone) -> Result<String, Fault> {
    let typed = typed.trim();
    if !looks_like_a_date(typed) {
        return Ok(typed.to_owned());
    }
    let moment = last_second(typed)
        .and_then(|local| local.to_zoned(zone.clone()).ok())
        .map(|zoned| zoned.timestamp().as_second());
    match moment {
        Some(seconds) => Ok(format!("@{seconds}")),
        None => Err(Fault::new(
            format!("\"{typed}\" is no day or time"),
            "Nothing was written.",
            "Write it like 2026-11-20, 2026-11-20T14:00 or 2026-11-20T14:00:30; or give a number or an ID from `reserve snapshots`.",
        )
        .exit(Exit::Usage)),
    }
}

/// Numbers and ids have no dash.
fn looks_like_a_date(typed: &str) -> bool {
    typed.contains('-') && typed.starts_with(|first: char| first.is_ascii_digit())
}

/// The last second of the day, minute or second that is named.
fn last_second(typed: &str) -> Option<DateTime> {
    let Some((day, time)) = typed.split_once(['T', 't', ' ']) else {
        return Some(typed.parse::<Date>().ok()?.at(23, 59, 59, 0));
    };
    let day: Date = day.parse().ok()?;
    let mut parts = time.split(':');
    let mut part = |max: i8| {
        parts.next().map(|text| {
            let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<i8> = text.parse().ok().filter(|_| plain);
            number.filter(|number| *number <= max)
        })
    };
    let hour = part(23)??;
    let minute = part(59)??;
    let second = part(59).unwrap_or(Some(59))?;
    parts
        .next()
        .is_none()
        .then(|| day.at(hour, minute, second, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(typed: &str) -> Option<String> {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        snapshot_wish(typed, &zone).ok()
    }

    #[test]
    fn a_day_or_minute_is_meant_to_its_end_in_local_time() {
        // 2026-11-20T00:00:00Z
        let midnight = 1_795_132_800_i64;
        let at = |seconds: i64| Some(format!("@{}", midnight - 2 * 3600 + seconds));
        assert_eq!(wish("2026-11-20"), at(24 * 3600 - 1));
        assert_eq!(wish("2026-11-20T14:00"), at(14 * 3600 + 59));
        assert_eq!(wish("2026-11-20 14:00"), at(14 * 3600 + 59));
        assert_eq!(wish("2026-11-20T14:00:07"), at(14 * 3600 + 7));
    }

    #[test]
    fn what_is_no_date_goes_on_as_it_is_and_a_bad_date_is_refused() {
        for same in ["latest", "7", "deadbeef", "20261120", "@5"] {
            assert_eq!(wish(same).as_deref(), Some(same));
        }
        for bad in [
            "2026-13-01",
            "2026-11-31",
            "2026-11-20T25:00",
            "2026-11-20T1:00",
            "2026-11-20T",
            "2026-11-20T14:00:00:00",
            "2026-11",
            "2026-11-20T14:+1",
        ] {
            assert_eq!(wish(bad), None, "{bad}");
        }
    }
}
