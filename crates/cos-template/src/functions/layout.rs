//! Go's layouts for dates: the parts of `Mon Jan 2 15:04:05 MST 2006`, whatever their order.

use crate::limits::{Buffer, Outcome};
use time::OffsetDateTime;

/// What a layout can hold, beside fractions of seconds.
const PARTS: [&str; 34] = [
    "January",
    "Jan",
    "Monday",
    "Mon",
    "MST",
    "2006",
    "002",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "15",
    "1",
    "2",
    "_2006",
    "_2",
    "__2",
    "3",
    "4",
    "5",
    "PM",
    "pm",
    "-070000",
    "-07:00:00",
    "-0700",
    "-07:00",
    "-07",
    "Z070000",
    "Z07:00:00",
    "Z0700",
    "Z07:00",
    "Z07",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// RFC 3339 with as many decimals as needed, as Go writes times in JSON.
pub(super) fn rfc3339(time: OffsetDateTime) -> String {
    let mut text = Buffer::unbounded();
    // The buffer has room for any date.
    let written = format(time, "2006-01-02T15:04:05.999999999Z07:00", &mut text);
    written.map(|()| text.text).unwrap_or_default()
}

/// Writes a time by a layout.
pub(crate) fn format(time: OffsetDateTime, layout: &str, out: &mut Buffer) -> Outcome<()> {
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        match part_at(rest) {
            Some("_2006") => {
                out.push("_")?;
                out.push(&part(time, "2006"))?;
                rest = &rest["_2006".len()..];
            }
            Some(found) if found.starts_with(['.', ',']) => {
                let digits = found.len() - 1;
                out.push(&fraction(time, found, digits))?;
                rest = &rest[found.len()..];
            }
            Some(found) => {
                out.push(&part(time, found))?;
                rest = &rest[found.len()..];
            }
            None => {
                out.push_char(c)?;
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    Ok(())
}

/// The part that `layout` starts with.
fn part_at(layout: &str) -> Option<&str> {
    if layout.starts_with(['.', ',']) {
        let digit = layout[1..]
            .chars()
            .next()
            .filter(|c| matches!(c, '0' | '9'))?;
        let digits = layout[1..].chars().take_while(|&c| c == digit).count();
        let ends = !layout[1 + digits..].starts_with(|c: char| c.is_ascii_digit());
        return ends.then_some(&layout[..=digits]);
    }
    let longest = PARTS.iter().filter(|part| layout.starts_with(**part));
    let found = longest.max_by_key(|part| part.len())?;
    let rest = &layout[found.len()..];
    // `Jan` and `Mon` are not the beginning of another word.
    let in_word =
        matches!(*found, "Jan" | "Mon") && rest.starts_with(|c: char| c.is_ascii_lowercase());
    (!in_word).then_some(&layout[..found.len()])
}

fn fraction(time: OffsetDateTime, part: &str, digits: usize) -> String {
    let nanoseconds = format!("{:09}", time.nanosecond());
    let shown = &nanoseconds[..digits.min(9)];
    if part.ends_with('0') {
        return format!("{}{shown}", &part[..1]);
    }
    match shown.trim_end_matches('0') {
        "" => String::new(),
        shown => format!("{}{shown}", &part[..1]),
    }
}

fn part(time: OffsetDateTime, part: &str) -> String {
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let month = u8::from(time.month());
    let month_name = MONTHS[usize::from(month.clamp(1, 12)) - 1];
    let weekday = time.weekday().to_string();
    match part {
        "January" => month_name.to_owned(),
        "Jan" => month_name[..3].to_owned(),
        "Monday" => weekday,
        "Mon" => weekday[..3].to_owned(),
        "MST" => "UTC".to_owned(),
        "2006" => format!("{:04}", time.year()),
        "06" => format!("{:02}", time.year().rem_euclid(100)),
        "002" => format!("{:03}", time.ordinal()),
        "__2" => format!("{:3}", time.ordinal()),
        "01" => format!("{month:02}"),
        "1" => month.to_string(),
        "02" => format!("{:02}", time.day()),
        "_2" => format!("{:2}", time.day()),
        "2" => time.day().to_string(),
        "15" => format!("{:02}", time.hour()),
        "03" => format!("{hour12:02}"),
        "3" => hour12.to_string(),
        "04" => format!("{:02}", time.minute()),
        "4" => time.minute().to_string(),
        "05" => format!("{:02}", time.second()),
        "5" => time.second().to_string(),
        "PM" => if time.hour() < 12 { "AM" } else { "PM" }.to_owned(),
        "pm" => if time.hour() < 12 { "am" } else { "pm" }.to_owned(),
        "-070000" => "+000000".to_owned(),
        "-07:00:00" => "+00:00:00".to_owned(),
        "-0700" => "+0000".to_owned(),
        "-07:00" => "+00:00".to_owned(),
        "-07" => "+00".to_owned(),
        _ => "Z".to_owned(),
    }
}
