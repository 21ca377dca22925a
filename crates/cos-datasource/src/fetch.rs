//! Asking: who, in which order, for how long.

use crate::dmi::Dmi;
use crate::endpoints::Endpoints;
use crate::error::{DatasourceError, Refusal, Said};
use crate::guest_info::GuestInfo;
use crate::media::Media;
use crate::network::{Question, Stop};
use crate::provider::Provider;
use crate::seed::Seed;
use crate::user_data::UserData;
use crate::{cdrom, config_drive, file, vmware};
use cos_events::Monitor;
use cos_http::HttpClient;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long is waited between two looks at the monitor.
const WATCH: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who is asked. Those that are attached are asked in this order.
    pub providers: &'a [Provider],
    /// How long the metadata services on the network have, all together; usually
    /// [`crate::DEFAULT_DEADLINE`].
    pub deadline: Duration,
    /// Where [`Provider::File`] looks.
    pub file: Option<&'a Path>,
    /// Where the metadata services are.
    pub endpoints: &'a Endpoints,
}

/// What is attached to the machine or known of it.
#[derive(Clone, Copy)]
pub struct Machine<'a> {
    /// What the firmware says.
    pub dmi: &'a Dmi,
    /// The kernel command line.
    pub command_line: &'a str,
    /// CDs and disks.
    pub media: &'a dyn Media,
    /// VMware guestinfo.
    pub guest_info: &'a dyn GuestInfo,
}

impl std::fmt::Debug for Machine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("dmi", &self.dmi)
            .finish_non_exhaustive()
    }
}

/// Asks the providers, attached ones first, and returns the first good answer.
///
/// The services on the network are asked by threads of their own. Once one has answered well the
/// others are told to stop and nobody waits for them; they hold nothing, and end at the deadline at
/// the latest.
pub fn fetch(
    request: &Request<'_>,
    machine: &Machine<'_>,
    http: &HttpClient,
    monitor: &dyn Monitor,
) -> Result<UserData, DatasourceError> {
    if request.providers.is_empty() {
        return Err(DatasourceError::NoProviders);
    }
    let mut providers: Vec<Provider> = Vec::new();
    for provider in request.providers {
        if !providers.contains(provider) {
            providers.push(*provider);
        }
    }
    let seed = Seed::find(machine.command_line, machine.dmi);
    let mut said = Vec::new();
    let mut remote = Vec::new();
    for provider in providers {
        monitor.checkpoint()?;
        match attached(provider, request, machine, seed.as_ref()) {
            Some(Ok(data)) => return Ok(data),
            Some(Err(refusal)) => said.push(Said { provider, refusal }),
            None => match machine.dmi.allows(provider) {
                Err(cloud) if provider.is_network() => said.push(Said {
                    provider,
                    refusal: Refusal::Elsewhere(cloud),
                }),
                _ => remote.push(provider),
            },
        }
    }
    let deadline = Instant::now()
        .checked_add(request.deadline)
        .unwrap_or_else(Instant::now);
    let stop = Stop::default();
    let questions = remote.into_iter().map(|provider| Question {
        provider,
        http: http.clone(),
        endpoints: request.endpoints.clone(),
        seed: seed.clone(),
        identified: machine.dmi.identified() == Some(provider) || provider == Provider::NoCloud,
        deadline,
        stop: stop.clone(),
    });
    let answer = race(questions.collect(), deadline, &mut said, monitor);
    stop.stop();
    answer?.ok_or(DatasourceError::NoneFound { said })
}

/// Asks a provider that is attached; `None` for those on the network.
fn attached(
    provider: Provider,
    request: &Request<'_>,
    machine: &Machine<'_>,
    seed: Option<&Seed>,
) -> Option<Result<UserData, Refusal>> {
    match provider {
        Provider::Cdrom => Some(cdrom::read(machine.media, Provider::Cdrom)),
        Provider::ConfigDrive => Some(config_drive::read(machine.media)),
        Provider::Vmware => Some(vmware::read(machine.guest_info, machine.dmi)),
        Provider::File => Some(file::read(request.file)),
        Provider::NoCloud => match seed {
            Some(seed) if seed.url().is_some() => None,
            Some(seed) => Some(seed.read_local(machine.media)),
            None => Some(cdrom::read(machine.media, Provider::NoCloud)),
        },
        _ => None,
    }
}

/// Asks everybody at once. `Ok(None)` when nobody has an answer.
fn race(
    questions: Vec<Question>,
    deadline: Instant,
    said: &mut Vec<Said>,
    monitor: &dyn Monitor,
) -> Result<Option<UserData>, DatasourceError> {
    let (sender, answers) = mpsc::channel();
    let mut waiting = Vec::new();
    for question in questions {
        let provider = question.provider;
        let sender = sender.clone();
        let asking = move || {
            // Nobody may be listening any more.
            sender.send((provider, question.ask())).unwrap_or_default();
        };
        let name = format!("datasource-{provider}");
        match std::thread::Builder::new().name(name).spawn(asking) {
            Ok(_) => waiting.push(provider),
            Err(source) => said.push(Said {
                provider,
                refusal: Refusal::Thread {
                    source: Some(source),
                },
            }),
        }
    }
    drop(sender);
    let mut lost: fn() -> Refusal = || Refusal::Late;
    while !waiting.is_empty() {
        monitor.checkpoint()?;
        let left = deadline.saturating_duration_since(Instant::now());
        match answers.recv_timeout(left.min(WATCH)) {
            Ok((_, Ok(data))) => return Ok(Some(data)),
            Ok((provider, Err(refusal))) => {
                waiting.retain(|other| *other != provider);
                said.push(Said { provider, refusal });
            }
            Err(RecvTimeoutError::Timeout) if left.is_zero() => break,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                lost = || Refusal::Thread { source: None };
                break;
            }
        }
    }
    for provider in waiting {
        let refusal = lost();
        said.push(Said { provider, refusal });
    }
    Ok(None)
}
