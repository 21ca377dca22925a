//! What runs came to.

/// The page of the book that has the table.
pub(super) const PAGE: &str = "docs/src/explanation/hostile-input.md";

/// One target's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) target: String,
    /// Inputs tried.
    pub(super) executions: u64,
    /// Seconds that took.
    seconds: u64,
    /// Edges of the program that any input went along.
    edges: u64,
    /// The same with how often in one run.
    features: u64,
}

impl Row {
    /// From libFuzzer's words: `#1234 DONE cov: 77 ft: 99 …`, `stat::number_of_executed_units: 1234`, and
    /// `Done 1234 runs in 5 second(s)`.
    pub(super) fn read(target: &str, said: &str) -> Option<Self> {
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
            seconds: after(line("Done ")?, "in")?,
            edges: after(last, "cov:")?,
            features: after(last, "ft:")?,
        })
    }

    /// For the terminal.
    pub(super) fn line(&self) -> String {
        let Self {
            target,
            executions,
            seconds,
            edges,
            features,
        } = self;
        format!(
            "{target:<18} {seconds:>5} s  {executions:>10} inputs  {edges:>6} edges  {features:>6} features  ok"
        )
    }
}

/// A table in Markdown.
pub(super) fn render(rows: &[Row]) -> String {
    let mut lines = vec![
        "| target | seconds | inputs | edges | features |".to_owned(),
        "|---|--:|--:|--:|--:|".to_owned(),
    ];
    lines.extend(rows.iter().map(|row| {
        let Row {
            target,
            executions,
            seconds,
            edges,
            features,
        } = row;
        format!("| `{target}` | {seconds} | {executions} | {edges} | {features} |")
    }));
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>();
    lines.push(format!(
        "| all | {} | {} | | |\n",
        sum(|row| row.seconds),
        sum(|row| row.executions)
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
        let row = Row::read("gpt", said).unwrap();
        assert_eq!(
            (row.executions, row.seconds, row.edges, row.features),
            (812, 3, 77, 99)
        );
        assert_eq!(Row::read("gpt", "Done"), None);
        assert!(render(&[row]).ends_with("| `gpt` | 3 | 812 | 77 | 99 |\n| all | 3 | 812 | | |\n"));
    }
}
