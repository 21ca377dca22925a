//! What is wrong with a server's certificate, where that is a matter of time.

use rustls::CertificateError::{ExpiredContext, NotValidYetContext};
use rustls::pki_types::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Where a certificate is of another time than the machine's clock, what to look at. Machines without a battery
/// wake up years ago, and a certificate that everybody else accepts is refused.
pub(crate) fn time_trouble(error: &ureq::Error) -> Option<String> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    let rustls::Error::InvalidCertificate(refused) = error else {
        return None;
    };
    let (clock, certificate) = match refused {
        ExpiredContext { time, not_after } => {
            (time, format!("was valid until {}", text(*not_after)))
        }
        NotValidYetContext { time, not_before } => {
            (time, format!("is valid from {} on", text(*not_before)))
        }
        _ => return None,
    };
    Some(format!(
        "this machine's clock reads {}, and the server's certificate {certificate}: set the clock, if it is wrong",
        text(*clock)
    ))
}

fn text(time: UnixTime) -> String {
    let seconds = time.as_secs();
    let time = i64::try_from(seconds).ok();
    let time = time.and_then(|it| OffsetDateTime::from_unix_timestamp(it).ok());
    let text = time.and_then(|time| time.format(&Rfc3339).ok());
    text.unwrap_or_else(|| format!("{seconds} s after 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::time::Duration;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn said(refused: rustls::CertificateError) -> Option<String> {
        let error = rustls::Error::InvalidCertificate(refused);
        time_trouble(&ureq::Error::Io(io::Error::new(
            io::ErrorKind::InvalidData,
            error,
        )))
    }

    #[test]
    fn both_times_are_told_whatever_the_clock_reads() {
        for (clock, reads) in [
            (0, "1970-01-01T00:00:00Z"),
            (1 << 31, "2038-01-19T03:14:08Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
            (u64::MAX, "18446744073709551615 s after 1970"),
        ] {
            let early = said(NotValidYetContext {
                time: at(clock),
                not_before: at(1_800_000_000),
            });
            let late = said(ExpiredContext {
                time: at(clock),
                not_after: at(1_800_000_000),
            });
            for (said, wanted) in [
                (early, "is valid from 2027-01-15T08:00:00Z on"),
                (late, "was valid until 2027-01-15T08:00:00Z"),
            ] {
                let said = said.unwrap();
                assert!(said.contains(wanted) && said.contains(reads), "{said}");
            }
        }
        assert_eq!(said(rustls::CertificateError::UnknownIssuer), None);
    }
}
