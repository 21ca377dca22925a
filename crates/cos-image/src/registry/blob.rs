//! A blob as a stream that survives the loss of its connection.

use super::client::{Client, Get};
use super::mirror::Endpoint;
use crate::ImageError;
use cos_events::Monitor;
use std::io::{self, Read};
use ureq::http::{Response, StatusCode, header};
use ureq::{Body, BodyReader};

/// Progress that makes a connection count as a good one again, in bytes.
const GOOD_STRETCH: u64 = 1 << 20;

/// Reads a blob of known size. When the connection is lost, the next one goes on where it stopped.
/// Failures are [`ImageError`]s wrapped into [`io::Error`].
pub(crate) struct BlobReader<'r> {
    client: &'r Client,
    monitor: &'r dyn Monitor,
    endpoint: Endpoint,
    url: String,
    size: u64,
    offset: u64,
    body: Option<BodyReader<'static>>,
    failures: u32,
    failed_at: u64,
}

impl<'r> BlobReader<'r> {
    /// Opens the blob at a place, behind its first `offset` bytes.
    pub(crate) fn open(
        client: &'r Client,
        (endpoint, url): (Endpoint, String),
        size: u64,
        offset: u64,
        monitor: &'r dyn Monitor,
    ) -> Result<Self, ImageError> {
        let mut reader = Self {
            client,
            monitor,
            endpoint,
            url,
            size,
            offset,
            body: None,
            failures: 0,
            failed_at: offset,
        };
        if offset < size || size == 0 {
            reader.connect()?;
        }
        Ok(reader)
    }

    fn connect(&mut self) -> Result<(), ImageError> {
        // A closed range: some registries answer an open one with 416.
        let range = (self.offset > 0).then(|| (self.offset, self.size - 1));
        let get = Get {
            url: &self.url,
            endpoint: &self.endpoint,
            accept: None,
            range,
        };
        let response = self.client.get(&get, self.monitor)?;
        let skip = self.starts_before(&response)?;
        let mut body = response.into_body().into_reader();
        if skip > 0 {
            // What is skipped here was hashed when it first came; the digest covers the whole.
            self.skip(&mut body, skip)?;
        }
        self.body = Some(body);
        Ok(())
    }

    /// How many bytes of the answer come before the offset: none when the range was honoured, all
    /// of them when the whole blob comes again.
    fn starts_before(&self, response: &Response<Body>) -> Result<u64, ImageError> {
        let value = |name| response.headers().get(name)?.to_str().ok();
        let wrong = |reason: &'static str| ImageError::BadRange {
            url: self.url.clone(),
            reason,
        };
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let (start, total) = value(header::CONTENT_RANGE)
                .and_then(parse_content_range)
                .ok_or_else(|| wrong("it does not say which range it sends"))?;
            if start != self.offset {
                return Err(wrong("it sends another range than was asked for"));
            }
            if total.is_some_and(|total| total != self.size) {
                return Err(wrong("its blob has another size than the manifest says"));
            }
            return Ok(0);
        }
        let length = value(header::CONTENT_LENGTH).and_then(|text| text.parse::<u64>().ok());
        match length {
            Some(actual) if actual != self.size => Err(ImageError::BlobSize {
                blob: self.url.clone(),
                expected: self.size,
                actual,
            }),
            _ => Ok(self.offset),
        }
    }

    fn skip(&self, body: &mut BodyReader<'static>, length: u64) -> Result<(), ImageError> {
        let mut left = length;
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            self.monitor.checkpoint()?;
            let step = buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = body
                .read(&mut buffer[..step])
                .map_err(|source| self.lost(source))?;
            if read == 0 {
                return Err(self.lost(io::ErrorKind::UnexpectedEof.into()));
            }
            left -= read as u64;
        }
        Ok(())
    }

    fn lost(&self, source: io::Error) -> ImageError {
        ImageError::Transfer {
            url: self.url.clone(),
            source,
        }
    }

    /// Connects again after a failure, unless there were too many in a row.
    fn reconnect(&mut self, mut error: ImageError) -> Result<(), ImageError> {
        self.body = None;
        if self.offset - self.failed_at >= GOOD_STRETCH {
            self.failures = 0;
        }
        self.failed_at = self.offset;
        loop {
            self.failures += 1;
            if self.failures > self.client.retries || !error.is_transient() {
                return Err(error);
            }
            self.client.pause(self.failures, None, self.monitor)?;
            match self.connect() {
                Ok(()) => return Ok(()),
                Err(next) => error = next,
            }
        }
    }

    fn read_some(&mut self, out: &mut [u8]) -> Result<usize, ImageError> {
        loop {
            self.monitor.checkpoint()?;
            let Some(body) = &mut self.body else {
                self.connect()?;
                continue;
            };
            let error = match body.read(out) {
                Ok(0) if self.offset < self.size => self.lost(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.offset += read as u64;
                    return Ok(read);
                }
                Err(source) => self.lost(source),
            };
            self.reconnect(error)?;
        }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        // One byte more than there should be is let through, so that the digest check sees it.
        if self.offset > self.size || out.is_empty() {
            return Ok(0);
        }
        if self.offset == self.size && self.body.is_none() {
            return Ok(0);
        }
        self.read_some(out).map_err(io::Error::other)
    }
}

/// `bytes 10-19/20`: the start, and the size unless it is `*`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((start.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_content_range("bytes 10-19/20"), Some((10, Some(20))));
        assert_eq!(parse_content_range("bytes 0-0/*"), Some((0, None)));
        for bad in [
            "",
            "bytes",
            "bytes */20",
            "items 0-1/2",
            "bytes 0-1",
            "bytes -1/2",
        ] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
