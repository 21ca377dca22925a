//! Downloads that go on where they were left.

use crate::client::{copy, headers};
use crate::request::header;
use crate::url::redact;
use crate::{HttpClient, HttpError, Request};
use std::io::Write;

/// A finished download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// Status of the last answer: 200, or 206 for a part.
    pub status: u16,
    /// Header fields of the last answer, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Bytes given to the sink by this call.
    pub written: u64,
}

impl Download {
    /// The first value of a header field, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// A sink that counts, so that a retry knows where to go on.
struct Counted<'s> {
    sink: &'s mut dyn Write,
    count: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.sink.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

impl HttpClient {
    /// Reads a document into `sink`, from byte `start` on (0 for all of it).
    ///
    /// A connection that breaks is made again and goes on where it broke, as long as the request's
    /// retries and deadline allow. `max_bytes` counts the whole document. A server that cannot
    /// resume is [`HttpError::Resume`]: the caller then empties the sink and starts at 0. Whether
    /// the document is the same one as yesterday's beginning is for the caller to check, by digest;
    /// within one call the server is asked (`If-Range`).
    pub fn download(
        &self,
        request: &Request<'_>,
        sink: &mut dyn Write,
        start: u64,
    ) -> Result<Download, HttpError> {
        let mut sink = Counted { sink, count: 0 };
        let mut etag: Option<String> = None;
        self.retry(request, || {
            let offset = start + sink.count;
            let range = format!("bytes={offset}-");
            let mut fields = request.headers.to_vec();
            if offset > 0 {
                fields.push(("range", &range));
                if let Some(etag) = &etag {
                    fields.push(("if-range", etag));
                }
            }
            let mut answer = self.attempt(request, &fields)?;
            let headers = headers(&answer);
            let status = answer.status().as_u16();
            if offset > 0 {
                resumes(status, header(&headers, "content-range"), offset).map_err(|reason| {
                    let url = redact(request.url);
                    HttpError::Resume {
                        url,
                        offset,
                        reason,
                    }
                })?;
            }
            // A weak tag says that two documents mean the same, not that their bytes are the same.
            etag = header(&headers, "etag")
                .filter(|etag| etag.starts_with('"'))
                .map(str::to_owned);
            let limit = request.max_bytes.saturating_sub(offset);
            copy(&mut answer, request, limit, &mut sink)?;
            Ok(Download {
                status,
                headers,
                written: sink.count,
            })
        })
    }
}

/// Whether the answer is the rest of the document from `offset` on.
fn resumes(status: u16, content_range: Option<&str>, offset: u64) -> Result<(), &'static str> {
    if status != 206 {
        return Err("the server sends the whole document");
    }
    let first = content_range
        .and_then(|range| range.trim().strip_prefix("bytes "))
        .and_then(|range| range.split_once('-'))
        .and_then(|(first, _)| first.trim().parse::<u64>().ok());
    if first == Some(offset) {
        Ok(())
    } else {
        Err("the server sends another part than the one asked for")
    }
}
