//! Cases through all readers.

use crate::gnu::GnuTar;
use crate::listing::{Answer, same};
use crate::part::BLOCK;
use crate::python::Python;
use crate::report::{Finding, Report};
use crate::{Case, cos};
use anyhow::anyhow;
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All readers say the same.
    Agreed,
    /// cOS refuses; `alone` when `tarfile` and libarchive both read it, and read the same.
    Rejected {
        /// Why.
        reason: String,
        /// Whether the others see nothing wrong.
        alone: bool,
    },
    /// cOS reads what another refuses, or reads differently.
    Disagreed(Vec<(&'static str, Answer)>),
}

/// The other readers, ready for archives.
#[derive(Debug)]
pub struct Readers {
    tarfile: Python,
    libarchive: Python,
    gnu: GnuTar,
}

impl Readers {
    /// Starts them.
    pub fn start() -> anyhow::Result<Self> {
        Ok(Self {
            tarfile: Python::start("tarfile")?,
            libarchive: Python::start("libarchive")?,
            gnu: GnuTar::find()?,
        })
    }

    /// Gives an archive to all readers. GNU tar, which must be started anew each time, is only asked
    /// about those that cOS accepts.
    pub fn judge(&mut self, archive: &[u8]) -> anyhow::Result<Verdict> {
        let ours = cos::read(archive);
        // What fills the last block of the last file may be missing, which cOS takes for zeroes.
        let mut archive = archive.to_vec();
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        self.tarfile.ask(&archive)?;
        self.libarchive.ask(&archive)?;
        let tarfile = self.tarfile.answer()?;
        let libarchive = self.libarchive.answer()?;
        let ours = match ours {
            Answer::Members(members) => members,
            Answer::Refused(reason) => {
                let alone = match (&tarfile, &libarchive) {
                    (Answer::Members(tarfile), Answer::Members(libarchive)) => {
                        same(libarchive, tarfile)
                    }
                    _ => false,
                };
                return Ok(Verdict::Rejected { reason, alone });
            }
        };
        let holes: Vec<u64> = ours.iter().map(|listed| listed.hole).collect();
        let answers = [
            ("tarfile", tarfile),
            ("libarchive", libarchive),
            ("GNU tar", self.gnu.read(&archive, &holes)?),
        ];
        let agrees = |answer: &Answer| match answer {
            Answer::Members(theirs) => same(&ours, theirs),
            Answer::Refused(_) => false,
        };
        if answers.iter().all(|(_, answer)| agrees(answer)) {
            return Ok(Verdict::Agreed);
        }
        let mut all = vec![("cOS", Answer::Members(ours.clone()))];
        all.extend(answers);
        Ok(Verdict::Disagreed(all))
    }
}

/// Runs cases 0 to `count` of a seed, on all processors.
pub fn run(seed: u64, count: u64) -> anyhow::Result<Report> {
    let workers = std::thread::available_parallelism()?.get();
    let next = AtomicU64::new(0);
    let reports: Vec<anyhow::Result<Report>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|_| scope.spawn(|| work(seed, count, &next)))
            .collect();
        let joined = handles.into_iter().map(|handle| {
            let ended = handle.join();
            ended.unwrap_or_else(|_| Err(anyhow!("a worker panicked")))
        });
        joined.collect()
    });
    let mut sum = Report::new(seed);
    for report in reports {
        sum.add(report?);
    }
    Ok(sum)
}

fn work(seed: u64, count: u64, next: &AtomicU64) -> anyhow::Result<Report> {
    let mut readers = Readers::start()?;
    let mut report = Report::new(seed);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok(report);
        }
        let case = Case::new(seed, number);
        match readers.judge(&case.bytes)? {
            Verdict::Agreed => report.agreed(case.class),
            Verdict::Rejected { reason, alone } => report.rejected(case.class, &reason, alone),
            Verdict::Disagreed(answers) => report.disagreed(Finding {
                number,
                class: case.class,
                answers,
            }),
        }
    }
}
