//! What a run found, by kind of mutation.

use crate::Case;
use crate::listing::Answer;
use std::collections::BTreeMap;
use std::fmt;

/// A case that cOS and another reader do not understand alike.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The case's number under the run's seed.
    pub number: u64,
    /// Its class.
    pub class: &'static str,
    /// What each reader said, cOS first.
    pub answers: Vec<(&'static str, Answer)>,
}

/// The verdicts on one kind of mutation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Class {
    /// All four readers said the same.
    pub agreed: u64,
    /// cOS refused.
    pub rejected: u64,
    /// cOS accepted what another reader refused or understood differently.
    pub disagreed: u64,
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed of its cases.
    pub seed: u64,
    /// Verdicts by class.
    pub classes: BTreeMap<&'static str, Class>,
    /// cOS' reasons to refuse: how often, and how often `tarfile` and libarchive agreed on the archive.
    pub reasons: BTreeMap<String, (u64, u64)>,
    /// Every disagreement.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            classes: BTreeMap::new(),
            reasons: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    pub(crate) fn agreed(&mut self, class: &'static str) {
        self.classes.entry(class).or_default().agreed += 1;
    }

    pub(crate) fn rejected(&mut self, class: &'static str, reason: &str, alone: bool) {
        self.classes.entry(class).or_default().rejected += 1;
        // Numbers in reasons would make each a reason of its own.
        let reason = reason
            .split_whitespace()
            .map(|word| {
                if word.contains(|c: char| c.is_ascii_digit()) {
                    "N"
                } else {
                    word
                }
            })
            .collect::<Vec<_>>()
            .join(" ");
        let counted = self.reasons.entry(reason).or_default();
        counted.0 += 1;
        counted.1 += u64::from(alone);
    }

    pub(crate) fn disagreed(&mut self, finding: Finding) {
        self.classes.entry(finding.class).or_default().disagreed += 1;
        self.findings.push(finding);
    }

    pub(crate) fn add(&mut self, other: Report) {
        for (name, class) in other.classes {
            let sum = self.classes.entry(name).or_default();
            sum.agreed += class.agreed;
            sum.rejected += class.rejected;
            sum.disagreed += class.disagreed;
        }
        for (reason, (count, alone)) in other.reasons {
            let sum = self.reasons.entry(reason).or_default();
            sum.0 += count;
            sum.1 += alone;
        }
        self.findings.extend(other.findings);
        self.findings.sort_by_key(|finding| finding.number);
    }

    /// All classes together.
    pub fn total(&self) -> Class {
        let mut total = Class::default();
        for class in self.classes.values() {
            total.agreed += class.agreed;
            total.rejected += class.rejected;
            total.disagreed += class.disagreed;
        }
        total
    }
}

/// A table in Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| mutation | archives | all agree | cOS refuses | disagree |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|")?;
        let row = |name: &str, class: Class| {
            let Class {
                agreed,
                rejected,
                disagreed,
            } = class;
            let sum = agreed + rejected + disagreed;
            format!("| {name} | {sum} | {agreed} | {rejected} | {disagreed} |")
        };
        for name in Case::classes() {
            let class = self.classes.get(name).copied().unwrap_or_default();
            writeln!(f, "{}", row(name, class))?;
        }
        writeln!(f, "{}", row("all", self.total()))
    }
}

/// Everything that differs, member by member.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "case {} ({}):", self.number, self.class)?;
        for (reader, answer) in &self.answers {
            match answer {
                Answer::Refused(why) => writeln!(f, "  {reader} refuses: {why}")?,
                Answer::Members(members) => {
                    writeln!(f, "  {reader}:")?;
                    for listed in members {
                        writeln!(f, "    {}", line(listed))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn line(listed: &crate::Listed) -> String {
    let name = |text: &str| {
        let bytes = hex::decode(text).unwrap_or_default();
        bytes.escape_ascii().to_string()
    };
    let mut words = vec![format!(
        "{}{:04o} {}/{} {} {} \"{}\"",
        listed.kind,
        listed.mode,
        listed.uid,
        listed.gid,
        listed.size,
        listed.mtime,
        name(&listed.path)
    )];
    if !listed.link.is_empty() {
        words.push(format!("-> \"{}\"", name(&listed.link)));
    }
    words.extend(
        listed
            .device
            .map(|(major, minor)| format!("{major}:{minor}")),
    );
    words.extend(listed.content.iter().map(|content| content[..8].to_owned()));
    for (key, value) in listed.attributes.iter().flatten() {
        words.push(format!("{}={value}", name(key)));
    }
    words.join(" ")
}
