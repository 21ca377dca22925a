//! URLs: which are accepted, where redirects lead, and how they are shown.

use crate::HttpError;
use ureq::http::Uri;

/// The longest URL that is used, in bytes.
const MAX_URL: usize = 8 << 10;

/// The URL without what may be secret: user information, query and fragment. For messages.
pub fn redact(url: &str) -> String {
    let (rest, query) = match url.find(['?', '#']) {
        Some(at) if url[at..].starts_with('?') => (&url[..at], "?..."),
        Some(at) => (&url[..at], ""),
        None => (url, ""),
    };
    let shown: String = match rest.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority
                .rsplit_once('@')
                .map_or(authority, |(_, host)| host);
            format!("{scheme}://{host}{path}{query}")
        }
        None => format!("{rest}{query}"),
    };
    let clean = shown.chars().filter(|c| !c.is_control());
    clean.take(500).collect()
}

/// Takes a URL of `http` or `https` with a host.
pub(crate) fn parse(url: &str) -> Result<Uri, HttpError> {
    let bad = |reason| HttpError::BadUrl {
        url: redact(url),
        reason,
    };
    if url.len() > MAX_URL {
        return Err(bad("it is too long"));
    }
    let uri: Uri = url.parse().map_err(|_| bad("that is not a URL"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(bad("only http and https are spoken")),
    }
    match uri.host() {
        Some(host) if !host.is_empty() => Ok(uri),
        _ => Err(bad("it names no host")),
    }
}

/// Whether both are the same scheme, host and port, so that credentials for one are for the other.
pub(crate) fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| {
        let default = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        uri.port_u16().unwrap_or(default)
    };
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// Where a `Location` leads from `at` (RFC 9110, 10.2.2; RFC 3986, 5.2, without the removal of dot
/// segments, which servers do as well).
pub(crate) fn follow(at: &Uri, location: &str) -> Result<Uri, HttpError> {
    let refused = |reason| HttpError::Redirect {
        url: redact(&at.to_string()),
        reason,
    };
    let scheme = at.scheme_str().unwrap_or("https");
    let authority = at.authority().map_or("", |authority| authority.as_str());
    let path = at.path();
    let absolute = if location.is_empty() {
        return Err(refused("it is redirected to nowhere"));
    } else if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{path}{location}")
    } else {
        let directory = &path[..=path.rfind('/').unwrap_or(0)];
        format!("{scheme}://{authority}{directory}{location}")
    };
    let to = parse(&absolute)?;
    if scheme == "https" && to.scheme_str() != Some("https") {
        return Err(refused("it is redirected from https to plain http"));
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        assert_eq!(redact("https://u:p@h:1/a?token=b#c"), "https://h:1/a?...");
        assert_eq!(redact("https://u:p@h"), "https://h");
        assert_eq!(redact("http://h/a@b#t"), "http://h/a@b");
        assert_eq!(redact("nonsense?x=1"), "nonsense?...");
        assert_eq!(redact("http://h/\x1b[31m\n"), "http://h/[31m");
    }

    #[test]
    fn only_http_with_a_host_is_taken() {
        assert!(parse("http://h").is_ok());
        assert!(parse("https://[fe80::1]:8443/x?y").is_ok());
        for bad in [
            "",
            "/x",
            "h/x",
            "file:///etc/passwd",
            "ftp://h/",
            "http://",
            "http://h/a b",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("http://h/{}", "a".repeat(MAX_URL))).is_err());
    }

    #[test]
    fn redirects_lead_where_rfc_3986_says() {
        let at = parse("https://a.example/v2/x?y=1").unwrap();
        let to = |location: &str| follow(&at, location).map(|uri| uri.to_string()).ok();
        assert_eq!(to("/z?a=b").unwrap(), "https://a.example/z?a=b");
        assert_eq!(to("z").unwrap(), "https://a.example/v2/z");
        assert_eq!(to("?q").unwrap(), "https://a.example/v2/x?q");
        assert_eq!(to("//cdn.example/z").unwrap(), "https://cdn.example/z");
        assert_eq!(to("https://b.example/").unwrap(), "https://b.example/");
        assert_eq!(to("http://a.example/"), None);
        assert_eq!(to("file:///etc/passwd"), None);
        assert_eq!(to(""), None);
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| same_origin(&parse(a).unwrap(), &parse(b).unwrap());
        assert!(same("https://a/x", "https://A:443/y"));
        assert!(same("http://u:p@a/x", "http://a/y"));
        assert!(!same("https://a/", "https://a:444/"));
        assert!(!same("https://a/", "http://a/"));
        assert!(!same("https://a/", "https://b/"));
    }
}
