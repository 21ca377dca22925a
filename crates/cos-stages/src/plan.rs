//! What runs in a stage, and in which order.
//!
//! Documents come in the order of their sources, steps in the order of their document. A step with
//! `after` waits for the steps it names, wherever they are, and for nothing else; of the steps that may
//! run, the first in that order runs next. So the order is the same on every run.

use crate::diagnostic::Position;
use crate::document::{Document, LoadedStep};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A step in its place.
#[derive(Debug, Clone)]
pub struct PlannedStep<'d> {
    /// `DOCUMENT.STEP`, the name that `after` uses.
    pub id: String,
    /// The stage, `.before` or `.after` included.
    pub stage: String,
    /// Source of the document.
    pub source: &'d str,
    /// Where the step stands in it.
    pub at: Position,
    /// The step.
    pub step: &'d LoadedStep,
}

/// Steps that wait for each other: none of them runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The stage.
    pub stage: String,
    /// Source of the document of the first step of the circle.
    pub source: String,
    /// Where that step stands.
    pub at: Position,
    /// The circle: each waits for the next, the last one is the first.
    pub cycle: Vec<String>,
    /// Other steps between which and these it goes in circles too.
    pub others: Vec<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cycle = self.cycle.join(" -> ");
        write!(
            f,
            "steps of stage {} wait for each other: {cycle}",
            self.stage
        )?;
        if !self.others.is_empty() {
            write!(f, " (and {})", self.others.join(", "))?;
        }
        Ok(())
    }
}

/// The order of a stage's steps, and what in it may not be as meant.
#[derive(Debug, Clone, Default)]
pub struct Plan<'d> {
    /// The steps, first to last.
    pub steps: Vec<PlannedStep<'d>>,
    /// `after` that names no step, or several.
    pub warnings: Vec<String>,
    /// Steps that cannot be put in order; the others run.
    pub refused: Option<Refused>,
}

/// The stages that asking for `stage` runs, in order.
pub fn with_neighbours(stage: &str) -> [String; 3] {
    [
        format!("{stage}.before"),
        stage.to_owned(),
        format!("{stage}.after"),
    ]
}

/// Puts the steps of one stage in order.
pub fn plan<'d>(documents: &'d [Document], stage: &str) -> Plan<'d> {
    let mut steps = Vec::new();
    // For each step, the step before it in its document.
    let mut previous: Vec<Option<usize>> = Vec::new();
    for document in documents {
        let mut last = None;
        for loaded in document.stages.iter().filter(|one| one.name == stage) {
            for step in &loaded.steps {
                previous.push(last);
                last = Some(steps.len());
                steps.push(PlannedStep {
                    id: id(document, step),
                    stage: stage.to_owned(),
                    source: &document.source,
                    at: step.at,
                    step,
                });
            }
        }
    }
    let mut warnings = Vec::new();
    let waits = waits(&steps, &previous, &mut warnings);
    let (order, circles) = Sorter::new(&waits, steps.len()).sort();
    let refused = refused(&steps, &waits, &circles);
    let mut slots: Vec<Option<PlannedStep<'d>>> = steps.into_iter().map(Some).collect();
    let steps = order
        .into_iter()
        .filter_map(|at| slots.get_mut(at)?.take())
        .collect();
    Plan {
        steps,
        warnings,
        refused,
    }
}

/// A step's full name.
fn id(document: &Document, step: &LoadedStep) -> String {
    let document = document.name.as_ref().unwrap_or(&document.source);
    match &step.step.name {
        Some(name) => format!("{document}.{name}"),
        None => format!("{document}.{}", step.index),
    }
}

/// Most steps of one name that a step of that name may wait for.
const MAX_NAMESAKES: usize = 64;

/// What each step waits for. Behind the steps stand the names that several steps have: whoever waits
/// for all of those waits for the name, so that this stays as large as what is written.
fn waits(
    steps: &[PlannedStep<'_>],
    previous: &[Option<usize>],
    warnings: &mut Vec<String>,
) -> Vec<Vec<usize>> {
    let mut by_id: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        by_id.entry(&step.id).or_default().push(at);
        if let Some(name) = &step.step.step.name {
            by_name.entry(name).or_default().push(at);
        }
    }
    let mut all = vec![Vec::new(); steps.len()];
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        let after = &step.step.step.after;
        if after.is_empty() {
            all[at].extend(previous[at]);
            continue;
        }
        for dependency in after {
            let name = dependency.name.as_str();
            let Some(found) = by_id.get(name).or_else(|| by_name.get(name)) else {
                warnings.push(format!(
                    "{}: no step of stage {} is called {name:?}; it does not wait",
                    step.id, step.stage
                ));
                continue;
            };
            if let [only] = found[..] {
                all[at].push(only);
                continue;
            }
            warnings.push(format!(
                "{}: several steps are called {name:?}; it runs after all of them",
                step.id
            ));
            if found.len() <= MAX_NAMESAKES && found.contains(&at) {
                all[at].extend(found.iter().filter(|other| **other != at));
                continue;
            }
            let node = *names.entry(name).or_insert_with(|| {
                all.push(found.clone());
                all.len() - 1
            });
            all[at].push(node);
        }
    }
    all
}

/// Puts nodes after those that they wait for; the first that may come comes next.
struct Sorter<'w> {
    waits: &'w [Vec<usize>],
    steps: usize,
    wanted_by: Vec<Vec<usize>>,
    /// How many each still waits for.
    missing: Vec<usize>,
    ready: BTreeSet<usize>,
    order: Vec<usize>,
}

impl<'w> Sorter<'w> {
    fn new(waits: &'w [Vec<usize>], steps: usize) -> Self {
        let mut wanted_by = vec![Vec::new(); waits.len()];
        for (at, list) in waits.iter().enumerate() {
            for other in list {
                wanted_by[*other].push(at);
            }
        }
        let missing: Vec<usize> = waits.iter().map(Vec::len).collect();
        let ready = (0..steps).filter(|at| missing[*at] == 0).collect();
        Self {
            waits,
            steps,
            wanted_by,
            missing,
            ready,
            order: Vec::with_capacity(steps),
        }
    }

    /// The order, and what goes in circles.
    fn sort(mut self) -> (Vec<usize>, BTreeSet<usize>) {
        self.take_ready();
        let circles = self.circles();
        for at in &circles {
            self.missing[*at] = 0;
        }
        for at in &circles {
            self.release(*at, &circles);
        }
        self.take_ready();
        (self.order, circles)
    }

    fn take_ready(&mut self) {
        while let Some(at) = self.ready.pop_first() {
            self.order.push(at);
            self.release(at, &BTreeSet::new());
        }
    }

    /// Tells those that wait for `at`; a name has come once its last step has.
    fn release(&mut self, at: usize, apart: &BTreeSet<usize>) {
        let mut come = vec![at];
        while let Some(at) = come.pop() {
            for waiting in &self.wanted_by[at] {
                if apart.contains(waiting) {
                    continue;
                }
                self.missing[*waiting] -= 1;
                if self.missing[*waiting] > 0 {
                } else if *waiting < self.steps {
                    self.ready.insert(*waiting);
                } else {
                    come.push(*waiting);
                }
            }
        }
    }

    /// What is left, without what only waits for it.
    fn circles(&self) -> BTreeSet<usize> {
        let mut left: BTreeSet<usize> = (0..self.waits.len())
            .filter(|at| self.missing[*at] > 0)
            .collect();
        let mut wanted: Vec<usize> = self
            .wanted_by
            .iter()
            .map(|list| list.iter().filter(|at| left.contains(at)).count())
            .collect();
        let mut free: Vec<usize> = left.iter().copied().filter(|at| wanted[*at] == 0).collect();
        while let Some(at) = free.pop() {
            left.remove(&at);
            for other in self.waits[at].iter().filter(|other| left.contains(other)) {
                wanted[*other] -= 1;
                if wanted[*other] == 0 {
                    free.push(*other);
                }
            }
        }
        left
    }
}

/// One of the circles, and what else is in any.
fn refused(
    steps: &[PlannedStep<'_>],
    waits: &[Vec<usize>],
    circles: &BTreeSet<usize>,
) -> Option<Refused> {
    // Everything here waits for something here: walking on must come round.
    let mut path: Vec<usize> = Vec::new();
    let mut seen = BTreeMap::new();
    let mut at = *circles.first()?;
    while !seen.contains_key(&at) {
        seen.insert(at, path.len());
        path.push(at);
        at = *waits[at].iter().find(|other| circles.contains(other))?;
    }
    let mut cycle: Vec<usize> = path.split_off(seen[&at]);
    cycle.retain(|at| *at < steps.len());
    let first = steps.get(*cycle.first()?)?;
    let others = circles
        .iter()
        .filter(|at| **at < steps.len() && !cycle.contains(at));
    let others = others.take(SHOWN).map(|at| steps[*at].id.clone()).collect();
    let mut cycle: Vec<String> = cycle
        .iter()
        .take(SHOWN)
        .map(|at| steps[*at].id.clone())
        .collect();
    cycle.push(first.id.clone());
    Some(Refused {
        stage: first.stage.clone(),
        source: first.source.to_owned(),
        at: first.at,
        cycle,
        others,
    })
}

/// Most steps of circles that are named.
const SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Strictness, load};

    fn ids(sources: &[(&str, &str)], stage: &str) -> (Vec<String>, Vec<String>) {
        let mut documents = Vec::new();
        for (name, text) in sources {
            let loaded = load(name, text.as_bytes(), Strictness::Strict);
            assert_eq!(loaded.diagnostics, []);
            documents.extend(loaded.documents);
        }
        let plan = plan(&documents, stage);
        assert_eq!(plan.refused, None);
        let ids = plan.steps.iter().map(|step| step.id.clone()).collect();
        (ids, plan.warnings)
    }

    #[test]
    fn documents_then_steps() {
        let a = "name: a\nstages:\n  s:\n  - name: one\n  - commands: [x]\n";
        let b = "stages:\n  t: [{name: no}]\n  s: [{name: yes}]\n";
        let (order, _) = ids(&[("1.yaml", a), ("2.yaml", b)], "s");
        assert_eq!(order, ["a.one", "a.1", "2.yaml.yes"]);
    }

    #[test]
    fn after_waits_for_what_it_names_and_for_nothing_else() {
        let a = "stages: {s: [{name: one, after: [{name: last}]}, {name: two}]}";
        let b = "stages: {s: [{name: first}, {name: last}]}";
        let (order, warnings) = ids(&[("a", a), ("b", b)], "s");
        assert_eq!(order, ["b.first", "b.last", "a.one", "a.two"]);
        assert_eq!(warnings, Vec::<String>::new());
        let c = "stages: {s: [{name: one, after: [{name: nobody}]}]}";
        assert_eq!(ids(&[("c", c)], "s").1.len(), 1);
    }

    /// What runs, and what is refused: documents with circles of their own are never loaded, so
    /// these go through two.
    fn refused(texts: &[&str]) -> (Vec<String>, String) {
        let mut documents = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let name = format!("{}", index + 1);
            documents.extend(load(&name, text.as_bytes(), Strictness::Strict).documents);
        }
        let plan = plan(&documents, "s");
        let ids = plan.steps.iter().map(|step| step.id.clone()).collect();
        let refused = plan.refused.map(|refused| refused.to_string());
        (ids, refused.unwrap_or_default())
    }

    #[test]
    fn circles_are_refused_and_named_and_the_others_run() {
        let a = "stages: {s: [{name: x}, {name: one, after: [{name: three}]}, {name: y}]}";
        let b = "stages: {s: [{name: two, after: [{name: one}]}, {name: three}, {name: z}]}";
        let (order, refused) = refused(&[a, b]);
        assert_eq!(
            refused,
            "steps of stage s wait for each other: 1.one -> 2.three -> 2.two -> 1.one"
        );
        assert_eq!(order, ["1.x", "1.y", "2.z"]);
    }

    #[test]
    fn several_circles_are_told_of() {
        let a = "stages: {s: [{name: a, after: [{name: b}]}, {name: c, after: [{name: d}]}]}";
        let b = "stages: {s: [{name: b, after: [{name: a}]}, {name: d, after: [{name: c}]}, {name: e}]}";
        let (order, refused) = refused(&[a, b]);
        assert!(
            refused.ends_with("1.a -> 2.b -> 1.a (and 1.c, 2.d)"),
            "{refused}"
        );
        assert_eq!(order, ["2.e"]);
    }

    #[test]
    fn a_name_of_several_steps_stands_for_all_of_them() {
        let a = "stages: {s: [{name: last, after: [{name: n}]}]}";
        let b = "stages: {s: [{name: n}, {name: x}, {name: n, after: [{name: n}]}]}";
        let (order, warnings) = ids(&[("a", a), ("b", b)], "s");
        assert_eq!(order, ["b.n", "b.x", "b.n", "a.last"]);
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn ten_thousand_steps_are_put_in_order() {
        let steps: Vec<String> = (0..10_000).map(|n| format!("  - name: n{n}\n")).collect();
        let steps = steps.concat();
        let text = format!("stages:\n  s:\n{steps}");
        assert_eq!(ids(&[("a", &text)], "s").0.len(), 10_000);
    }
}
