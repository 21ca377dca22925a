//! Medians and ratios, as a table for people or a document for machines.

use super::build::COMPARED;
use super::measure::Sample;
use serde_json::{Value, json};
use std::fmt::Write;

/// The medians of one contender.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    name: &'static str,
    wall: f64,
    fastest: f64,
    slowest: f64,
    cpu: f64,
    peak_kib: f64,
    size: f64,
}

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) rounds: u32,
    pub(super) image_bytes: u64,
    pub(super) work_dir: String,
    pub(super) versions: Vec<String>,
}

impl Row {
    /// The medians of `samples`.
    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
    pub(super) fn new(name: &'static str, samples: &[Sample]) -> Row {
        let of = |value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
        let walls = || samples.iter().map(|sample| sample.wall);
        Row {
            name,
            wall: of(|sample| sample.wall),
            fastest: walls().fold(f64::INFINITY, f64::min),
            slowest: walls().fold(0.0, f64::max),
            cpu: of(|sample| sample.cpu),
            peak_kib: of(|sample| sample.peak_kib as f64),
            size: of(|sample| sample.size as f64),
        }
    }
}

impl Report {
    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Ours, theirs, how many times faster, less processor time, and smaller.
    fn ratios(&self) -> Vec<(&'static str, &'static str, f64, f64, f64)> {
        COMPARED
            .iter()
            .filter_map(|(ours, theirs)| {
                let (a, b) = (self.row(ours)?, self.row(theirs)?);
                Some((
                    *ours,
                    *theirs,
                    b.wall / a.wall,
                    b.cpu / a.cpu,
                    b.size / a.size,
                ))
            })
            .collect()
    }

    /// The report for people, in Markdown.
    pub(super) fn table(&self) -> String {
        let mut text = String::from(
            "| | wall s | fastest–slowest | CPU s | peak MiB | result MB |\n|---|---:|---:|---:|---:|---:|\n",
        );
        for row in &self.rows {
            line(
                &mut text,
                format_args!(
                    "| {} | {:.2} | {:.2}–{:.2} | {:.2} | {:.0} | {:.1} |",
                    row.name,
                    row.wall,
                    row.fastest,
                    row.slowest,
                    row.cpu,
                    row.peak_kib / 1024.0,
                    row.size / 1e6
                ),
            );
        }
        text.push_str("\n| ours | theirs | times faster | times less CPU | their size / ours |\n|---|---|---:|---:|---:|\n");
        for (ours, theirs, wall, cpu, size) in self.ratios() {
            line(
                &mut text,
                format_args!("| {ours} | {theirs} | {wall:.1} | {cpu:.1} | {size:.3} |"),
            );
        }
        line(
            &mut text,
            format_args!(
                "\nMedians of {} rounds in alternating order; image of {} MB unpacked, gzip layers, registry on \
             loopback; work on {}; {}.",
                self.rounds,
                self.image_bytes / 1_000_000,
                self.work_dir,
                self.versions.join("; ")
            ),
        );
        text
    }

    /// The report for machines.
    pub(super) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name, "wall_s": row.wall, "wall_min_s": row.fastest, "wall_max_s": row.slowest,
                    "cpu_s": row.cpu, "peak_kib": row.peak_kib, "size_bytes": row.size,
                })
            })
            .collect();
        let ratios: Vec<Value> = self
            .ratios()
            .iter()
            .map(|(ours, theirs, wall, cpu, size)| {
                json!({ "ours": ours, "theirs": theirs, "wall": wall, "cpu": cpu, "size": size })
            })
            .collect();
        json!({
            "benchmark": "build", "rounds": self.rounds, "image_bytes": self.image_bytes,
            "work_dir": self.work_dir, "versions": self.versions, "medians": rows, "ratios": ratios,
        })
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    if writeln!(text, "{what}").is_err() {
        unreachable!("a String takes everything");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(wall: f64) -> Sample {
        Sample {
            wall,
            cpu: 2.0 * wall,
            peak_kib: 1024,
            size: 3_000_000,
        }
    }

    #[test]
    fn medians_stand_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn the_table_has_every_contender_and_its_ratio() {
        let report = Report {
            rows: vec![
                Row::new("cos root lz4", &[sample(1.0), sample(3.0), sample(2.0)]),
                Row::new("mkfs.erofs lz4", &[sample(12.0)]),
            ],
            rounds: 3,
            image_bytes: 433_000_000,
            work_dir: "tmpfs".into(),
            versions: vec!["skopeo 1".into()],
        };
        let table = report.table();
        assert!(
            table.contains("| cos root lz4 | 2.00 | 1.00–3.00 | 4.00 | 1 | 3.0 |"),
            "{table}"
        );
        assert!(
            table.contains("| cos root lz4 | mkfs.erofs lz4 | 6.0 | 6.0 | 1.000 |"),
            "{table}"
        );
        assert_eq!(report.json()["ratios"][0]["wall"], 6.0);
    }
}
