//! What runs came to.

use std::time::Duration;

/// The page of the book that has the table.
pub(super) const PAGE: &str = "docs/src/explanation/hostile-input.md";

/// One target's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) target: String,
    /// Inputs tried.
    pub(super) executions: u64,
    /// Processor time that took.
    pub(super) processor: Duration,
    /// Edges of the program that any input went along.
    edges: u64,
    /// The same with how often in one run.
    features: u64,
}

impl Row {
    /// From libFuzzer's words: `#1234 DONE cov: 77 ft: 99 …` and `stat::number_of_executed_units: 1234`.
    pub(super) fn read(target: &str, said: &str, processor: Duration) -> Option<Self> {
        let last = said.lines().rev().find(|line| line.contains(" cov: "))?;
        let after = |line: &str, word: &str| -> Option<u64> {
            let mut words = line.split_whitespace();
            words.find(|it| *it == word)?;
            words.next()?.parse().ok()
        };
        let line = |start: &str| said.lines().find(|line| line.starts_with(start));
        Some(Self {
            target: target.to_owned(),
            executions: after(
                line("stat::number_of_executed_units:")?,
                "stat::number_of_executed_units:",
            )?,
            processor,
            edges: after(last, "cov:")?,
            features: after(last, "ft:")?,
        })
    }

    /// This run and the next, which began with what this one found.
    pub(super) fn then(self, next: Self) -> Self {
        Self {
            executions: self.executions + next.executions,
            processor: self.processor + next.processor,
            edges: self.edges.max(next.edges),
            features: self.features.max(next.features),
            target: self.target,
        }
    }

    /// For the terminal.
    pub(super) fn line(&self) -> String {
        let Self {
            target,
            executions,
            edges,
            features,
            processor,
        } = self;
        let seconds = processor.as_secs();
        format!(
            "{target:<18} {seconds:>5} s  {executions:>10} inputs  {edges:>6} edges  {features:>6} features  ok"
        )
    }
}

/// A table in Markdown.
pub(super) fn render(rows: &[Row]) -> String {
    let mut lines = vec![
        "| target | CPU seconds | inputs | edges | features |".to_owned(),
        "|---|--:|--:|--:|--:|".to_owned(),
    ];
    lines.extend(rows.iter().map(|row| {
        let Row {
            target,
            executions,
            edges,
            features,
            processor,
        } = row;
        let seconds = processor.as_secs();
        format!("| `{target}` | {seconds} | {executions} | {edges} | {features} |")
    }));
    let processor: Duration = rows.iter().map(|row| row.processor).sum();
    let executions: u64 = rows.iter().map(|row| row.executions).sum();
    lines.push(format!(
        "| all | {} | {executions} | | |\n",
        processor.as_secs()
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistics_are_found_between_the_fuzzers_words() {
        let said = "#7\tINITED cov: 5 ft: 6 corp: 1/1b\n#812\tDONE   cov: 77 ft: 99 corp: 3/9b lim: 4\n\
            Done 812 runs in 3 second(s)\nstat::number_of_executed_units: 812\nstat::x: 1\n";
        let row = Row::read("gpt", said, Duration::from_millis(3400)).unwrap();
        assert_eq!((row.executions, row.edges, row.features), (812, 77, 99));
        assert_eq!(Row::read("gpt", "Done", Duration::ZERO), None);
        let rows = [row.clone().then(row)];
        assert!(render(&rows).ends_with("| `gpt` | 6 | 1624 | 77 | 99 |\n| all | 6 | 1624 | | |\n"));
    }
}
