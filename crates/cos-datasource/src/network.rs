//! Metadata services on the network.

mod aws;
mod azure;
mod digitalocean;
mod gcp;
mod hetzner;
mod metaldata;
mod nocloud;
mod openstack;
mod packet;
mod scaleway;
mod vultr;

use crate::METADATA_LIMIT;
use crate::document;
use crate::endpoints::Endpoints;
use crate::error::Refusal;
use crate::provider::Provider;
use crate::seed::Seed;
use crate::user_data::UserData;
use cos_events::{Event, Monitor};
use cos_http::{HttpClient, HttpError, Response};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Attempts after the first one when nothing says that the provider is there: with the pauses
/// between them, some six seconds for a network that is still coming up.
const RETRIES: u32 = 5;

/// Tells the threads that ask to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Monitor for Stop {
    fn report(&self, _: Event) {}

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything one thread needs to ask one provider: all of it its own, so that nobody waits for it.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) provider: Provider,
    pub(crate) http: HttpClient,
    pub(crate) endpoints: Endpoints,
    pub(crate) seed: Option<Seed>,
    /// Whether the firmware names this provider: then it is worth waiting for.
    pub(crate) identified: bool,
    pub(crate) deadline: Instant,
    pub(crate) stop: Stop,
}

impl Question {
    /// Asks.
    pub(crate) fn ask(&self) -> Result<UserData, Refusal> {
        let data = match self.provider {
            Provider::Aws => aws::ask(self),
            Provider::Gcp => gcp::ask(self),
            Provider::Azure => azure::ask(self),
            Provider::OpenStack => openstack::ask(self),
            Provider::DigitalOcean => digitalocean::ask(self),
            Provider::Hetzner => hetzner::ask(self),
            Provider::Vultr => vultr::ask(self),
            Provider::Scaleway => scaleway::ask(self),
            Provider::Packet => packet::ask(self),
            Provider::Metaldata => metaldata::ask(self),
            Provider::NoCloud => nocloud::ask(self),
            Provider::Cdrom | Provider::ConfigDrive | Provider::Vmware | Provider::File => {
                Err(Refusal::Nothing)
            }
        };
        data?.finish()
    }

    fn service<'q>(&'q self, base: &'q str) -> Service<'q> {
        Service {
            question: self,
            base,
            headers: Vec::new(),
            follow_redirects: false,
            direct: true,
        }
    }
}

/// One metadata service: a base URL and the header fields it wants. Requests go past proxies, which
/// could only reach their own host's service.
struct Service<'q> {
    question: &'q Question,
    base: &'q str,
    headers: Vec<(&'q str, &'q str)>,
    follow_redirects: bool,
    direct: bool,
}

impl<'q> Service<'q> {
    /// The same service, asked with a header field.
    fn with(mut self, name: &'q str, value: &'q str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn request<'r>(&'r self, url: &'r str, limit: u64) -> cos_http::Request<'r> {
        let question = self.question;
        cos_http::Request {
            headers: &self.headers,
            deadline: question.deadline,
            retries: if question.identified {
                u32::MAX
            } else {
                RETRIES
            },
            max_bytes: limit,
            follow_redirects: self.follow_redirects,
            direct: self.direct,
            monitor: &question.stop,
            ..cos_http::Request::get(url)
        }
    }

    /// Asks; `None` when there is nothing of the name.
    fn get(&self, path: &str, limit: u64) -> Result<Option<Response>, Refusal> {
        let url = self.url(path);
        match self.question.http.send(&self.request(&url, limit)) {
            Ok(response) => Ok(Some(response)),
            Err(error) if matches!(error.status(), Some(404 | 410)) => Ok(None),
            Err(HttpError::Deadline { .. }) => Err(Refusal::Late),
            Err(error) => Err(error.into()),
        }
    }

    /// A document; `None` when there is none or it is empty.
    fn bytes(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Refusal> {
        let response = self.get(path, limit)?;
        let body = response.map(|response| response.body);
        Ok(body.filter(|body| !body.is_empty()))
    }

    /// A document without which this is not the provider.
    fn required(&self, path: &str, limit: u64) -> Result<Vec<u8>, Refusal> {
        self.bytes(path, limit)?
            .ok_or_else(|| Refusal::Absent(format!("there is no {}", self.url(path))))
    }

    /// The JSON without which this is not the provider.
    fn json(&self, path: &str, limit: u64) -> Result<Value, Refusal> {
        document::json(&self.required(path, limit)?, &self.url(path))
    }

    /// One value as text; what cannot be had is not there. For facts that nothing depends on.
    fn fact(&self, path: &str) -> Option<String> {
        let bytes = self.bytes(path, METADATA_LIMIT).ok()??;
        String::from_utf8(bytes).ok()
    }
}
