//! Results: medians, ratios, the table and the JSON.

use serde_json::{Value, json};

/// Which way a figure should go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
}

/// The figures of both sides, round by round, in the order in which they were taken.
#[derive(Debug, Default)]
pub struct Rounds {
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
}

/// One line of the table.
pub struct Row {
    pub what: String,
    pub unit: &'static str,
    pub peer: &'static str,
    pub better: Better,
    /// How many times as good as the peer we want to be; none is a row without a target.
    pub target: Option<f64>,
    pub rounds: Rounds,
}

impl Row {
    fn ours(&self) -> f64 {
        median(&self.rounds.ours)
    }

    fn theirs(&self) -> f64 {
        median(&self.rounds.theirs)
    }

    /// How many times as good as the peer: the median of the rounds' ratios, for both sides of a round
    /// saw the same machine.
    fn ratio(&self) -> f64 {
        let pairs = self.rounds.ours.iter().zip(&self.rounds.theirs);
        let ratios: Vec<f64> = pairs
            .map(|(ours, theirs)| match self.better {
                Better::Higher => ours / theirs,
                Better::Lower => theirs / ours,
            })
            .collect();
        median(&ratios)
    }

    fn is_met(&self) -> Option<bool> {
        self.target.map(|target| self.ratio() >= target)
    }

    pub fn markdown(&self) -> String {
        let target = match (self.target, self.is_met()) {
            (Some(target), Some(met)) => {
                let missed = if met { "" } else { ", missed" };
                format!("≥ {}×{missed}", number(target))
            }
            _ => String::new(),
        };
        format!(
            "| {}, {} | {} | {} ({}) | {:.2}× | {target} |",
            self.what,
            self.unit,
            number(self.ours()),
            number(self.theirs()),
            self.peer,
            self.ratio(),
        )
    }

    pub fn json(&self) -> Value {
        json!({
            "what": self.what,
            "unit": self.unit,
            "ours": self.ours(),
            "theirs": self.theirs(),
            "peer": self.peer,
            "timesAsGood": self.ratio(),
            "target": self.target,
            "met": self.is_met(),
            "rounds": { "ours": self.rounds.ours, "theirs": self.rounds.theirs },
        })
    }
}

/// The middle one; the mean of both where there are two.
fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// As many digits as mean something.
fn number(figure: f64) -> String {
    match figure {
        _ if figure >= 100.0 => format!("{figure:.0}"),
        _ if figure >= 10.0 => format!("{figure:.1}"),
        _ => {
            let text = format!("{figure:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}
