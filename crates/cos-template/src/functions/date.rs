//! Dates, all in UTC: a machine that boots has no other time zone yet.

use super::{Args, Function, Param, layout};
use crate::limits::{Fault, Outcome};
use crate::value::{Scope, Value};
use Param::{Any, Text, Time};
use time::OffsetDateTime;

const HTML: &str = "2006-01-02";

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("now", &[], |_, _| {
        Ok(Value::Time(OffsetDateTime::now_utc()))
    }),
    Function::new("date", &[Text, Any], |scope, args| {
        formatted(scope, args.text(0)?, args.at(1)?, "Local")
    }),
    Function::new("dateInZone", &[Text, Any, Text], in_zone),
    Function::new("date_in_zone", &[Text, Any, Text], in_zone),
    Function::new("htmlDate", &[Any], |scope, args| {
        formatted(scope, HTML, args.at(0)?, "Local")
    }),
    Function::new("htmlDateInZone", &[Any, Text], |scope, args| {
        formatted(scope, HTML, args.at(0)?, args.text(1)?)
    }),
    Function::new("unixEpoch", &[Time], unix_epoch),
];

fn in_zone(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    formatted(scope, args.text(0)?, args.at(1)?, args.text(2)?)
}

/// sprig takes seconds, a time, and for anything else the time it is now.
fn formatted(scope: &mut Scope<'_>, layout: &str, date: &Value, zone: &str) -> Outcome<Value> {
    if !matches!(zone, "UTC" | "" | "Local" | "GMT" | "Etc/UTC") {
        return Err(format!("time zone {zone:?}: only UTC is known").into());
    }
    let time = match date {
        Value::Time(time) => *time,
        Value::Int(seconds) | Value::Int64(seconds) => {
            OffsetDateTime::from_unix_timestamp(*seconds)
                .map_err(|_| Fault::from(format!("{seconds} is no time")))?
        }
        _ => OffsetDateTime::now_utc(),
    };
    let mut text = scope.buffer();
    layout::format(time, layout, &mut text)?;
    scope.text(text.text)
}

fn unix_epoch(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    match args.at(0)? {
        Value::Time(time) => scope.text(time.unix_timestamp().to_string()),
        value => Err(format!("a {} is no time", value.type_name()).into()),
    }
}
