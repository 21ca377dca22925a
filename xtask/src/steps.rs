//! A run of several steps, with a table of how long each took.

use std::time::{Duration, Instant};

/// Steps that have run, in order.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(&'static str, Duration, bool)>,
}

impl Steps {
    /// Runs a step. The first that fails ends the run.
    pub(crate) fn step(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        println!("==> {name}");
        let start = Instant::now();
        let result = work();
        self.done.push((name, start.elapsed(), result.is_ok()));
        result.map_err(|error| error.context(format!("step {name} failed")))
    }

    /// The table: a line for each step, and the sum.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        for (name, took, good) in &self.done {
            table += &line(name, *took, if *good { "ok" } else { "FAILED" });
        }
        table
            + &line(
                "total",
                self.done.iter().map(|(_, took, _)| *took).sum(),
                "",
            )
    }
}

fn line(name: &str, took: Duration, verdict: &str) -> String {
    let seconds = took.as_secs_f64();
    format!(
        "{:<12} {:>3} min {:>4.1} s  {verdict}",
        name,
        (seconds / 60.0).floor(),
        seconds % 60.0
    )
    .trim_end()
    .to_owned()
        + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_what_failed_and_how_long_all_took() {
        let steps = Steps {
            done: vec![
                ("fmt", Duration::from_millis(1500), true),
                ("clippy", Duration::from_secs(121), false),
            ],
        };
        assert_eq!(
            steps.table(),
            "fmt            0 min  1.5 s  ok\nclippy         2 min  1.0 s  FAILED\ntotal          2 min  2.5 s\n"
        );
    }

    #[test]
    fn a_failing_step_is_named() {
        let mut steps = Steps::default();
        let error = steps
            .step("deny", || anyhow::bail!("a licence"))
            .unwrap_err();
        assert_eq!(format!("{error:#}"), "step deny failed: a licence");
    }
}
