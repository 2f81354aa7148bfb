//! One line of the table, and the table.

use std::{fmt::Write as _, fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    goal::{self, GOALS, Goal, Of},
};

/// What a figure is compared with, measured in the same run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Peer {
    /// What it is.
    pub name: String,
    /// Its own number, in the unit of the figure.
    pub median: f64,
}

/// One measured number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// Stable name.
    pub name: String,
    /// Unit of all its numbers.
    pub unit: String,
    /// How many times it was measured.
    pub n: usize,
    /// The number.
    pub median: f64,
    /// The slow end, where single times were taken.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99: Option<f64>,
    /// What stands beside it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<Peer>,
    /// Relative to the peer: the median over rounds in which both were measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ratio: Option<f64>,
    /// What it should be; without one it only informs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub goal: Option<Goal>,
    /// Whether it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub met: Option<bool>,
}

impl Figure {
    /// A number of its own; its goal is looked up by its name.
    pub fn new(name: &str, unit: &str, n: usize, median: f64) -> Self {
        let figure = Self {
            name: name.to_owned(),
            unit: unit.to_owned(),
            n,
            median,
            p99: None,
            peer: None,
            ratio: None,
            goal: goal::of(name),
            met: None,
        };
        figure.judged()
    }

    /// With its slow end.
    pub fn p99(mut self, p99: f64) -> Self {
        self.p99 = Some(p99);
        self
    }

    /// Beside a peer; the ratio is that of the medians.
    pub fn beside(self, name: &str, median: f64) -> Self {
        let ratio = self.median / median;
        self.beside_in_rounds(name, median, ratio)
    }

    /// Beside a peer, with a ratio taken round by round.
    pub fn beside_in_rounds(mut self, name: &str, median: f64, ratio: f64) -> Self {
        self.peer = Some(Peer {
            name: name.to_owned(),
            median,
        });
        self.ratio = Some(ratio);
        self.judged()
    }

    fn judged(mut self) -> Self {
        self.met = self.goal.map(|goal| match goal.of {
            Of::Median => goal.met(self.median),
            Of::Ratio => self.ratio.is_some_and(|ratio| goal.met(ratio)),
        });
        self
    }
}

/// All that one run found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Processors of the machine.
    pub processors: usize,
    /// Kernel of the machine.
    pub kernel: String,
    /// A short run, good for seeing that the bench works and for nothing else.
    pub quick: bool,
    /// The numbers.
    pub figures: Vec<Figure>,
    /// Parts of the bench that could not be measured, and why.
    pub failed: Vec<String>,
}

impl Report {
    /// Reads what an earlier run wrote.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bytes = fs::read(path).map_err(Failure::file(path))?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Writes it for a later check.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        fs::write(path, bytes).map_err(Failure::file(path))
    }

    /// What `--check` complains of, one sentence each.
    pub fn misses(&self) -> Vec<String> {
        let mut misses = self.failed.clone();
        if self.quick {
            misses
                .push("this was a quick run, which proves nothing; remedy: make bench".to_owned());
        }
        for (name, _) in GOALS {
            let Some(figure) = self.figures.iter().find(|figure| figure.name == *name) else {
                misses.push(format!("`{name}` was not measured"));
                continue;
            };
            if figure.met != Some(true) {
                misses.push(miss(figure));
            }
        }
        misses
    }

    /// The table, one figure a line.
    pub fn table(&self) -> String {
        let heading = [
            "figure", "median", "p99", "n", "peer", "peer's", "ratio", "goal", "met",
        ];
        let mut rows = vec![heading.map(str::to_owned)];
        rows.extend(self.figures.iter().map(row));
        let mut widths = [0_usize; 9];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut table = String::new();
        for row in &rows {
            let cells: Vec<String> = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            table.push_str(cells.join("  ").trim_end());
            table.push('\n');
        }
        for failed in &self.failed {
            // Writing to a string cannot fail.
            writeln!(table, "not measured: {failed}").unwrap_or_default();
        }
        table
    }
}

fn miss(figure: &Figure) -> String {
    let goal = figure.goal.map(|goal| goal.shown()).unwrap_or_default();
    let ratio = figure
        .ratio
        .map(|ratio| format!(", {ratio:.2}x its peer"))
        .unwrap_or_default();
    format!(
        "`{}` is {} {}{ratio}; the goal is {goal}",
        figure.name,
        number(figure.median),
        figure.unit
    )
}

fn row(figure: &Figure) -> [String; 9] {
    let unit = &figure.unit;
    let met = match figure.met {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "",
    };
    [
        figure.name.clone(),
        format!("{} {unit}", number(figure.median)),
        figure.p99.map(number).unwrap_or_default(),
        figure.n.to_string(),
        figure
            .peer
            .as_ref()
            .map(|peer| peer.name.clone())
            .unwrap_or_default(),
        figure
            .peer
            .as_ref()
            .map(|peer| number(peer.median))
            .unwrap_or_default(),
        figure
            .ratio
            .map(|ratio| format!("{ratio:.2}x"))
            .unwrap_or_default(),
        figure.goal.map(|goal| goal.shown()).unwrap_or_default(),
        met.to_owned(),
    ]
}

/// Three figures or so, whatever the size.
fn number(number: f64) -> String {
    let digits = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::{Figure, Report};
    use crate::goal::GOALS;

    fn met() -> Report {
        let figures = GOALS.iter().map(|(name, goal)| {
            Figure::new(name, "unit", 1, goal.limit).beside_in_rounds("peer", 1.0, goal.limit)
        });
        Report {
            figures: figures.collect(),
            ..Report::default()
        }
    }

    #[test]
    fn a_run_that_reaches_every_goal_has_no_misses() {
        assert_eq!(met().misses(), Vec::<String>::new());
    }

    #[test]
    fn a_miss_an_absence_a_failure_and_a_quick_run_are_each_named() {
        let mut report = met();
        report.figures.retain(|figure| figure.name != "base_image");
        report.failed.push("packs: no engine".to_owned());
        report.quick = true;
        let slow = Figure::new("decision_prefix", "ns", 1, 251.0);
        report.figures.retain(|figure| figure.name != slow.name);
        report.figures.push(slow);
        let misses = report.misses().join("\n");
        for named in [
            "base_image",
            "packs: no engine",
            "quick run",
            "decision_prefix",
            "251 ns",
            "<= 250",
        ] {
            assert!(misses.contains(named), "{named} in {misses}");
        }
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("bench.json");
        let report = met();
        report.write(&path).expect("written");
        let read = Report::read(&path).expect("read");
        assert_eq!(read.table(), report.table());
    }

    #[test]
    fn a_number_that_could_not_be_had_meets_no_goal() {
        assert_eq!(
            Figure::new("base_image", "MB", 0, f64::NAN).met,
            Some(false)
        );
    }
}
